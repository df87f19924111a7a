// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMATILES_HPP
#define KOKKOSATTENTION_MMATILES_HPP

#include <KokkosAttention_Arguments.hpp>
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
  // Sequence that it is for; 0: it is for all. Such a choice does not show in results: those of a row are the same with
  // all shapes whose tiles have as many rows of the other side.
  int longest  = 0;
  int shortest = 0;  // sequence that it is for: in shorter ones, fewer keys a tile are quicker
};

/// Sequences from this length on may have other forward tiles than shorter ones.
inline constexpr int shortest_wide_mma_tiles = 512;

/// The forward kernels of a type, the first that fits is taken.
template <Scalar ScalarType>
inline constexpr std::array<MmaShape, 10> mma_shapes = {{
    // Columns of heads and of values, row blocks, keys, stages, warps, teams, longest, shortest.
    {32, 32, 2, 64, 1, 1, 12, 64},
    {64, 64, 2, 64, 1, 1, 8, 64},
    {128, 128, 2, 48, 1, 1, 6, 64},
    {64, 64, 2, 96, 1, 4, 2, 0, shortest_wide_mma_tiles},
    {64, 64, 2, 64, 2, 4, 2},
    {64, 64, 2, 32, 1, 4, 1},
    {128, 128, 2, 48, 1, 4, 2},
    {128, 128, 2, 32, 1, 4, 1},
    {256, 256, 1, 64, 1, 4, 2},
    {256, 256, 1, 32, 1, 4, 1},
}};
template <>
inline constexpr std::array<MmaShape, 7> mma_shapes<double> = {{
    {32, 32, 1, 32, 1, 2, 4, 64},
    {64, 64, 1, 32, 1, 2, 3, 32},
    {64, 64, 1, 32, 1, 4, 2},
    {64, 64, 1, 16, 1, 2, 1},
    {128, 128, 1, 32, 1, 8, 1},
    {128, 128, 1, 16, 1, 4, 1},
    {256, 128, 1, 16, 1, 4, 1},
}};
template <>
inline constexpr std::array<MmaShape, 10> mma_shapes<float> = {{
    {32, 32, 2, 64, 1, 1, 8, 64},
    {64, 64, 2, 64, 1, 1, 5, 64},
    {64, 64, 2, 64, 1, 4, 2, 128},
    {64, 64, 2, 64, 2, 8, 1},
    {64, 64, 2, 32, 1, 4, 2},
    {64, 64, 1, 16, 1, 4, 1},
    {128, 128, 2, 32, 2, 8, 1},
    {128, 128, 2, 32, 1, 4, 2},
    {256, 256, 1, 32, 1, 8, 1},
    {256, 256, 1, 16, 1, 4, 2},
}};
template <Scalar ScalarType>
inline constexpr int mma_shape_count      = int(std::tuple_size_v<decltype(mma_shapes<ScalarType>)>);
inline constexpr int largest_mma_head_dim = 256;
/// The engine's loops have positions of 32 bits.
inline constexpr int longest_mma_sequence = 1 << 30;
/// Of a team's arrays, in bytes: a line of scratch (see MmaSwap.hpp). Kokkos does not promise it.
inline constexpr int mma_scratch_alignment = 128;

/// What is known of the lengths of a call's sequences, of queries or keys, whichever is longer.
struct MmaLengths {
  index_t shortest = 0, longest = longest_mma_sequence;

  KOKKOS_FORCEINLINE_FUNCTION bool hold(Sequence const& sequence) const {
    index_t const length = Kokkos::max(sequence.q_len, sequence.k_len);
    return length >= shortest && length <= longest;
  }
};

/// What the choice of a tile depends on. A sequence's result must not depend on what else is in the batch: what lengths
/// choose is the same for a sequence, whatever is known of the others.
struct MmaTileQuery {
  int head_dim, value_dim;
  std::size_t scratch_limit;  // TeamPolicy::scratch_size_max of level 0
  MmaLengths lengths = {};
  bool adds_bias     = false;          // forward: and has no other option
  bool single = false, plain = false;  // see BackwardArguments

