// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMATILES_HPP
#define KOKKOSATTENTION_MMATILES_HPP

#include <KokkosAttention_MmaArithmetic.hpp>
#include <KokkosAttention_Types.hpp>

#include <array>
#include <cstddef>

/// \file
/// Tile sizes of the mma engine: a pure function of the head dimensions and of the team scratch that there is.

namespace KokkosAttention::Impl {

/// What is settled when a forward kernel is compiled.
struct MmaShape {
  int head_columns;   // the head dimension, padded
  int value_columns;  // of the output, in registers; wider outputs are computed in parts
  int row_blocks;     // blocks of 16 queries a warp
  int keys;           // a tile
  int stages;         // 1: keys and values in a place each, one arrives while the other is used; 2: two of each
  int warps;          // a team
  int teams;          // that a multiprocessor is to hold
};

/// The forward kernels of a type, the first that fits is taken.
template <Scalar ScalarType>
inline constexpr std::array<MmaShape, 6> mma_shapes = {{
    {.head_columns = 64, .value_columns = 64, .row_blocks = 2, .keys = 64, .stages = 2, .warps = 4, .teams = 2},
    {.head_columns = 64, .value_columns = 64, .row_blocks = 2, .keys = 32, .stages = 1, .warps = 4, .teams = 1},
    {.head_columns = 128, .value_columns = 128, .row_blocks = 2, .keys = 48, .stages = 1, .warps = 4, .teams = 2},
    {.head_columns = 128, .value_columns = 128, .row_blocks = 2, .keys = 32, .stages = 1, .warps = 4, .teams = 1},
    {.head_columns = 256, .value_columns = 256, .row_blocks = 1, .keys = 64, .stages = 1, .warps = 4, .teams = 2},
    {.head_columns = 256, .value_columns = 256, .row_blocks = 1, .keys = 32, .stages = 1, .warps = 4, .teams = 1},
}};
template <>
inline constexpr std::array<MmaShape, 5> mma_shapes<double> = {{
    {.head_columns = 64, .value_columns = 64, .row_blocks = 1, .keys = 32, .stages = 1, .warps = 4, .teams = 2},
    {.head_columns = 64, .value_columns = 64, .row_blocks = 1, .keys = 16, .stages = 1, .warps = 2, .teams = 1},
    {.head_columns = 128, .value_columns = 128, .row_blocks = 1, .keys = 32, .stages = 1, .warps = 8, .teams = 1},
    {.head_columns = 128, .value_columns = 128, .row_blocks = 1, .keys = 16, .stages = 1, .warps = 4, .teams = 1},
    {.head_columns = 256, .value_columns = 128, .row_blocks = 1, .keys = 16, .stages = 1, .warps = 4, .teams = 1},
}};
template <>
inline constexpr std::array<MmaShape, 7> mma_shapes<float> = {{
    {.head_columns = 64, .value_columns = 64, .row_blocks = 2, .keys = 64, .stages = 2, .warps = 8, .teams = 1},
    {.head_columns = 64, .value_columns = 64, .row_blocks = 2, .keys = 32, .stages = 1, .warps = 4, .teams = 2},
    {.head_columns = 64, .value_columns = 64, .row_blocks = 1, .keys = 16, .stages = 1, .warps = 4, .teams = 1},
    {.head_columns = 128, .value_columns = 128, .row_blocks = 2, .keys = 32, .stages = 2, .warps = 8, .teams = 1},
    {.head_columns = 128, .value_columns = 128, .row_blocks = 2, .keys = 32, .stages = 1, .warps = 4, .teams = 2},
    {.head_columns = 256, .value_columns = 256, .row_blocks = 1, .keys = 32, .stages = 1, .warps = 8, .teams = 1},
    {.head_columns = 256, .value_columns = 256, .row_blocks = 1, .keys = 16, .stages = 1, .warps = 4, .teams = 2},
}};
template <Scalar ScalarType>
inline constexpr int mma_shape_count      = int(std::tuple_size_v<decltype(mma_shapes<ScalarType>)>);
inline constexpr int largest_mma_head_dim = 256;
/// The engine's loops have positions of 32 bits.
inline constexpr int longest_mma_sequence = 1 << 30;
/// Of a team's arrays, in bytes: what is copied and loaded at once. Kokkos does not promise it.
inline constexpr int mma_scratch_alignment = 16;

/// What the choice of a tile depends on. Lengths play no part: a sequence's result must not depend on what else is in
/// the batch.
struct MmaTileQuery {
  int head_dim, value_dim;
  std::size_t scratch_limit;  // TeamPolicy::scratch_size_max of level 0
};

/// A team's tile.
struct MmaTile {
  int shape   = -1;  // in mma_shapes; -1: no tile fits
  int queries = 0, keys = 0;
  int value_parts           = 0;
  int scratch_level         = 0;
  std::size_t scratch_bytes = 0;
  int team_size = 0, vector_length = 32;
};

/// Numbers of a team's own rows in scratch: the last one ends without padding, unless that holds what it was divided
/// by.
template <class Arithmetic>
KOKKOS_INLINE_FUNCTION constexpr int mma_own_numbers(int rows, int columns) {
  int const stride = Arithmetic::own_stride(columns);
  return (rows - 1) * stride + (Arithmetic::splits ? stride : columns);
}

/// The same of the other side's.
template <class Arithmetic>
KOKKOS_INLINE_FUNCTION constexpr int mma_other_numbers(int rows, int columns) {
  int const stride = Arithmetic::stride(columns);
  return (rows - 1) * stride + (Arithmetic::splits ? stride : columns);
}

/// What a team needs to know only after its loop over keys: in registers it would take those that products need.
struct alignas(16) MmaItem {
  index_t begin;  // where its queries begin in the arrays
  int entry, head, queries;
  int first_column;  // of the output
};

/// Where the arrays in a team's scratch begin, in bytes: queries; stages of keys, and of values; the work item.
template <class Arithmetic>
struct MmaLayout {
  int keys, values, item, end;

