// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMAFORWARD_HPP
#define KOKKOSATTENTION_MMAFORWARD_HPP

#include <KokkosAttention_Launch.hpp>
#include <KokkosAttention_MmaForwardTeam.hpp>
#include <KokkosAttention_MmaOptionInUse.hpp>
#include <KokkosAttention_MmaSplitAhead.hpp>

#include <Kokkos_Core.hpp>

#include <climits>

/// \file
/// The mma engine's forward kernels: league = (batch and head, query tile, part of the output's columns).

namespace KokkosAttention::Impl {

/// \tparam scale_is_power, splits_ahead see MmaEngine
template <class ExecutionSpace, Scalar ScalarType, int shape_number, class Scores, Mask M, class DropoutOfWeights,
          bool scale_is_power = false, bool splits_ahead = false>
struct MmaForwardKernel {
  static constexpr MmaShape shape = mma_shapes<ScalarType>[shape_number];

  using Policy = Kokkos::TeamPolicy<ExecutionSpace, Kokkos::LaunchBounds<32 * shape.warps, shape.teams>>;
  using Member = typename Policy::member_type;

  ForwardArguments<ScalarType> arguments;
  Scores scores;
  M mask;
  DropoutOfWeights dropout;
  MmaTile tile;
  index_t turns;

  KOKKOS_FUNCTION void operator()(Member const& member) const {
    MmaForwardTeam<shape_number, Member, ScalarType, Scores, M, DropoutOfWeights, scale_is_power, splits_ahead>{
        arguments, scores, mask, dropout, tile, turns}(member);
  }
};

/// The sequences that a tile is for.
template <int shape_number = 0, class ExecutionSpace, Scalar ScalarType, class Scores, Mask M, class DropoutOfWeights>
void mma_outputs(ExecutionSpace const& space, ForwardArguments<ScalarType> const& arguments, Scores const& scores,
                 M const& mask, DropoutOfWeights const& dropout, MmaTile const& tile, std::byte* workspace,
                 int most_teams) {
  if constexpr (shape_number < mma_shape_count<ScalarType>) {
    if (tile.shape != shape_number)
      return mma_outputs<shape_number + 1>(space, arguments, scores, mask, dropout, tile, workspace, most_teams);
    auto const launch = [&](ForwardArguments<ScalarType> const& of, auto scale_is_power, auto splits_ahead) {
      using Kernel        = MmaForwardKernel<ExecutionSpace, ScalarType, shape_number, Scores, M, DropoutOfWeights,
                                      decltype(scale_is_power)::value, decltype(splits_ahead)::value>;
      index_t const items = mma_forward_items(arguments, tile);
      if (items == 0) return;
      auto policy = typename Kernel::Policy(space, static_cast<int>(Kokkos::min(items, index_t(most_teams))),
                                            tile.team_size, tile.vector_length);
      policy.set_scratch_size(0, Kokkos::PerTeam(tile.scratch_bytes + mma_scratch_alignment));
      // Twice as many teams as run at once; where all tiles take as long, one matrix after the other is quicker.
      int const teams     = 2 * space.cuda_device_prop().multiProcessorCount * Kernel::shape.teams;
      index_t const turns = takes_all_keys(mask)
                                ? 1
                                : matrices_in_turns(teams, tile_slots(arguments, Side::queries, tile.queries),
                                                    index_t(arguments.batch) * arguments.q_heads);
      Kokkos::parallel_for("KokkosAttention::forward (mma)", as_kernel_argument(policy),
                           Kernel{of, scores, mask, dropout, tile, turns});
    };
    if constexpr (MmaArithmetic<ScalarType>::splits && knows_option<DropoutOfWeights> &&
                  has_split_ahead_kernel(mma_shapes<ScalarType>[shape_number]))
      if (tile.splits_ahead) {
        WorkspaceCarver carver(workspace);
        MmaSplitArrays<ScalarType> const arrays(carver, arguments, mma_shapes<ScalarType>[shape_number]);
        return launch(split_ahead(space, arguments, arrays), std::false_type(), std::true_type());
      }
    with_kind_of_scale<ScalarType, DropoutOfWeights>(
        arguments.scale, [&](auto scale_is_power) { launch(arguments, scale_is_power, std::false_type()); });
  }
}

/// \param workspace of mma_forward_workspace bytes
/// \param most_teams a league is counted in 32 bits; beyond, teams take several tiles
template <class ExecutionSpace, Scalar ScalarType, class Scores, Mask M, class DropoutOfWeights>
void mma_forward(ExecutionSpace const& space, ForwardArguments<ScalarType> const& arguments, Scores const& scores,
                 M const& mask, DropoutOfWeights const& dropout, MmaForwardTiles const& tiles, std::byte* workspace,
                 int most_teams = INT_MAX) {
  for (int n = 0; n < tiles.count; ++n)
    mma_outputs(space, arguments, scores, mask, dropout, tiles.tile[n], workspace, most_teams);
}

}  // namespace KokkosAttention::Impl

#endif
