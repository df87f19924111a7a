// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMABACKWARDTILES_HPP
#define KOKKOSATTENTION_MMABACKWARDTILES_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_MmaBackwardItem.hpp>
#include <KokkosAttention_MmaTiles.hpp>

#include <array>
#include <cstddef>

/// \file
/// Tile sizes of the mma engine's backward kernels. "First" is what scores are products of, q and k; "second" is dO and
/// v.

namespace KokkosAttention::Impl {

/// Of a pair of warps, one multiplies for the scores and one for their gradients, and they exchange halves of what they
/// have. If not, each computes both, of half of the queries.
template <class Arithmetic>
inline constexpr bool exchanges_products = requires {
  Arithmetic::turned_numbers;
};

/// What is settled when a backward kernel is compiled. A kernel sums what its registers hold: dQ, dK, dV, or dK and dV.
/// In turns, kernels for dK and dV add to dQ in memory. If pairs of warps share the same keys, one sums dK and the
/// other dV. In groups, some of the warps that share keys multiply for weights only, and others for gradients only. A
/// kernel that owns queries and has no columns to sum adds up the gradients of scores themselves: dBias.
struct MmaBackwardShape {
  Side own;
  int head_columns;                   // of q, k, dO and v, padded
  int first_columns, second_columns;  // of the sums dQ or dK, and dV; 0: not computed; wider ones are computed in parts
  int row_blocks;                     // blocks of 16 own rows a warp
  int columns;                        // rows of the other side in a tile
  int stages;
  int warps;  // a team
  int teams;  // that a multiprocessor is to hold
  bool turns  = false;
  int sharing = 1;  // warps with the same own rows: 1 or 2, or 4 in groups
  int longest = 0;  // sequence that it is for; 0: it is for all (see MmaShape)
  bool groups = false;

