// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMACOPIEDBIAS_HPP
#define KOKKOSATTENTION_MMACOPIEDBIAS_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_Loops.hpp>
#include <KokkosAttention_MmaInstructions.hpp>
#include <KokkosAttention_MmaLane.hpp>
#include <KokkosAttention_MmaPlace.hpp>
#include <KokkosAttention_MmaTiles.hpp>

#include <Kokkos_Core.hpp>

#include <cstdint>

namespace KokkosAttention::Impl {

/// A bias in 16 bits, and where in scratch a warp has copied what belongs to its rows of queries, while products were
/// computed: from memory, its numbers would arrive late, and a few from each of many lines.
template <int row_blocks, int column_blocks, class Number>
struct MmaCopiedBias {
  static_assert(sizeof(Number) == 2 && column_blocks % 2 == 0);

  static constexpr int rows   = 16 * row_blocks;
  static constexpr int stride = copied_bias_stride(8 * column_blocks);
  static constexpr int bytes  = rows * stride * int(sizeof(Number));
  static constexpr int pack   = 16 / int(sizeof(Number));

  Tensor<Number const> array;  // of the head
  Number* copied;              // the warp's
  bool in_packs;

  /// Whether an array can be copied 16 bytes at a time: tiles begin at multiples of 8 keys.
  KOKKOS_FORCEINLINE_FUNCTION static bool lies_in_packs(Tensor<Number const> const& array) {
    return array.stride[3] == 1 && array.stride[2] % pack == 0 &&
           reinterpret_cast<std::uintptr_t>(array.data) % 16 == 0;
  }

  KOKKOS_FORCEINLINE_FUNCTION bool is_copied(MmaPlace const& place) const {
    return !any_lane(!in_packs || !place.holds_all<row_blocks, column_blocks>());
  }

  /// Begins to copy, if all that belongs to the warp's scores is there and lies in packs.
  KOKKOS_FORCEINLINE_FUNCTION void copy(MmaPlace const& place) const {
    if (!is_copied(place)) return;
    // Lanes side by side copy every second or fourth pack of a row.
    constexpr int packs = 8 * column_blocks / pack, lanes = packs % 4 == 0 ? 4 : 2, step = 32 / lanes;
    static_assert(rows % step == 0);
    MmaLane const lane = MmaLane::of(hidden(MmaLane::here().number()));
    int const row = lane.number() / lanes, column = lane.number() % lanes * pack;
    Number const* from = &array(0, 0, place.row - lane.quad + row, place.column - 2 * lane.member + column);
    Number* const to   = copied + row * stride + column;
    KOKKOSATTENTION_UNROLL
    for (int r = 0; r < rows; r += step) {
      KOKKOSATTENTION_UNROLL
      for (int n = 0; n < packs; n += lanes) copy_ahead<16>(to + r * stride + n * pack, from + n * pack, true);
      from += step * array.stride[2];
    }
  }

  /// f(b, n, h, e, number), after copies have arrived and a barrier.
  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void for_each(F const& f) const {
    MmaLane const lane        = MmaLane::of(hidden(MmaLane::here().number()));
    Number const* const first = copied + lane.number() % 16 * stride + lane.number() / 16 * 8;
    KOKKOSATTENTION_UNROLL
    for (int b = 0; b < row_blocks; ++b) {
      KOKKOSATTENTION_UNROLL
      for (int n = 0; n < column_blocks; n += 2) {
        unsigned numbers[4];
        load_matrices(numbers, first + 16 * b * stride + 8 * n);
        KOKKOSATTENTION_UNROLL
        for (int m = 0; m < 4; ++m) {
          float low, high;
          unpack_two<Number>(numbers[m], low, high);
          f(b, n + m / 2, m % 2, 0, low);
          f(b, n + m / 2, m % 2, 1, high);
        }
      }
    }
  }
};

}  // namespace KokkosAttention::Impl

#endif
