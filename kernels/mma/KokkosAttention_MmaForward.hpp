// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMAFORWARD_HPP
#define KOKKOSATTENTION_MMAFORWARD_HPP

#include <KokkosAttention_Launch.hpp>
#include <KokkosAttention_MmaEngine.hpp>
#include <KokkosAttention_MmaPlain.hpp>

#include <Kokkos_Core.hpp>

#include <climits>

/// \file
/// The mma engine's forward kernel: league = (batch, head, query tile, part of the output's columns).

namespace KokkosAttention::Impl {

template <class ExecutionSpace, Scalar ScalarType, int shape_number, class Scores, Mask M, class DropoutOfWeights>
struct MmaForwardKernel {
  static constexpr MmaShape shape = mma_shapes<ScalarType>[shape_number];

  using Policy = Kokkos::TeamPolicy<ExecutionSpace, Kokkos::LaunchBounds<32 * shape.warps, shape.teams>>;
  using Member = typename Policy::member_type;

  ForwardArguments<ScalarType> arguments;
  Scores scores;
  M mask;
  DropoutOfWeights dropout;
  MmaTile tile;

  KOKKOS_FUNCTION index_t items() const {
    return work_items(arguments, Side::queries, tile.queries) * tile.value_parts;
  }

  KOKKOS_FUNCTION void operator()(Member const& member) const {
    MmaEngine<ScalarType, Member, shape_number, is_plain<DropoutOfWeights>> engine(member, arguments, tile);
    for (index_t n = member.league_rank(); n < items(); n += member.league_size()) {
      WorkItem const item = work_item(arguments, Side::queries, tile.queries, n / tile.value_parts);
      if (item.begin >= item.end) continue;
      engine.set_part(static_cast<int>(n % tile.value_parts));
      forward_query_tile(engine, scores, mask, dropout, item.sequence,
                         Tile{item.sequence.batch, item.head, item.begin, item.end, 0, 0}, shape.keys);
    }
  }
};

/// \param most_teams a league is counted in 32 bits; beyond, teams take several tiles
template <int shape_number = 0, class ExecutionSpace, Scalar ScalarType, class Scores, Mask M, class DropoutOfWeights>
void mma_forward(ExecutionSpace const& space, ForwardArguments<ScalarType> const& arguments, Scores const& scores,
                 M const& mask, DropoutOfWeights const& dropout, MmaTile const& tile, int most_teams = INT_MAX) {
  if constexpr (shape_number < mma_shape_count<ScalarType>) {
    if (tile.shape != shape_number)
      return mma_forward<shape_number + 1>(space, arguments, scores, mask, dropout, tile, most_teams);
    using Kernel = MmaForwardKernel<ExecutionSpace, ScalarType, shape_number, Scores, M, DropoutOfWeights>;
    Kernel const kernel{arguments, scores, mask, dropout, tile};
    if (kernel.items() == 0) return;
    auto policy = typename Kernel::Policy(space, static_cast<int>(Kokkos::min(kernel.items(), index_t(most_teams))),
                                          tile.team_size, tile.vector_length);
    policy.set_scratch_size(0, Kokkos::PerTeam(tile.scratch_bytes + mma_scratch_alignment));
    Kokkos::parallel_for("KokkosAttention::forward (mma)", as_kernel_argument(policy), kernel);
  }
}

}  // namespace KokkosAttention::Impl

#endif