  KOKKOS_INLINE_FUNCTION constexpr bool computes_bias() const { return own == Side::queries && first_columns == 0; }
  KOKKOS_INLINE_FUNCTION constexpr bool computes_queries() const {
    return (own == Side::queries && !computes_bias()) || turns;
  }
  KOKKOS_INLINE_FUNCTION constexpr bool computes_keys() const { return own == Side::keys && first_columns > 0; }
  KOKKOS_INLINE_FUNCTION constexpr bool computes_values() const { return own == Side::keys && second_columns > 0; }
  /// Own rows that it needs: dV is computed from scores alone.
  KOKKOS_INLINE_FUNCTION constexpr int own_arrays() const { return first_columns > 0 || computes_bias() ? 2 : 1; }
  KOKKOS_INLINE_FUNCTION constexpr int own_rows() const { return 16 * row_blocks * warps / sharing; }
  /// Warps that share keys hand weights over in the place of gradients, which takes a barrier more. In groups, some
  /// have no other use for it meanwhile; long rows leave room for no other.
  KOKKOS_INLINE_FUNCTION constexpr bool exchanges_in_place() const { return groups || head_columns > 128; }
  /// Of the tile's columns, those of which a warp has scores and gradients.
  KOKKOS_INLINE_FUNCTION constexpr int warp_columns() const { return columns / (groups ? sharing / 2 : sharing); }
};

/// What a kernel computes, as labels and descriptions say it.
constexpr char const* gradient_names(MmaBackwardShape const& shape) {
  if (shape.computes_bias()) return "dbias";
  if (shape.own == Side::queries) return "dq";
  if (shape.turns) return "dq, dk and dv";
  if (shape.first_columns == 0) return "dv";
  return shape.second_columns == 0 ? "dk" : "dk and dv";
}

/// The backward kernels of a type, the first that fits and computes a gradient is taken.
template <Scalar ScalarType>
inline constexpr std::array<MmaBackwardShape, 24> mma_backward_shapes = {{
    // Own side, columns of heads, of first and second sums, row blocks, columns, stages, warps, teams, turns, sharing,
    // longest, groups.
    {Side::queries, 32, 32, 0, 2, 32, 1, 1, 12, false, 1, 64},
    {Side::keys, 32, 32, 32, 2, 32, 1, 1, 8, false, 1, 64},
    {Side::queries, 64, 64, 0, 2, 32, 1, 1, 8, false, 1, 64},
    {Side::keys, 64, 64, 64, 2, 32, 1, 1, 8, false, 1, 64},
    {Side::keys, 64, 64, 64, 2, 64, 2, 8, 1, true, 2, 0, true},
    {Side::keys, 64, 64, 64, 2, 64, 2, 8, 1, true, 2},
    {Side::keys, 128, 128, 128, 2, 64, 2, 8, 1, true, 2},
    {Side::keys, 256, 256, 256, 2, 64, 2, 8, 1, true, 4, 0, true},
    {Side::keys, 256, 256, 256, 1, 64, 2, 8, 1, true, 2},
    {Side::keys, 256, 256, 256, 1, 32, 2, 8, 1, true, 2},
    {Side::queries, 64, 64, 0, 2, 32, 2, 4, 2},
    {Side::keys, 64, 64, 64, 2, 32, 2, 4, 2},
    {Side::queries, 128, 128, 0, 2, 32, 2, 4, 2},
    {Side::queries, 128, 128, 0, 2, 32, 1, 4, 1},
    {Side::keys, 128, 128, 128, 1, 32, 2, 4, 1},
    {Side::queries, 256, 256, 0, 1, 32, 2, 8, 1},
    {Side::queries, 256, 256, 0, 1, 32, 1, 4, 1},
    {Side::keys, 256, 256, 0, 1, 32, 1, 4, 2},
    {Side::keys, 256, 0, 256, 1, 32, 2, 4, 2},
    {Side::queries, 32, 0, 0, 1, 32, 2, 4, 5},
    {Side::queries, 64, 0, 0, 1, 64, 2, 4, 3},
    {Side::queries, 64, 0, 0, 1, 64, 1, 4, 3},
    {Side::queries, 128, 0, 0, 1, 64, 1, 4, 3},
    {Side::queries, 256, 0, 0, 1, 32, 1, 4, 2},
}};
template <>
inline constexpr std::array<MmaBackwardShape, 16> mma_backward_shapes<double> = {{
    {Side::queries, 32, 32, 0, 1, 16, 1, 2, 4, false, 1, 64},
    {Side::keys, 32, 32, 32, 1, 16, 1, 2, 4, false, 1, 64},
    {Side::keys, 64, 64, 64, 2, 16, 2, 4, 2, true, 2},
    {Side::keys, 128, 128, 128, 1, 16, 2, 8, 1, true, 2},
    {Side::queries, 64, 64, 0, 1, 16, 2, 4, 2},
    {Side::keys, 64, 64, 64, 1, 16, 2, 4, 2},
    {Side::queries, 128, 128, 0, 1, 16, 2, 4, 1},
    {Side::keys, 128, 128, 0, 1, 16, 2, 4, 1},
    {Side::keys, 128, 0, 128, 1, 16, 2, 8, 1},
    {Side::queries, 256, 128, 0, 1, 16, 1, 2, 1},
    {Side::keys, 256, 128, 0, 1, 16, 1, 2, 1},
    {Side::keys, 256, 0, 128, 1, 16, 1, 4, 1},
    {Side::queries, 32, 0, 0, 1, 32, 2, 4, 2},
    {Side::queries, 64, 0, 0, 1, 32, 1, 4, 2},
    {Side::queries, 128, 0, 0, 1, 32, 1, 4, 1},
    {Side::queries, 256, 0, 0, 1, 16, 1, 2, 1},
}};
template <>
inline constexpr std::array<MmaBackwardShape, 18> mma_backward_shapes<float> = {{
    {Side::queries, 32, 32, 0, 2, 32, 1, 1, 8, false, 1, 64},
    {Side::keys, 32, 32, 32, 2, 32, 1, 1, 8, false, 1, 64},
    {Side::keys, 64, 64, 64, 2, 32, 2, 8, 1, true},
    {Side::keys, 128, 128, 128, 1, 32, 2, 8, 1, true},
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
    {Side::queries, 32, 0, 0, 1, 32, 2, 4, 4},
    {Side::queries, 64, 0, 0, 1, 64, 1, 4, 3},
    {Side::queries, 128, 0, 0, 1, 32, 1, 4, 2},
    {Side::queries, 256, 0, 0, 1, 32, 1, 4, 1},
}};
template <Scalar ScalarType>
inline constexpr int mma_backward_shape_count = int(std::tuple_size_v<decltype(mma_backward_shapes<ScalarType>)>);

/// Where the arrays in a team's scratch begin, in bytes: own first and, but for dV alone, second rows; stages of the
/// other side, each with first and second rows, and queries with their LSE and delta; what warps put down to be turned,
/// the weights that pairs exchange, or the powers of what was put down, and what the team is told of its tiles. For
/// dBias each stage begins with own rows.
template <Scalar ScalarType>
struct MmaBackwardLayout {
  static constexpr int posted = 8;  // steps at once, where it is known how many there are

