// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_PORTABLETILES_HPP
#define KOKKOSATTENTION_PORTABLETILES_HPP

#include <KokkosAttention_RoundUp.hpp>
#include <KokkosAttention_Types.hpp>

#include <Kokkos_Core.hpp>

#include <cstddef>

/// \file
/// Tile sizes of the portable engine: a pure function of types, sizes and what the execution space reports.

namespace KokkosAttention::Impl {

/// What the choice of a tile depends on. Lengths only make a tile smaller where it would be partly empty, which changes
/// no row's order of sums: a sequence's result must not depend on what else is in the batch.
struct TileQuery {
  bool on_host;
  int element_bytes;              // of the accumulation type
  int block_rows, block_columns;  // of RegisterBlock
  int head_dim, value_dim;
  index_t q_len, k_len;
  std::size_t scratch_limit[2];  // TeamPolicy::scratch_size_max of levels 0 and 1
};

/// The most threads of a device team; the kernels are compiled for it.
inline constexpr int most_team_threads = 512;

/// A row stride in scratch: on devices a multiple of 16 bytes, for wide loads, but not of 32 words, so that the rows of
/// a register block lie in different banks.
constexpr int padded_stride(TileQuery const& query, int columns) {
  if (query.on_host) return columns;
  int const stride = round_up(columns, 4) + 4;
  return stride % 32 == 0 ? stride + 4 : stride;
}

/// A team's tile and where its arrays lie in team scratch, in elements of the accumulation type.
struct PortableTile {
  int queries = 0, keys = 0;
  int padded_value_dim = 0;
  int query_stride = 0, key_stride = 0, value_stride = 0, score_stride = 0;
  int key_value_offset = 0, score_offset = 0, output_offset = 0, state_offset = 0;  // the queries come first
  int kept_offset           = 0;                                                    // a byte a quad of keys
  int scratch_level         = 0;
  std::size_t scratch_bytes = 0;
  int team_size = 1, vector_length = 1;
};

/// Room for what dropout draws: a byte a quad of keys.
constexpr std::size_t kept_bytes(int queries, int keys) { return std::size_t(round_up(queries * (keys / 4), 64)); }

inline constexpr int team_vector_length = 8;

/// Threads of a device team: one a block of the larger product, within what a multiprocessor's registers allow.
constexpr int team_threads(TileQuery const& query, int rows, int widest) {
  int const blocks = rows / query.block_rows * (widest / query.block_columns);
  return blocks < 128 ? 128 : blocks < most_team_threads ? round_up(blocks, 32) : most_team_threads;
}

constexpr PortableTile lay_out_tile(TileQuery const& query, int queries, int keys) {
  PortableTile tile;
  tile.queries          = queries;
  tile.keys             = keys;
  tile.padded_value_dim = round_up(query.value_dim, query.block_columns);
  tile.query_stride     = padded_stride(query, query.head_dim);
  tile.key_stride       = padded_stride(query, keys);
  tile.value_stride     = padded_stride(query, tile.padded_value_dim);
  tile.score_stride     = padded_stride(query, keys);

  int const aligned        = 64 / query.element_bytes;
  int const key_elements   = query.head_dim * tile.key_stride;  // keys lie transposed
  int const value_elements = keys * tile.value_stride;          // in the same place as the keys, in turns
  tile.key_value_offset    = round_up(queries * tile.query_stride, aligned);
  tile.score_offset =
      tile.key_value_offset + round_up(key_elements > value_elements ? key_elements : value_elements, aligned);
  tile.output_offset = tile.score_offset + round_up(queries * tile.score_stride, aligned);
  tile.state_offset  = tile.output_offset + round_up(queries * tile.value_stride, aligned);
  tile.kept_offset   = tile.state_offset + round_up(3 * queries, aligned);
  tile.scratch_bytes = std::size_t(tile.kept_offset) * query.element_bytes + kept_bytes(queries, keys);
  if (!query.on_host) {
    tile.vector_length = team_vector_length;
    tile.team_size =
        team_threads(query, queries, keys > tile.padded_value_dim ? keys : tile.padded_value_dim) / team_vector_length;
  }
  return tile;
}

/// On devices the largest tile that fits level-0 scratch, or, for very large head dimensions, a small one in level 1,
/// which is global memory. On hosts, where level 1 is the roomy one, a tile for the second-level cache.
/// \param lay_out (query, rows, columns) -> tile
/// \param row_len, column_len lengths of the sides that rows and columns are of
template <class LayOut>
constexpr auto choose_tile(TileQuery const& query, LayOut const& lay_out, index_t row_len, index_t column_len) {
  constexpr std::size_t host_cache = 512 * 1024;
  constexpr int most_rows = 128, most_columns = 64, fewest_columns = 16;

  int const level       = query.on_host ? 1 : 0;
  int const column_step = query.block_columns > fewest_columns ? query.block_columns : fewest_columns;
  std::size_t const budget =
      query.on_host && host_cache < query.scratch_limit[1] ? host_cache : query.scratch_limit[level];
  int rows    = most_rows;
  int columns = round_up(most_columns, column_step);
  bool fits   = lay_out(query, rows, columns).scratch_bytes <= budget;
  while (!fits && (rows > query.block_rows || columns > column_step)) {
    if (columns > column_step && columns >= rows)
      columns = round_up(columns / 2, column_step);
    else
      rows = rows / 2;
    fits = lay_out(query, rows, columns).scratch_bytes <= budget;
  }
  if (row_len < rows) rows = round_up(row_len > 0 ? int(row_len) : 1, query.block_rows);
  if (column_len < columns) columns = round_up(column_len > 0 ? int(column_len) : 1, column_step);
  auto tile          = lay_out(query, rows, columns);
  tile.scratch_level = fits ? level : 1;
  return tile;
}

constexpr PortableTile choose_portable_tile(TileQuery const& query) {
  return choose_tile(query, lay_out_tile, query.q_len, query.k_len);
}

}  // namespace KokkosAttention::Impl

#endif