  /// Of each of so many teams on a multiprocessor. The limit of one leaves out what Kokkos would keep for reductions by
  /// 1024 threads, of which teams of few warps need little, and 1 KiB that CUDA keeps of every team's (CUDA C++
  /// Programming Guide, "Compute Capability 8.x").
  constexpr std::size_t scratch_limit_of(int teams) const {
    if (teams == 1) return scratch_limit;
    auto const kept_by_kokkos          = [](int threads) { return std::size_t(8) * (threads + 3); };
    constexpr std::size_t kept_by_cuda = 1024;
    std::size_t const share            = (scratch_limit + kept_by_kokkos(1024) + kept_by_cuda) / teams,
                      kept             = kept_by_kokkos(32) + kept_by_cuda + mma_scratch_alignment;
    return share < kept ? 0 : Kokkos::min(share - kept, scratch_limit);
  }
};

/// A team's tile.
struct MmaTile {
  int shape   = -1;  // in mma_shapes; -1: no tile fits
  int queries = 0, keys = 0;
  int value_parts           = 0;
  int scratch_level         = 0;
  std::size_t scratch_bytes = 0;
  int team_size = 0, vector_length = 32;
  MmaLengths lengths = {};     // of the sequences that it is for
  bool splits_ahead  = false;  // keys and values are split before, see MmaSplitAhead.hpp
  bool copies_bias   = false;  // see MmaCopiedBias.hpp

  KOKKOS_FORCEINLINE_FUNCTION bool takes(Sequence const& sequence) const { return lengths.hold(sequence); }
};

/// Those of a call, each for some of the sequences.
struct MmaForwardTiles {
  MmaTile tile[2];
  int count = 0;
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

/// From one row of keys or values in scratch to the next. Swapped ones need more addresses, for which only long rows,
/// that take long to copy, make up.
template <class Arithmetic>
KOKKOS_INLINE_FUNCTION constexpr int mma_key_stride(int columns) {
  return sizeof(typename Arithmetic::Number) == 2 && columns >= 256 ? columns : Arithmetic::stride(columns);
}

/// What a team needs to know only after its loop over keys: in registers it would take those that products need.
struct alignas(16) MmaItem {
  index_t begin;  // where its queries begin in the arrays
  int entry, head, queries;
  int first_column;  // of the output
};

/// The array that a kernel's one option looks up, of the work item's head.
struct alignas(16) MmaArray {
  void const* data;
  bool in_packs;  // it can be copied 16 bytes at a time
};

/// Where the arrays in a team's scratch begin, in bytes: queries; stages of keys, and of values; the work item, and its
/// option's array.
template <class Arithmetic>
struct MmaLayout {
  int keys, values, item, array, end;