  int own_second, stages, stage_bytes, turned, weights, steps, item, end;
  int own_stage_bytes;           // from own rows to those of the next stage
  int other_second, statistics;  // in a stage
  bool adds_late;                // what warps put down to be turned is used in the next step
  int slots;                     // for steps: those that some warp may still look at, and those that are posted

  KOKKOS_INLINE_FUNCTION constexpr explicit MmaBackwardLayout(MmaBackwardShape const& shape) {
    using Arithmetic    = MmaArithmetic<ScalarType>;
    constexpr int bytes = int(sizeof(typename Arithmetic::Number));
    int const stride    = Arithmetic::stride(shape.head_columns);
    own_second          = mma_own_numbers<Arithmetic>(shape.own_rows(), shape.head_columns) * bytes;
    stages              = shape.own_arrays() * own_second;
    own_stage_bytes     = 0;
    other_second        = shape.columns * stride * bytes;
    if (shape.sharing > 1 && exchanges_products<Arithmetic>) {
      // In the padding of first rows.
      statistics  = shape.head_columns * bytes;
      stage_bytes = other_second + mma_other_numbers<Arithmetic>(shape.columns, shape.head_columns) * bytes;
    } else {
      statistics  = 2 * other_second;
      stage_bytes = statistics + 2 * shape.columns * int(sizeof(accumulation_t<ScalarType>));
    }
    if (shape.computes_bias()) own_stage_bytes = stage_bytes = stages + 2 * other_second;
    turned = weights = steps = item = end = (own_stage_bytes > 0 ? 0 : stages) + shape.stages * stage_bytes;
    adds_late                             = shape.sharing > 1 && !exchanges_products<Arithmetic>;
    slots                                 = posted + (adds_late ? 4 : 2);
    if (!shape.turns) return;
    if constexpr (exchanges_products<Arithmetic>) {
      int const block = shape.own_rows() / 16 * Arithmetic::turned_numbers * bytes;
      weights         = turned + 2 * block;
      steps           = weights + block;
    } else {
      int const gradients = shape.own_rows() * Arithmetic::stride(shape.columns) * bytes;
      weights             = turned + (adds_late ? 2 : 1) * gradients;
      int const numbers   = shape.sharing == 1           ? shape.warps * shape.columns
                            : shape.exchanges_in_place() ? 0
                                                         : shape.own_rows() * Arithmetic::stride(shape.columns / 2);
      steps               = weights + numbers * bytes;
    }
    item = steps + slots * int(sizeof(MmaBackwardStep<ScalarType>));
    end  = item + int(sizeof(MmaBackwardItem));
  }

  KOKKOS_INLINE_FUNCTION constexpr bool pads_statistics() const { return statistics < other_second; }
};

/// A team's tile.
struct MmaBackwardTile {
  int shape = -1;             // in mma_backward_shapes
  int rows = 0, columns = 0;  // of the own side, of the other
  int parts                 = 0;
  int scratch_level         = 0;
  std::size_t scratch_bytes = 0;
  int team_size = 0, vector_length = 32;
  MmaLengths lengths = {};     // of the sequences that it is for
  bool splits_ahead  = false;  // queries and dO are split before, see MmaSplitAhead.hpp

