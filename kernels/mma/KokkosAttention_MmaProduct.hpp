// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMAPRODUCT_HPP
#define KOKKOSATTENTION_MMAPRODUCT_HPP

#include <KokkosAttention_MmaArithmetic.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The two products of a warp: of its own rows with the other side's rows, and of what comes of that with the other
/// side's rows again. Types that numbers are split for (MmaArithmetic::pieces) add small products apart from large
/// ones: the hardware does not round sums, it cuts them off.

namespace KokkosAttention::Impl {

/// Adds a b to sums of row_blocks times two blocks.
template <class Arithmetic, class PieceProducts, int row_blocks, int blocks, class Right>
KOKKOS_FORCEINLINE_FUNCTION void multiply_add_blocks(typename Arithmetic::Sum (&sums)[row_blocks][blocks], int n,
                                                     typename Arithmetic::Left const (&a)[row_blocks], Right const& b,
                                                     PieceProducts const& products) {
  KOKKOSATTENTION_UNROLL
  for (int r = 0; r < row_blocks; ++r) {
    KOKKOSATTENTION_UNROLL
    for (int c = 0; c < 2; ++c) Arithmetic::multiply_add(sums[r][n + c], a[r], b, c, products);
  }
}

/// result = own rows * other rows^T
/// \tparam columns of the rows
/// \tparam plane from one piece of the other rows to the next
template <class Arithmetic, int columns, int own_stride, int stride, int plane, int row_blocks, int column_blocks>
KOKKOS_FORCEINLINE_FUNCTION void multiply_rows(typename Arithmetic::Number const* own,
                                               typename Arithmetic::Stored const* other, MmaLane lane,
                                               typename Arithmetic::Sum (&result)[row_blocks][column_blocks]) {
  auto const add = [&](auto products) {
    KOKKOSATTENTION_UNROLL
    for (int block = 0; block < columns / Arithmetic::steps; ++block) {
      typename Arithmetic::Left left[row_blocks];
      KOKKOSATTENTION_UNROLL
      for (int b = 0; b < row_blocks; ++b)
        left[b] = Arithmetic::left(own + 16 * b * own_stride, own_stride, block, lane);
      KOKKOSATTENTION_UNROLL
      for (int n = 0; n < column_blocks; n += 2) {
        auto const right = Arithmetic::right_of_columns(other + 8 * n * stride, stride, plane, block, lane, products);
        multiply_add_blocks<Arithmetic>(result, n, left, right, products);
      }
    }
  };
  KOKKOSATTENTION_UNROLL
  for (int b = 0; b < row_blocks; ++b) {
    KOKKOSATTENTION_UNROLL
    for (int n = 0; n < column_blocks; ++n) result[b][n] = {};
  }
  if constexpr (Arithmetic::pieces > 1) add(SmallProducts());
  add(LargeProducts());
}

/// sums += factors * other rows
template <class Arithmetic, int stride, int plane, int row_blocks, int column_blocks, int blocks>
KOKKOS_FORCEINLINE_FUNCTION void add_product(typename Arithmetic::Sum const (&factors)[row_blocks][column_blocks],
                                             typename Arithmetic::Stored const* other, MmaLane lane,
                                             typename Arithmetic::Sum (&sums)[row_blocks][blocks]) {
  constexpr int blocks_a_step = Arithmetic::steps / 8, steps = column_blocks / blocks_a_step;
  if constexpr (Arithmetic::pieces == 1) {
    KOKKOSATTENTION_UNROLL
    for (int s = 0; s < steps; ++s) {
      typename Arithmetic::Left left[row_blocks];
      KOKKOSATTENTION_UNROLL
      for (int b = 0; b < row_blocks; ++b) left[b] = Arithmetic::left(factors[b] + s * blocks_a_step);
      KOKKOSATTENTION_UNROLL
      for (int n = 0; n < blocks; n += 2) {
        auto const right =
            Arithmetic::right_of_rows(other + Arithmetic::steps * s * stride, stride, plane, 8 * n, lane);
        multiply_add_blocks<Arithmetic>(sums, n, left, right, LargeProducts());
      }
    }
  } else {
    // Sums over the tile first, which are then added with rounding: the sums of all tiles would lose a bit in each.
    typename Arithmetic::Left left[steps][row_blocks];
    KOKKOSATTENTION_UNROLL
    for (int s = 0; s < steps; ++s) {
      KOKKOSATTENTION_UNROLL
      for (int b = 0; b < row_blocks; ++b) left[s][b] = Arithmetic::left(factors[b] + s * blocks_a_step);
    }
    KOKKOSATTENTION_UNROLL
    for (int n = 0; n < blocks; n += 2) {
      typename Arithmetic::Sum small[row_blocks][2] = {}, large[row_blocks][2] = {};
      KOKKOSATTENTION_UNROLL
      for (int s = 0; s < steps; ++s) {
        auto const right =
            Arithmetic::right_of_rows(other + Arithmetic::steps * s * stride, stride, plane, 8 * n, lane);
        multiply_add_blocks<Arithmetic>(small, 0, left[s], right, SmallProducts());
        multiply_add_blocks<Arithmetic>(large, 0, left[s], right, LargeProducts());
      }
      KOKKOSATTENTION_UNROLL
      for (int b = 0; b < row_blocks; ++b) {
        KOKKOSATTENTION_UNROLL
        for (int c = 0; c < 2; ++c) {
          KOKKOSATTENTION_UNROLL
          for (int i = 0; i < 4; ++i) sums[b][n + c].value[i] += large[b][c].value[i] + small[b][c].value[i];
        }
      }
    }
  }
}

}  // namespace KokkosAttention::Impl

#endif