  KOKKOS_INLINE_FUNCTION constexpr explicit MmaLayout(MmaShape const& shape) {
    constexpr int bytes = int(sizeof(typename Arithmetic::Number));
    int const rows      = shape.stages * shape.keys * bytes;
    keys                = 16 * shape.row_blocks * shape.warps * Arithmetic::own_stride(shape.head_columns) * bytes;
    values              = keys + rows * mma_key_stride<Arithmetic>(shape.head_columns);
    item                = values + rows * mma_key_stride<Arithmetic>(shape.value_columns);
    array               = item + int(sizeof(MmaItem));
    end                 = array + int(sizeof(MmaArray));
  }
};

/// Whether a kernel for a bias alone copies it ahead (see MmaCopiedBias.hpp), to behind all else: while keys are
/// multiplied. With stages for two tiles it would need as many places, and in wider types products take longer.
template <Scalar ScalarType>
KOKKOS_INLINE_FUNCTION constexpr bool copies_bias(MmaShape const& shape) {
  return sizeof(ScalarType) == 2 && shape.stages == 1;
}
/// From one of its rows in scratch to the next: without bank conflicts.
KOKKOS_INLINE_FUNCTION constexpr int copied_bias_stride(int keys) { return keys + 8; }

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

/// The same with room for a bias that is copied ahead, if there is any.
template <Scalar ScalarType>
constexpr MmaTile with_copied_bias(MmaTile tile, std::size_t scratch_limit) {
  MmaShape const& shape   = mma_shapes<ScalarType>[tile.shape];
  std::size_t const bytes = sizeof(ScalarType) * tile.queries * copied_bias_stride(tile.keys);
  if (!copies_bias<ScalarType>(shape) || tile.scratch_bytes + bytes > scratch_limit) return tile;
  tile.copies_bias = true;
  tile.scratch_bytes += bytes;
  return tile;
}

/// The first shape that fits.
/// \param keys a tile must have; 0: any, of a shape that is not for short sequences only
template <Scalar ScalarType>
constexpr MmaTile first_mma_tile(MmaTileQuery const& query, int keys) {
  // Shapes are made for all the teams that a multiprocessor is to hold, but better fewer than another engine.
  for (bool const all_teams : {true, false}) {
    for (int n = 0; n < mma_shape_count<ScalarType>; ++n) {
      MmaShape const& shape = mma_shapes<ScalarType>[n];
      if (keys == 0 ? shape.longest != 0 : shape.longest < query.lengths.longest || shape.keys != keys) continue;
      if (shape.shortest > query.lengths.shortest) continue;
      // Shapes of 128 columns take wider values in parts.
      if (shape.head_columns < query.head_dim || (shape.value_columns < query.value_dim && shape.value_columns < 128))
        continue;
      MmaTile const tile      = lay_out_mma_tile<ScalarType>(query, n);
      std::size_t const limit = query.scratch_limit_of(all_teams ? shape.teams : 1);
      if (tile.scratch_bytes > limit) continue;
      return query.adds_bias ? with_copied_bias<ScalarType>(tile, limit) : tile;
    }
  }
  return {};
}

/// One for sequences of all of the query's lengths; shape is -1 if none fits.
template <Scalar ScalarType>
constexpr MmaTile choose_mma_tile(MmaTileQuery const& query) {
  if (query.value_dim > largest_mma_head_dim) return {};
  MmaTile const for_all   = first_mma_tile<ScalarType>(query, 0);
  MmaTile const for_short = for_all.shape < 0 ? MmaTile() : first_mma_tile<ScalarType>(query, for_all.keys);
  return for_short.shape < 0 ? for_all : for_short;
}

/// A sequence's tile depends on its own length, not on the others'. None, if none fits.
template <Scalar ScalarType>
constexpr MmaForwardTiles choose_mma_tiles(MmaTileQuery const& query) {
  MmaForwardTiles tiles;
  auto const add = [&](index_t shortest, index_t longest) {
    if (shortest > longest) return true;
    MmaTileQuery some  = query;
    some.lengths       = {shortest, longest};
    MmaTile const tile = choose_mma_tile<ScalarType>(some);
    if (tile.shape < 0) return false;
    if (tiles.count == 0 || tiles.tile[0].shape != tile.shape) {
      tiles.tile[tiles.count]         = tile;
      tiles.tile[tiles.count].lengths = {shortest, longest};
      ++tiles.count;
    } else {
      tiles.tile[0].lengths.longest = longest;
    }
    return true;
  };
  auto const [shortest, longest] = query.lengths;
  index_t const limit            = shortest_wide_mma_tiles;
  bool const found = add(shortest, Kokkos::min(longest, limit - 1)) && add(Kokkos::max(shortest, limit), longest);
  return found ? tiles : MmaForwardTiles();
}

}  // namespace KokkosAttention::Impl

#endif
