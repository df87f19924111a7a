// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_PORTABLEFORWARD_HPP
#define KOKKOSATTENTION_PORTABLEFORWARD_HPP

#include <KokkosAttention_Launch.hpp>
#include <KokkosAttention_PortableEngine.hpp>

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

  KOKKOS_FUNCTION index_t slots() const { return tile_slots(arguments, Side::queries, tile.queries); }
  KOKKOS_FUNCTION index_t items() const { return slots() * arguments.batch * arguments.q_heads; }

  KOKKOS_FUNCTION void operator()(Member const& member) const {
    PortableEngine<ScalarType, Member> engine(member, arguments, tile);
    for (index_t item = member.league_rank(); item < items(); item += member.league_size()) {
      index_t const matrix = item / slots();
      int const entry      = static_cast<int>(matrix / arguments.q_heads);
      int const head       = static_cast<int>(matrix % arguments.q_heads);
      // Later queries see more keys under a causal mask: longest first.
      auto const [sequence, begin, end] =
          rows_of_slot(arguments, Side::queries, tile.queries, entry, slots() - 1 - item % slots());
      if (begin >= end) continue;
      forward_query_tile(engine, scores, mask, dropout, sequence, Tile{sequence.batch, head, begin, end, 0, 0},
                         tile.keys);
    }
  }
};

template <class ExecutionSpace, Scalar ScalarType>
TileQuery tile_query(AttentionArguments<ScalarType> const& arguments) {
  using Policy = Kokkos::TeamPolicy<ExecutionSpace>;
  using Block  = RegisterBlock<accumulation_t<ScalarType>, runs_on_host<ExecutionSpace>>;
  return {.on_host       = runs_on_host<ExecutionSpace>,
          .element_bytes = int(sizeof(accumulation_t<ScalarType>)),
          .block_rows    = Block::rows,
          .block_columns = Block::columns,
          .head_dim      = arguments.head_dim,
          .value_dim     = arguments.value_dim,
          .q_len         = arguments.q_len,
          .k_len         = arguments.k_len,
          .scratch_limit = {std::size_t(Policy::scratch_size_max(0)), std::size_t(Policy::scratch_size_max(1))}};
}

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
