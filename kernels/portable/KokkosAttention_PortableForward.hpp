// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_PORTABLEFORWARD_HPP
#define KOKKOSATTENTION_PORTABLEFORWARD_HPP

#include <KokkosAttention_Launch.hpp>
#include <KokkosAttention_PortableEngine.hpp>
#include <KokkosAttention_PortableTileQuery.hpp>

#include <KokkosAttention_Loops.hpp>

#include <Kokkos_Core.hpp>

#include <climits>

/// \file
/// The portable engine's forward kernel: league = (batch, head, query tile).

namespace KokkosAttention::Impl::inline KOKKOSATTENTION_VECTORS {

template <class ExecutionSpace, Scalar ScalarType, class Scores, Mask M>
struct PortableForwardKernel {
  // Rows of a causal problem differ in length: threads that finish early take the next tile.
  using Policy =
      Kokkos::TeamPolicy<ExecutionSpace, Kokkos::Schedule<Kokkos::Dynamic>, Kokkos::LaunchBounds<most_team_threads, 1>>;
  using Member = typename Policy::member_type;

  ForwardArguments<ScalarType> arguments;
  Scores scores;
  M mask;
  WeightDropout<accumulation_t<ScalarType>> dropout;
  PortableTile tile;

  KOKKOS_FUNCTION index_t items() const { return work_items(arguments, Side::queries, tile.queries); }

  KOKKOS_FUNCTION void operator()(Member const& member) const {
    PortableEngine<ScalarType, Member> engine(member, arguments, tile);
    for (index_t n = member.league_rank(); n < items(); n += member.league_size()) {
      WorkItem const item = work_item(arguments, Side::queries, tile.queries, n);
      if (item.begin < item.end)
        forward_query_tile(engine, scores, mask, dropout, item.sequence,
                           Tile{item.sequence.batch, item.head, item.begin, item.end, 0, 0}, tile.keys);
    }
  }
};

template <class ExecutionSpace, Scalar ScalarType>
PortableTile portable_tile(AttentionArguments<ScalarType> const& arguments) {
  return choose_portable_tile(tile_query<ExecutionSpace>(arguments));
}

/// \param most_teams a league is counted in 32 bits; beyond, teams take several tiles
template <class ExecutionSpace, Scalar ScalarType, class Scores, Mask M>
void portable_forward(ExecutionSpace const& space, ForwardArguments<ScalarType> const& arguments, Scores const& scores,
                      M const& mask, WeightDropout<accumulation_t<ScalarType>> const& dropout,
                      int most_teams = INT_MAX) {
  using Kernel = PortableForwardKernel<ExecutionSpace, ScalarType, Scores, M>;
  Kernel const kernel{arguments, scores, mask, dropout, portable_tile<ExecutionSpace, ScalarType>(arguments)};
  if (kernel.items() == 0) return;
  auto policy = typename Kernel::Policy(space, static_cast<int>(Kokkos::min(kernel.items(), index_t(most_teams))),
                                        kernel.tile.team_size, kernel.tile.vector_length);
  policy.set_scratch_size(kernel.tile.scratch_level, Kokkos::PerTeam(kernel.tile.scratch_bytes + 64));
  Kokkos::parallel_for("KokkosAttention::forward (portable)", as_kernel_argument(policy), kernel);
}

}  // namespace KokkosAttention::Impl::inline KOKKOSATTENTION_VECTORS

#endif
