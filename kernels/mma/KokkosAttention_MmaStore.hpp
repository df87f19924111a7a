// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMASTORE_HPP
#define KOKKOSATTENTION_MMASTORE_HPP

#include <KokkosAttention_MmaArithmetic.hpp>
#include <KokkosAttention_MmaCopy.hpp>
#include <KokkosAttention_MmaRows.hpp>

#include <Kokkos_Core.hpp>

namespace KokkosAttention::Impl {

struct alignas(16) MmaPack {
  unsigned value[4];
};

/// Stores a warp's sums to rows of an array, by way of scratch: its lanes write what lies side by side.
/// \tparam unrolled quicker, but compilers may keep registers for it all the time
/// \param factor factor(b, h) of row quad + 16 b + 8 h
/// \param scratch 16 row_blocks rows of a stride of numbers, which only this warp uses
/// \param to may have fewer rows and columns than there are sums
template <class Arithmetic, int stride, bool in_packs, bool unrolled, int row_blocks, int blocks, class Factor>
KOKKOS_FORCEINLINE_FUNCTION void store_rows(typename Arithmetic::Sum const (&sums)[row_blocks][blocks],
                                            Factor const& factor, typename Arithmetic::Number* scratch,
                                            MatrixRows<typename Arithmetic::Number> const& to, MmaLane lane) {
  using Number       = typename Arithmetic::Number;
  constexpr int rows = 16 * row_blocks, columns = 8 * blocks;
  KOKKOSATTENTION_UNROLL
  for (int b = 0; b < row_blocks; ++b) {
    KOKKOSATTENTION_UNROLL
    for (int h = 0; h < 2; ++h) {
      auto const f      = factor(b, h);
      Number* const row = scratch + (lane.quad + 16 * b + 8 * h) * stride;
      KOKKOSATTENTION_UNROLL
      for (int n = 0; n < blocks; ++n) {
        auto const first = f * sums[b][n].value[2 * h], second = f * sums[b][n].value[2 * h + 1];
        if constexpr (sizeof(Number) == 2) {  // neighbours
          *reinterpret_cast<unsigned*>(row + Arithmetic::column(n, 0, lane)) = pack_two<Number>(first, second);
        } else {
          row[Arithmetic::column(n, 0, lane)] = first;
          row[Arithmetic::column(n, 1, lane)] = second;
        }
      }
    }
  }
  warp_barrier();
  if (in_packs || copies_in_packs(to)) {
    constexpr int pack = 16 / int(sizeof(Number)), packs = columns / pack, lanes = packs < 32 ? packs : 32;  // of a row
    constexpr int row_step = 32 / lanes;
    static_assert(32 % lanes == 0 && packs % lanes == 0);
    int const first_row = lane.number() / lanes, first_column = lane.number() % lanes * pack;
    Number const* from = scratch + first_row * stride + first_column;
    Number* place      = &to(first_row, first_column);
    KOKKOSATTENTION_ROLLED
    for (int begin = 0; begin < rows; begin += unrolled ? rows : row_step) {
      KOKKOSATTENTION_UNROLL
      for (int r = begin; r < begin + (unrolled ? rows : row_step); r += row_step) {
        KOKKOSATTENTION_UNROLL
        for (int c = 0; c < columns; c += lanes * pack)
          if (r < to.rows - first_row && c < to.columns - first_column)
            *reinterpret_cast<MmaPack*>(place + c) = *reinterpret_cast<MmaPack const*>(from + r * stride + c);
        place += row_step * to.row_stride;
      }
    }
  } else {
    KOKKOSATTENTION_ROLLED
    for (int n = lane.number(); n < rows * columns; n += 32) {
      int const r = n / columns, c = n % columns;
      if (r < to.rows && c < to.columns) to(r, c) = scratch[r * stride + c];
    }
  }
  warp_barrier();
}

}  // namespace KokkosAttention::Impl

#endif