  KOKKOS_FORCEINLINE_FUNCTION bool takes(Sequence const& sequence) const { return lengths.hold(sequence); }
};

template <Scalar ScalarType>
constexpr MmaBackwardTile lay_out_mma_backward_tile(MmaTileQuery const& query, int shape_number) {
  MmaBackwardShape const shape = mma_backward_shapes<ScalarType>[shape_number];
  auto const parts             = [](int dim, int columns) { return columns > 0 ? (dim + columns - 1) / columns : 0; };
  MmaBackwardTile tile;
  tile.shape         = shape_number;
  tile.rows          = shape.own_rows();
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
  static constexpr int most = 5;
  MmaBackwardTile tile[most];
  int count = 0;
};

/// The tile of the kernel that computes dBias; shape is -1 if none does.
template <Scalar ScalarType>
constexpr MmaBackwardTile mma_bias_tile(MmaBackwardTiles const& tiles) {
  for (int n = 0; n < tiles.count; ++n)
    if (mma_backward_shapes<ScalarType>[tiles.tile[n].shape].computes_bias()) return tiles.tile[n];
  return {};
}

/// Sequences from this length on are taken by a kernel of five products, if there is one: with shorter ones, teams that
/// wait for their turns lose more than they gain, the longer the less there is to do for a score. In the wider types
/// that is so only where teams of few warps take the shorter ones.
template <Scalar ScalarType>
constexpr index_t shortest_mma_turns(MmaTileQuery const& query) {
  if (sizeof(ScalarType) == 2) return query.adds_bias ? 65 : 512;
  return query.head_dim <= 32 && query.value_dim <= 32 ? 65 : 0;
}

/// Whether a shape in groups is for a call. Half of a group's warps have all scores, so that of rows that take little
/// time to multiply, calls whose scores take long have pairs of warps that share them.
/// \param plain, single see BackwardArguments
constexpr bool takes_groups(MmaBackwardShape const& shape, bool plain, bool single) {
  return shape.head_columns > 64 ? single : plain;
}

/// Adds kernels for the sequences of some lengths, unless not every gradient that is wanted has a tile that fits.
/// \param in_turns whether kernels of five products are for them
template <Scalar ScalarType>
constexpr bool add_mma_backward_tiles(MmaBackwardTiles& tiles, MmaTileQuery const& query, bool in_turns, bool dq,
                                      bool dk, bool dv, bool dbias) {
  int const widest = query.head_dim > query.value_dim ? query.head_dim : query.value_dim;
  bool q_found = !dq, k_found = !dk, v_found = !dv, bias_found = !dbias;
  int count = tiles.count;
  // Shapes are made for all the teams that a multiprocessor is to hold, but better fewer than another engine.
  for (bool const all_teams : {true, false}) {
    for (int n = 0; n < mma_backward_shape_count<ScalarType>; ++n) {
      MmaBackwardShape const& shape = mma_backward_shapes<ScalarType>[n];
      if (shape.head_columns < widest || (shape.longest != 0 && shape.longest < query.lengths.longest) ||
          (shape.groups && !takes_groups(shape, query.plain, query.single)))
        continue;
      // Five products pay if all that they compute is wanted.
      if (shape.turns ? !in_turns || q_found || k_found || v_found
                      : (q_found || !shape.computes_queries()) && (k_found || !shape.computes_keys()) &&
                            (v_found || !shape.computes_values()) && (bias_found || !shape.computes_bias()))
        continue;
      MmaBackwardTile tile = lay_out_mma_backward_tile<ScalarType>(query, n);
      if (tile.scratch_bytes > query.scratch_limit_of(all_teams ? shape.teams : 1)) continue;
      tile.lengths        = query.lengths;
      tiles.tile[count++] = tile;
      q_found             = q_found || shape.computes_queries();
      k_found             = k_found || shape.computes_keys();
      v_found             = v_found || shape.computes_values();
      bias_found          = bias_found || shape.computes_bias();
    }
  }
  bool const found = q_found && k_found && v_found;
  if (found) tiles.count = count;
  return found;
}

/// None, if not every one that is wanted has a tile that fits; but another engine may compute dBias. Kernels in turns
/// are first: what they do for dQ, they do for all queries.
template <Scalar ScalarType>
constexpr MmaBackwardTiles choose_mma_backward_tiles(MmaTileQuery const& query, bool dq, bool dk, bool dv, bool dbias) {
  index_t const limit = shortest_mma_turns<ScalarType>(query);
  MmaBackwardTiles tiles;
  MmaTileQuery shorter = query;
  if (query.lengths.longest >= limit) {
    if (!add_mma_backward_tiles<ScalarType>(tiles, query, true, dq, dk, dv, dbias)) return {};
    bool has_turns = false;
    for (int n = 0; n < tiles.count; ++n) {
      if (!mma_backward_shapes<ScalarType>[tiles.tile[n].shape].turns) continue;
      has_turns                      = true;
      tiles.tile[n].lengths.shortest = limit;
    }
    if (!has_turns || query.lengths.shortest >= limit) return tiles;
    shorter.lengths.longest = limit - 1;
    dbias                   = false;  // its kernel is for all
  }
  return add_mma_backward_tiles<ScalarType>(tiles, shorter, false, dq, dk, dv, dbias) ? tiles : MmaBackwardTiles();
}

}  // namespace KokkosAttention::Impl

#endif
