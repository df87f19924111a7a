// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMABACKWARDTILES_HPP
#define KOKKOSATTENTION_MMABACKWARDTILES_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_MmaTiles.hpp>

#include <array>
#include <cstddef>

/// \file
/// Tile sizes of the mma engine's backward kernels. "First" is what scores are products of, q and k; "second" is dO and
/// v.

namespace KokkosAttention::Impl {

/// What is settled when a backward kernel is compiled. A kernel sums what its registers hold: dQ, dK, dV, or dK and dV.
struct MmaBackwardShape {
  Side own;
  int head_columns;                   // of q, k, dO and v, padded
  int first_columns, second_columns;  // of the sums dQ or dK, and dV; 0: not computed; wider ones are computed in parts
  int row_blocks;                     // blocks of 16 own rows a warp
  int columns;                        // rows of the other side in a tile
  int stages;
  int warps;  // a team
  int teams;  // that a multiprocessor is to hold

  /// Own rows that it needs: dV is computed from scores alone.
  KOKKOS_INLINE_FUNCTION constexpr int own_arrays() const { return first_columns > 0 ? 2 : 1; }
};

/// The backward kernels of a type, the first that fits and computes a gradient is taken.
template <Scalar ScalarType>
inline constexpr std::array<MmaBackwardShape, 9> mma_backward_shapes = {{
    {Side::queries, 64, 64, 0, 2, 32, 2, 4, 2},
    {Side::keys, 64, 64, 64, 2, 32, 2, 4, 2},
    {Side::queries, 128, 128, 0, 2, 32, 2, 4, 2},
    {Side::queries, 128, 128, 0, 2, 32, 1, 4, 1},
    {Side::keys, 128, 128, 128, 1, 32, 1, 4, 2},
    {Side::queries, 256, 256, 0, 1, 32, 2, 8, 1},
    {Side::queries, 256, 256, 0, 1, 32, 1, 4, 1},
    {Side::keys, 256, 256, 0, 1, 32, 1, 4, 2},
    {Side::keys, 256, 0, 256, 1, 32, 2, 4, 2},
}};
template <>
inline constexpr std::array<MmaBackwardShape, 8> mma_backward_shapes<double> = {{
    {Side::queries, 64, 64, 0, 1, 16, 2, 4, 2},
    {Side::keys, 64, 64, 64, 1, 16, 2, 4, 2},
    {Side::queries, 128, 128, 0, 1, 16, 2, 4, 1},
    {Side::keys, 128, 128, 0, 1, 16, 2, 4, 1},
    {Side::keys, 128, 0, 128, 1, 16, 2, 8, 1},
    {Side::queries, 256, 128, 0, 1, 16, 1, 2, 1},
    {Side::keys, 256, 128, 0, 1, 16, 1, 2, 1},
    {Side::keys, 256, 0, 128, 1, 16, 1, 4, 1},
}};
template <>
inline constexpr std::array<MmaBackwardShape, 10> mma_backward_shapes<float> = {{
    {Side::queries, 64, 64, 0, 2, 32, 2, 4, 2},
    {Side::keys, 64, 64, 64, 2, 32, 2, 8, 1},
    {Side::keys, 64, 64, 64, 1, 32, 2, 4, 2},
    {Side::queries, 128, 128, 0, 1, 32, 2, 8, 1},
    {Side::queries, 128, 128, 0, 1, 32, 1, 4, 2},
    {Side::keys, 128, 128, 128, 1, 32, 2, 8, 1},
    {Side::keys, 128, 128, 128, 1, 16, 1, 8, 1},
    {Side::queries, 256, 256, 0, 1, 16, 2, 4, 1},
    {Side::keys, 256, 256, 0, 1, 16, 2, 4, 1},
    {Side::keys, 256, 0, 256, 1, 16, 2, 8, 1},
}};
template <Scalar ScalarType>
inline constexpr int mma_backward_shape_count = int(std::tuple_size_v<decltype(mma_backward_shapes<ScalarType>)>);

/// Where the arrays in a team's scratch begin, in bytes: own first and, but for dV alone, second rows; stages of the
/// other side, each with first and second rows, and queries with their LSE and delta.
template <Scalar ScalarType>
struct MmaBackwardLayout {
  int own_second, stages, stage_bytes, end;
  int other_second, statistics;  // in a stage

