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
  PortableTile tile;

  KOKKOS_FUNCTION index_t query_tiles() const { return (arguments.q_len + tile.queries - 1) / tile.queries; }

  KOKKOS_FUNCTION void operator()(Member const& member) const {
    index_t const tiles = query_tiles();
    index_t const total = tiles * arguments.batch * arguments.q_heads;
    PortableEngine<ScalarType, Member> const engine(member, arguments, tile);
    for (index_t item = member.league_rank(); item < total; item += member.league_size()) {
      index_t const matrix = item / tiles;
      // Later queries see more keys under a causal mask: longest first.
      index_t const begin = (tiles - 1 - item % tiles) * tile.queries;
      Tile const query_tile{static_cast<int>(matrix / arguments.q_heads),
                            static_cast<int>(matrix % arguments.q_heads),
                            begin,
                            Kokkos::min(begin + tile.queries, arguments.q_len),
                            0,
                            0};
      forward_query_tile(engine, scores, mask, query_tile, arguments.k_len, tile.keys);
    }
  }
};

template <class ExecutionSpace, Scalar ScalarType>
PortableTile portable_tile(index_t q_len, index_t k_len, int head_dim, int value_dim) {
  using Policy = Kokkos::TeamPolicy<ExecutionSpace>;
  using Block  = RegisterBlock<accumulation_t<ScalarType>, runs_on_host<ExecutionSpace>>;
  return choose_portable_tile(
      {.on_host       = runs_on_host<ExecutionSpace>,
       .element_bytes = int(sizeof(accumulation_t<ScalarType>)),
       .block_rows    = Block::rows,
       .block_columns = Block::columns,
       .head_dim      = head_dim,
       .value_dim     = value_dim,
       .q_len         = q_len,
       .k_len         = k_len,
       .scratch_limit = {std::size_t(Policy::scratch_size_max(0)), std::size_t(Policy::scratch_size_max(1))}});
}

/// \param most_teams a league is counted in 32 bits; beyond, teams take several tiles
template <class ExecutionSpace, Scalar ScalarType, class Scores, Mask M>
void portable_forward(ExecutionSpace const& space, ForwardArguments<ScalarType> const& arguments, Scores const& scores,
                      M const& mask, int most_teams = INT_MAX) {
  using Kernel = PortableForwardKernel<ExecutionSpace, ScalarType, Scores, M>;
  Kernel const kernel{arguments, scores, mask,
                      portable_tile<ExecutionSpace, ScalarType>(arguments.q_len, arguments.k_len, arguments.head_dim,
                                                                arguments.value_dim)};
  index_t const total = kernel.query_tiles() * arguments.batch * arguments.q_heads;
  if (total == 0) return;
  auto policy = typename Kernel::Policy(space, static_cast<int>(Kokkos::min(total, index_t(most_teams))),
                                        kernel.tile.team_size, kernel.tile.vector_length);
  policy.set_scratch_size(kernel.tile.scratch_level, Kokkos::PerTeam(kernel.tile.scratch_bytes + 64));
  Kokkos::parallel_for("KokkosAttention::forward (portable)", as_kernel_argument(policy), kernel);
}

}  // namespace KokkosAttention::Impl::inline KOKKOSATTENTION_VECTORS

#endif
