// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_PORTABLEBACKWARDTILES_HPP
#define KOKKOSATTENTION_PORTABLEBACKWARDTILES_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_PortableTiles.hpp>

/// \file
/// Tile sizes of the portable engine's backward kernels.

namespace KokkosAttention::Impl {

/// A team's tile, rows of its own side by columns of the other, and where its arrays lie in team scratch, in elements
/// of the accumulation type. "First" is what scores are products of, q and k; "second" is dO and v.
struct PortableBackwardTile {
  int rows = 0, columns = 0;
  int first_stride = 0, second_stride = 0;  // own rows
  int transposed_stride = 0;                // the other side's rows as columns; scores and gradients too
  int padded_first = 0, padded_second = 0;  // dimensions of products with the other side's rows
  int first_sum_stride = 0, second_sum_stride = 0;
  int second_offset = 0, other_offset = 0, score_offset = 0, gradient_offset = 0;  // the own first rows come first
  int first_sum_offset = 0, second_sum_offset = 0, lse_offset = 0, delta_offset = 0, kept_offset = 0;
  int scratch_level         = 0;
  std::size_t scratch_bytes = 0;
  int team_size = 1, vector_length = 1;
};

constexpr PortableBackwardTile lay_out_backward_tile(TileQuery const& query, GradientOf target, int rows, int columns) {
  auto const largest = [](int a, int b) { return a > b ? a : b; };
  PortableBackwardTile tile;
  tile.rows              = rows;
  tile.columns           = columns;
  tile.first_stride      = padded_stride(query, query.head_dim);
  tile.second_stride     = padded_stride(query, query.value_dim);
  tile.transposed_stride = padded_stride(query, columns);
  tile.padded_first      = round_up(query.head_dim, query.block_columns);
  tile.padded_second     = round_up(query.value_dim, query.block_columns);
  tile.first_sum_stride = target == GradientOf::bias ? tile.transposed_stride : padded_stride(query, tile.padded_first);
  tile.second_sum_stride = padded_stride(query, tile.padded_second);

  int const aligned    = 64 / query.element_bytes;
  int next             = 0;
  auto const take      = [&](int elements) { return next += round_up(elements, aligned); };
  int const transposed = largest(query.head_dim, query.value_dim) * tile.transposed_stride;
  int const straight   = columns * largest(padded_stride(query, tile.padded_first), tile.second_sum_stride);
  int const queries    = own_side(target) == Side::queries ? rows : columns;

  tile.second_offset     = take(rows * tile.first_stride);
  tile.other_offset      = take(rows * tile.second_stride);
  tile.score_offset      = take(target == GradientOf::bias ? transposed : largest(transposed, straight));
  tile.gradient_offset   = take(rows * tile.transposed_stride);
  tile.first_sum_offset  = take(rows * tile.transposed_stride);
  tile.second_sum_offset = take(rows * tile.first_sum_stride);
  tile.lse_offset =
      target == GradientOf::keys_and_values ? take(rows * tile.second_sum_stride) : tile.second_sum_offset;
  tile.delta_offset  = take(queries);
  tile.kept_offset   = take(queries);
  tile.scratch_bytes = std::size_t(tile.kept_offset) * query.element_bytes + kept_bytes(rows, columns);
  if (!query.on_host) {
    tile.vector_length = team_vector_length;
    tile.team_size     = team_threads(query, rows, largest(columns, largest(tile.padded_first, tile.padded_second))) /
                     team_vector_length;
  }
  return tile;
}

constexpr PortableBackwardTile choose_backward_tile(TileQuery const& query, GradientOf target) {
  bool const own_queries = own_side(target) == Side::queries;
  return choose_tile(
      query,
      [target](TileQuery const& q, int rows, int columns) { return lay_out_backward_tile(q, target, rows, columns); },
      own_queries ? query.q_len : query.k_len, own_queries ? query.k_len : query.q_len);
}

}  // namespace KokkosAttention::Impl

#endif