  KOKKOS_INLINE_FUNCTION constexpr explicit MmaBackwardLayout(MmaBackwardShape const& shape) {
    using Arithmetic = MmaArithmetic<ScalarType>;
    own_second       = mma_own_numbers<Arithmetic>(16 * shape.row_blocks * shape.warps, shape.head_columns) *
                 int(sizeof(typename Arithmetic::Number));
    stages       = shape.own_arrays() * own_second;
    other_second = shape.columns * Arithmetic::stride(shape.head_columns) * int(sizeof(typename Arithmetic::Number));
    statistics   = 2 * other_second;
    stage_bytes  = statistics + 2 * shape.columns * int(sizeof(accumulation_t<ScalarType>));
    end          = stages + shape.stages * stage_bytes;
  }
};

/// A team's tile.
struct MmaBackwardTile {
  int shape = -1;             // in mma_backward_shapes
  int rows = 0, columns = 0;  // of the own side, of the other
  int parts                 = 0;
  int scratch_level         = 0;
  std::size_t scratch_bytes = 0;
  int team_size = 0, vector_length = 32;
};

template <Scalar ScalarType>
constexpr MmaBackwardTile lay_out_mma_backward_tile(MmaTileQuery const& query, int shape_number) {
  MmaBackwardShape const shape = mma_backward_shapes<ScalarType>[shape_number];
  auto const parts             = [](int dim, int columns) { return columns > 0 ? (dim + columns - 1) / columns : 0; };
  MmaBackwardTile tile;
  tile.shape         = shape_number;
  tile.rows          = 16 * shape.row_blocks * shape.warps;
  tile.columns       = shape.columns;
  int const first    = parts(query.head_dim, shape.first_columns);
  int const second   = parts(query.value_dim, shape.second_columns);
  tile.parts         = first > second ? first : second > 0 ? second : 1;
  tile.scratch_bytes = std::size_t(MmaBackwardLayout<ScalarType>(shape).end);
  tile.team_size     = shape.warps;
  return tile;
}

/// The kernels that compute a call's gradients.
struct MmaBackwardTiles {
  static constexpr int most = 3;
  MmaBackwardTile tile[most];
  int count = 0;
};

/// None, if not every one that is wanted has a tile that fits.
template <Scalar ScalarType>
constexpr MmaBackwardTiles choose_mma_backward_tiles(MmaTileQuery const& query, bool dq, bool dk, bool dv) {
  int const widest = query.head_dim > query.value_dim ? query.head_dim : query.value_dim;
  MmaBackwardTiles tiles;
  bool q_found = !dq, k_found = !dk, v_found = !dv;
  // Shapes are made for all the teams that a multiprocessor is to hold, but better fewer than another engine.
  for (bool const all_teams : {true, false}) {
    for (int n = 0; n < mma_backward_shape_count<ScalarType>; ++n) {
      MmaBackwardShape const& shape = mma_backward_shapes<ScalarType>[n];
      bool const of_queries         = shape.own == Side::queries;
      bool const computes_k         = !of_queries && shape.first_columns > 0,
                 computes_v         = !of_queries && shape.second_columns > 0;
      if (shape.head_columns < widest) continue;
      if (!((of_queries && !q_found) || (computes_k && !k_found) || (computes_v && !v_found))) continue;
      MmaBackwardTile const tile = lay_out_mma_backward_tile<ScalarType>(query, n);
      if (tile.scratch_bytes > query.scratch_limit / (all_teams ? shape.teams : 1)) continue;
      tiles.tile[tiles.count++] = tile;
      q_found                   = q_found || of_queries;
      k_found                   = k_found || computes_k;
      v_found                   = v_found || computes_v;
    }
  }
  return q_found && k_found && v_found ? tiles : MmaBackwardTiles();
}

}  // namespace KokkosAttention::Impl

#endif
