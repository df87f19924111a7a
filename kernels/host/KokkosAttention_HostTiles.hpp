// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTTILES_HPP
#define KOKKOSATTENTION_HOSTTILES_HPP

#include <KokkosAttention_Types.hpp>

#include <Kokkos_Core.hpp>

#include <cstddef>

/// \file
/// Tile sizes of the host engine: a pure function of types and sizes.

namespace KokkosAttention::Impl {

/// What the choice of a tile depends on. Lengths only make a tile smaller where it would be partly empty.
struct HostTileQuery {
  int element_bytes;  // of the accumulation type
  int vector_bytes;
  int head_dim, value_dim;
  index_t q_len;
};

/// A thread's tile and where its arrays lie in its scratch, in bytes: with queries in the lanes of vectors, rows of
/// vectors.
struct HostTile {
  int vectors = 0;  ///< of queries
  int queries = 0, keys = 0;
  std::size_t key_offset = 0, value_offset = 0, score_offset = 0, output_offset = 0;  // the queries come first
  std::size_t state_offset = 0, kept_offset = 0;
  std::size_t scratch_bytes = 0;
};

/// Queries enough to read keys and values seldom, few enough that scores stay in the first-level cache.
constexpr HostTile choose_host_tile(HostTileQuery const& query) {
  constexpr int most_queries = 64, keys = 64;
  int const lanes = query.vector_bytes / query.element_bytes;
  HostTile tile;
  index_t const queries = query.q_len < 1 ? 1 : query.q_len < most_queries ? query.q_len : most_queries;
  tile.vectors          = (static_cast<int>(queries) + lanes - 1) / lanes;
  tile.queries          = tile.vectors * lanes;
  tile.keys             = keys;

  std::size_t next        = 0;
  std::size_t const bytes = query.element_bytes;
  auto const take         = [&next](std::size_t size) { return next += (size + 63) / 64 * 64; };
  tile.key_offset         = take(bytes * query.head_dim * tile.queries);
  tile.value_offset       = take(bytes * keys * query.head_dim);
  tile.score_offset       = take(bytes * keys * query.value_dim);
  tile.output_offset      = take(bytes * keys * tile.queries);
  tile.state_offset       = take(bytes * query.value_dim * tile.queries);
  tile.kept_offset        = take(bytes * 3 * tile.queries);
  tile.scratch_bytes      = take(std::size_t(tile.queries) * (keys / 4));
  return tile;
}

}  // namespace KokkosAttention::Impl

#endif
