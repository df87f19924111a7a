// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMABACKWARD_HPP
#define KOKKOSATTENTION_MMABACKWARD_HPP

#include <KokkosAttention_Launch.hpp>
#include <KokkosAttention_MmaBackwardTeam.hpp>
#include <KokkosAttention_MmaPlain.hpp>
#include <KokkosAttention_PortableBackward.hpp>

#include <Kokkos_Core.hpp>
#include <Kokkos_Profiling_ScopedRegion.hpp>

#include <climits>

/// \file
/// The mma engine's backward pass: a kernel for dQ, and one for dK and dV together or one for each; rowsum(dO O) and
/// dBias are the portable engine's.

namespace KokkosAttention::Impl {

template <class ExecutionSpace, Scalar ScalarType, int shape_number, class Scores, Mask M, class DropoutOfWeights>
struct MmaBackwardKernel {
  static constexpr MmaBackwardShape shape = mma_backward_shapes<ScalarType>[shape_number];

  using Policy = Kokkos::TeamPolicy<ExecutionSpace, Kokkos::LaunchBounds<32 * shape.warps, shape.teams>>;
  using Member = typename Policy::member_type;

  MmaBackwardData<ScalarType> data;
  Scores scores;
  M mask;
  DropoutOfWeights dropout;

  KOKKOS_FUNCTION void operator()(Member const& member) const {
    MmaBackwardTeam<shape_number, Member, ScalarType, Scores, M, DropoutOfWeights>{data, scores, mask, dropout}(member);
  }
};

template <int shape_number = 0, class ExecutionSpace, Scalar ScalarType, class Scores, Mask M, class DropoutOfWeights>
void mma_gradient(ExecutionSpace const& space, MmaBackwardData<ScalarType> const& data, Scores const& scores,
                  M const& mask, DropoutOfWeights const& dropout, int most_teams) {
  if constexpr (shape_number < mma_backward_shape_count<ScalarType>) {
    if (data.tile.shape != shape_number)
      return mma_gradient<shape_number + 1>(space, data, scores, mask, dropout, most_teams);
    using Kernel        = MmaBackwardKernel<ExecutionSpace, ScalarType, shape_number, Scores, M, DropoutOfWeights>;
    index_t const items = mma_backward_items(data, Kernel::shape.own);
    if (items == 0) return;
    auto policy = typename Kernel::Policy(space, static_cast<int>(Kokkos::min(items, index_t(most_teams))),
                                          data.tile.team_size, data.tile.vector_length);
    policy.set_scratch_size(0, Kokkos::PerTeam(data.tile.scratch_bytes + mma_scratch_alignment));
    Kokkos::parallel_for(Kernel::shape.own == Side::queries ? "KokkosAttention::backward, dq (mma)"
                                                            : "KokkosAttention::backward, dk and dv (mma)",
                         as_kernel_argument(policy), Kernel{data, scores, mask, dropout});
  }
}

/// \param most_teams a league is counted in 32 bits; beyond, teams take several tiles
template <class ExecutionSpace, Scalar ScalarType, class Scores, Mask M, class DropoutOfWeights>
void mma_backward(ExecutionSpace const& space, BackwardArguments<ScalarType> const& arguments, Scores const& scores,
                  M const& mask, DropoutOfWeights const& dropout, MmaBackwardTiles const& tiles, std::byte* workspace,
                  int most_teams = INT_MAX) {
  using T = accumulation_t<ScalarType>;
  Kokkos::Profiling::ScopedRegion const region("KokkosAttention::backward (mma)");
  PortableBackwardTile const bias_tile = choose_backward_tile(tile_query<ExecutionSpace>(arguments), GradientOf::bias);
  BiasGradientPlan const plan          = portable_bias_plan(arguments, bias_tile);
  WorkspaceCarver carver(workspace);
  BackwardArrays<T> const arrays(carver, arguments, plan);
  Tensor<T const> const delta = arrays.computed_delta();

  compute_delta(space, arguments, arrays.delta.data);
  for (int n = 0; n < tiles.count; ++n)
    mma_gradient(space, MmaBackwardData<ScalarType>{arguments, delta, tiles.tile[n]}, scores, mask, dropout,
                 most_teams);
  // Plain calls have no bias.
  if constexpr (!is_plain<DropoutOfWeights>) {
    if (arguments.dbias.data != nullptr)
      portable_bias_gradient(space,
                             BiasGradientLoop<ScalarType, Scores, M>{arguments, plan, arrays.partial,
                                                                     arrays.part_stride, scores, mask, dropout},
                             delta, bias_tile, most_teams);
  }
}

}  // namespace KokkosAttention::Impl

#endif
