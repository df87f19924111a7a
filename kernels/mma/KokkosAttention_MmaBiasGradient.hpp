// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMABIASGRADIENT_HPP
#define KOKKOSATTENTION_MMABIASGRADIENT_HPP

#include <KokkosAttention_Launch.hpp>
#include <KokkosAttention_MmaBiasEngine.hpp>
#include <KokkosAttention_PortableBackward.hpp>

#include <Kokkos_Core.hpp>

#include <string>

/// \file
/// The mma engine's gradient of the bias.

namespace KokkosAttention::Impl {

/// Launches a backward kernel for some work items, if there are any.
template <class ExecutionSpace, class Kernel>
void launch_mma_gradient(ExecutionSpace const& space, MmaBackwardTile const& tile, index_t items, int most_teams,
                         Kernel const& kernel) {
  if (items == 0) return;
  auto policy = typename Kernel::Policy(space, static_cast<int>(Kokkos::min(items, index_t(most_teams))),
                                        tile.team_size, tile.vector_length);
  policy.set_scratch_size(0, Kokkos::PerTeam(tile.scratch_bytes + mma_scratch_alignment));
  Kokkos::parallel_for(std::string("KokkosAttention::backward, ") + gradient_names(Kernel::shape) + " (mma)",
                       as_kernel_argument(policy), kernel);
}

template <class ExecutionSpace, Scalar ScalarType, int shape_number, class Scores, Mask M>
struct MmaBiasKernel {
  static constexpr MmaBackwardShape shape = mma_backward_shapes<ScalarType>[shape_number];

  using Policy = Kokkos::TeamPolicy<ExecutionSpace, Kokkos::LaunchBounds<32 * shape.warps, shape.teams>>;
  using Member = typename Policy::member_type;

  BiasGradientLoop<ScalarType, Scores, M> loop;
  Tensor<accumulation_t<ScalarType> const> delta;
  MmaBackwardTile tile;

  KOKKOS_FUNCTION void operator()(Member const& member) const {
    MmaBiasTeam<shape_number, Member, ScalarType, Scores, M>{loop, delta, tile}(member);
  }
};

/// How the gradient is divided, whichever engine computes it.
template <class ExecutionSpace, Scalar ScalarType>
BiasGradientPlan mma_bias_plan(BackwardArguments<ScalarType> const& arguments, MmaBackwardTiles const& tiles) {
  if (MmaBackwardTile const tile = mma_bias_tile<ScalarType>(tiles); tile.shape >= 0)
    return {arguments, tile.rows, tile.columns};
  return portable_bias_plan(arguments, portable_bias_tile<ExecutionSpace>(arguments));
}

/// The loop itself, in the kernel that the tile is for.
template <int shape_number = 0, class ExecutionSpace, Scalar ScalarType, class Scores, Mask M>
void run_mma_bias_loop(ExecutionSpace const& space, BiasGradientLoop<ScalarType, Scores, M> const& loop,
                       Tensor<accumulation_t<ScalarType> const> const& delta, MmaBackwardTile const& tile,
                       int most_teams) {
  if constexpr (shape_number < mma_backward_shape_count<ScalarType>) {
    if constexpr (mma_backward_shapes<ScalarType>[shape_number].computes_bias()) {
      if (tile.shape == shape_number)
        return launch_mma_gradient(
            space, tile, loop.items(), most_teams,
            MmaBiasKernel<ExecutionSpace, ScalarType, shape_number, Scores, M>{loop, delta, tile});
    }
    run_mma_bias_loop<shape_number + 1>(space, loop, delta, tile, most_teams);
  }
}

/// \param tile shape is -1 where the portable engine is to do it
template <class ExecutionSpace, Scalar ScalarType, class Scores, Mask M>
void mma_bias_gradient(ExecutionSpace const& space, BiasGradientLoop<ScalarType, Scores, M> const& loop,
                       Tensor<accumulation_t<ScalarType> const> const& delta, MmaBackwardTile const& tile,
                       int most_teams) {
  if (tile.shape < 0)
    return portable_bias_gradient(space, loop, delta, portable_bias_tile<ExecutionSpace>(loop.arguments), most_teams);
  clear_bias_gradient(space, loop.arguments, loop.plan);
  run_mma_bias_loop(space, loop, delta, tile, most_teams);
  add_bias_gradient_parts(space, loop.arguments, loop.plan, loop.partial, loop.part_stride);
}

}  // namespace KokkosAttention::Impl

#endif
