// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_BIASGRADIENTPLAN_HPP
#define KOKKOSATTENTION_BIASGRADIENTPLAN_HPP

#include <KokkosAttention_Arguments.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// How the gradient of a bias is divided into sums of a fixed order, whatever dimensions the bias broadcasts.

namespace KokkosAttention::Impl {

/// A bias gradient is a sum over the dimensions in which the bias broadcasts. A team owns a tile of its elements, or of
/// one side's sums, and visits the (batch entry, head, tile of the other side) that add to it. So that few elements
/// keep a device busy too, visit v is added to part v % parts, and the parts are added up at the end. The division
/// depends on sizes only; that of an entry's own gradient not on the batch, nor on other packed sequences.
struct BiasGradientPlan {
  Side own;        // side that the league goes along: queries, unless the bias broadcasts along them
  bool sum_other;  // the other side's tiles are visited; else each has elements of its own
  bool sum_own;    // sums along the own side are added up too, at the end
  bool sum_batch;  // packed sequences differ in position, and so are not batch entries here
  bool sum_heads;
  int entries, heads;  // of the gradient
  index_t q_len, k_len;
  int queries, keys;  // of a tile
  int splits;         // teams that share the other side's tiles where each has elements of its own
  int parts;

  template <Scalar ScalarType>
  BiasGradientPlan(AttentionArguments<ScalarType> const& arguments, index_t const (&extent)[4], int tile_queries,
                   int tile_keys)
      : own(extent[2] == 1 ? Side::keys : Side::queries),
        sum_other(own == Side::keys || extent[3] == 1),
        sum_own(own == Side::keys && extent[3] == 1),
        // An entry alone is divided as it is among others.
        sum_batch(!arguments.packed() && arguments.batch != 1 && extent[0] == 1),
        sum_heads(extent[1] == 1),
        entries(sum_batch ? 1 : arguments.batch),
        heads(sum_heads ? 1 : arguments.q_heads),
        q_len(arguments.q_len),
        k_len(arguments.k_len),
        queries(tile_queries),
        keys(tile_keys) {
    Side const other          = own == Side::queries ? Side::keys : Side::queries;
    index_t const other_tiles = tiles(arguments.length(other), rows(other));
    // Where lengths are known on the device only, a few teams take them in turns.
    constexpr int packed_splits = 8;
    splits                      = sum_other            ? 1
                                  : arguments.packed() ? packed_splits
                                                       : static_cast<int>(Kokkos::max(other_tiles, index_t(1)));

    index_t const visits =
        index_t(sum_batch ? arguments.batch : 1) * (sum_heads ? arguments.q_heads : 1) * (sum_other ? other_tiles : 1);
    index_t const teams            = tile_slots(arguments, own, rows(own)) * heads * splits;
    constexpr index_t enough_teams = 1024, vector_parts = 16;
    index_t wanted = sum_other ? vector_parts : 1;
    if (sum_batch && teams > 0) wanted = Kokkos::max(wanted, enough_teams / teams);
    parts = static_cast<int>(Kokkos::max(index_t(1), Kokkos::min(wanted, visits)));
  }

  template <Scalar ScalarType>
  BiasGradientPlan(BackwardArguments<ScalarType> const& arguments, int tile_queries, int tile_keys)
      : BiasGradientPlan(arguments, arguments.dbias_extent, tile_queries, tile_keys) {}

  /// Rows of a tile on one side.
  KOKKOS_FORCEINLINE_FUNCTION int rows(Side side) const { return side == Side::queries ? queries : keys; }
  KOKKOS_FORCEINLINE_FUNCTION static index_t tiles(index_t length, int rows) { return (length + rows - 1) / rows; }

  /// Sums go through memory unless a team's are final.
  KOKKOS_FORCEINLINE_FUNCTION bool stores_partial_sums() const { return sum_other || parts > 1; }
  /// Partial sums of one part.
  index_t partial_elements() const { return index_t(entries) * heads * partial_rows() * partial_columns(); }
  void set_partial_strides(index_t (&stride)[4]) const {
    stride[3] = partial_columns() == 1 ? 0 : 1;
    stride[2] = partial_rows() == 1 ? 0 : partial_columns();
    stride[1] = partial_rows() * partial_columns();
    stride[0] = heads * stride[1];
  }

 private:
  index_t partial_rows() const { return own == Side::queries ? q_len : 1; }
  index_t partial_columns() const { return own == Side::keys || !sum_other ? k_len : 1; }
};

}  // namespace KokkosAttention::Impl

#endif
