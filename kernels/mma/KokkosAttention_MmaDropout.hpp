// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMADROPOUT_HPP
#define KOKKOSATTENTION_MMADROPOUT_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_Loops.hpp>
#include <KokkosAttention_MmaInstructions.hpp>
#include <KokkosAttention_MmaLane.hpp>
#include <KokkosAttention_MmaPlace.hpp>
#include <KokkosAttention_WeightDropout.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// Which of a lane's weights are kept. A draw is for four neighbouring keys, of which several lanes have some: each of
/// these draws its share of what all of them need, and they exchange the bits.

namespace KokkosAttention::Impl {

/// Bit 2 n + e of kept[r] is that of row 8 r and column 8 n + e. Tiles of keys begin at multiples of 4. All of a warp's
/// lanes call it together.
/// \param b, h batch entry and query head
/// \tparam own the side whose numbers the tile's rows are
template <Side own, int row_blocks, int column_blocks, class T>
KOKKOS_FORCEINLINE_FUNCTION void draw_kept(WeightDropout<T> const& dropout, int b, int h, MmaPlace const& place,
                                           MmaLane lane, unsigned (&kept)[2 * row_blocks]) {
  static_assert(WeightDropout<T>::quad == 4);
  if constexpr (own == Side::queries) {
    // Two lanes have two keys each: one draws for even rows, the other for odd ones.
    int const mine = lane.member % 2, others = 1 - mine;
    // A draw is a chain of operations that wait for each other: several at a time.
    constexpr int at_once         = column_blocks % 2 == 0 ? 2 : 1;
    unsigned own_bits[row_blocks] = {}, other_bits[row_blocks] = {};
    KOKKOSATTENTION_ROLLED
    for (int first = 0; first < column_blocks; first += at_once) {
      KOKKOSATTENTION_UNROLL
      for (int n = first; n < first + at_once; ++n) {
        KOKKOSATTENTION_UNROLL
        for (int r = 0; r < row_blocks; ++r) {
          unsigned const quad = dropout.kept_quad(b, h, place.row + 8 * (2 * r + mine), (place.column + 8 * n) / 4);
          own_bits[r] |= (quad >> (2 * mine) & 3u) << (2 * n);
          other_bits[r] |= (quad >> (2 * others) & 3u) << (2 * n);
        }
      }
    }
    KOKKOSATTENTION_UNROLL
    for (int r = 0; r < row_blocks; ++r) {
      unsigned const received = exchange_lanes(other_bits[r], 1);
      kept[2 * r]             = mine == 0 ? own_bits[r] : received;
      kept[2 * r + 1]         = mine == 0 ? received : own_bits[r];
    }
  } else {
    // Four lanes have a key each: each draws for every fourth element, counted by rows.
    constexpr int columns = 2 * column_blocks, draws = row_blocks * columns / 2, words = (4 * draws + 31) / 32;
    int const mine      = lane.quad % 4;
    unsigned all[words] = {};
    KOKKOSATTENTION_UNROLL
    for (int w = 0; w < words; ++w) {
      unsigned quads = 0;
      KOKKOSATTENTION_ROLLED
      for (int n = 0; n < (draws < 8 ? draws : 8); ++n) {
        int const element = 4 * (8 * w + n) + mine, row = element / columns, column = element % columns;
        quads |= dropout.kept_quad(b, h, place.column + column / 2 * 8 + column % 2, (place.row + 8 * row) / 4)
                 << (4 * n);
      }
      constexpr unsigned first_of_four = 0x11111111u;
      KOKKOSATTENTION_UNROLL
      for (int difference = 0; difference < 4; ++difference) {
        unsigned const drawn = difference == 0 ? quads : exchange_lanes(quads, 4 * difference);
        all[w] |= (drawn >> mine & first_of_four) << (mine ^ difference);
      }
    }
    KOKKOSATTENTION_UNROLL
    for (int r = 0; r < 2 * row_blocks; ++r) {
      kept[r] = 0;
      KOKKOSATTENTION_UNROLL
      for (int c = 0; c < columns; ++c) kept[r] |= (all[(r * columns + c) / 32] >> ((r * columns + c) % 32) & 1u) << c;
    }
  }
}

}  // namespace KokkosAttention::Impl

#endif