  KOKKOS_INLINE_FUNCTION constexpr explicit MmaLayout(MmaShape const& shape) {
    constexpr int bytes = int(sizeof(typename Arithmetic::Number));
    int const rows      = shape.stages * shape.keys * bytes;
    keys                = 16 * shape.row_blocks * shape.warps * Arithmetic::own_stride(shape.head_columns) * bytes;
    values              = keys + rows * Arithmetic::stride(shape.head_columns);
    item                = values + rows * Arithmetic::stride(shape.value_columns);
    end                 = item + int(sizeof(MmaItem));
  }
};

template <Scalar ScalarType>
constexpr MmaTile lay_out_mma_tile(MmaTileQuery const& query, int shape_number) {
  MmaShape const shape = mma_shapes<ScalarType>[shape_number];
  MmaTile tile;
  tile.shape         = shape_number;
  tile.queries       = 16 * shape.row_blocks * shape.warps;
  tile.keys          = shape.keys;
  tile.value_parts   = query.value_dim > 0 ? (query.value_dim + shape.value_columns - 1) / shape.value_columns : 1;
  tile.scratch_bytes = std::size_t(MmaLayout<MmaArithmetic<ScalarType>>(shape).end);
  tile.team_size     = shape.warps;
  return tile;
}

template <Scalar ScalarType>
constexpr MmaTile choose_mma_tile(MmaTileQuery const& query) {
  if (query.value_dim > largest_mma_head_dim) return {};
  // Shapes are made for all the teams that a multiprocessor is to hold, but better fewer than another engine.
  for (bool const all_teams : {true, false}) {
    for (int n = 0; n < mma_shape_count<ScalarType>; ++n) {
      MmaShape const& shape = mma_shapes<ScalarType>[n];
      // Shapes of 128 columns take wider values in parts.
      if (shape.head_columns < query.head_dim || (shape.value_columns < query.value_dim && shape.value_columns < 128))
        continue;
      MmaTile const tile = lay_out_mma_tile<ScalarType>(query, n);
      if (tile.scratch_bytes <= query.scratch_limit / (all_teams ? shape.teams : 1)) return tile;
    }
  }
  return {};
}

}  // namespace KokkosAttention::Impl

#endif
