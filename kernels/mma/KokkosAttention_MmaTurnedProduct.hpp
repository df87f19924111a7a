// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMATURNEDPRODUCT_HPP
#define KOKKOSATTENTION_MMATURNEDPRODUCT_HPP

#include <KokkosAttention_MmaArithmetic.hpp>
#include <KokkosAttention_MmaProduct.hpp>
#include <KokkosAttention_MmaRows.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The product of what all warps of a team put down, rows of factors for each of the team's own rows, turned, with the
/// own rows: dQ = dS K, where teams own keys. It is for types that numbers are split for: factors times the powers of
/// the own rows are scaled by a power for each column and warp.

namespace KokkosAttention::Impl {

/// Puts a warp's factors down, number (row, column) in row `row` of scratch.
/// \param own, turned rows of scratch: the warp's own ones and those for the factors, own_stride and stride apart
/// \param powers of the warp, one for each column
template <class Arithmetic, int own_stride, int stride, int row_blocks, int column_blocks>
KOKKOS_FORCEINLINE_FUNCTION void put_factors(typename Arithmetic::Sum const (&factors)[row_blocks][column_blocks],
                                             typename Arithmetic::Number const* own,
                                             typename Arithmetic::Number* turned, float* powers, MmaLane lane) {
  auto const row = [&](int b, int h) { return 16 * b + 8 * h + lane.quad; };
  float own_power[row_blocks][2];
  KOKKOSATTENTION_UNROLL
  for (int b = 0; b < row_blocks; ++b) {
    KOKKOSATTENTION_UNROLL
    for (int h = 0; h < 2; ++h) own_power[b][h] = Arithmetic::power(own + row(b, h) * own_stride, own_stride);
  }
  KOKKOSATTENTION_UNROLL
  for (int n = 0; n < column_blocks; ++n) {
    float scaled[row_blocks][2][2], largest[2] = {};
    for_each_element<row_blocks, 1>([&](int b, int, int h, int e) {
      scaled[b][h][e] = factors[b][n].value[2 * h + e] * own_power[b][h];
      largest[e]      = Kokkos::fmax(largest[e], Kokkos::fabs(scaled[b][h][e]));
    });
    // The first 16 bits tell the power.
    constexpr unsigned high = 0xffff0000u;
    unsigned both = Kokkos::bit_cast<unsigned>(largest[0]) >> 16 | (Kokkos::bit_cast<unsigned>(largest[1]) & high);
    KOKKOSATTENTION_UNROLL
    for (int difference = 4; difference < 32; difference *= 2)
      both = larger_halves(both, exchange_lanes(both, difference));
    RowPower const power[2] = {RowPower(Kokkos::bit_cast<float>(both << 16)),
                               RowPower(Kokkos::bit_cast<float>(both & high))};
    int const column        = 8 * n + 2 * lane.member;
    KOKKOSATTENTION_UNROLL
    for (int b = 0; b < row_blocks; ++b) {
      KOKKOSATTENTION_UNROLL
      for (int h = 0; h < 2; ++h)
        Arithmetic::put_two(turned + row(b, h) * stride, stride, column, scaled[b][h][0] * power[0].scale(),
                            scaled[b][h][1] * power[1].scale());
    }
    if (lane.quad == 0) {
      powers[column]     = power[0].value() * Arithmetic::product_unit;
      powers[column + 1] = power[1].value() * Arithmetic::product_unit;
    }
  }
}

/// sums = turned^T own: of some columns of the factors, 16 for each block of rows, and some of the own
/// rows.
/// \tparam warps whose factors there are
/// \tparam warp_rows own rows of each
/// \tparam columns of the factors
/// \param powers of the first warp's columns; those of the others come behind
/// \param first_turned_column, first_column of the factors and of the own rows
template <class Arithmetic, int warps, int warp_rows, int own_stride, int stride, int columns, int row_blocks,
          int column_blocks>
KOKKOS_FORCEINLINE_FUNCTION void multiply_turned(typename Arithmetic::Number const* turned, int first_turned_column,
                                                 float const* powers, typename Arithmetic::Number const* own,
                                                 int first_column, MmaLane lane,
                                                 typename Arithmetic::Sum (&sums)[row_blocks][column_blocks]) {
  using Sum           = typename Arithmetic::Sum;
  constexpr int steps = warp_rows / Arithmetic::steps;
  KOKKOSATTENTION_UNROLL
  for (int b = 0; b < row_blocks; ++b) {
    KOKKOSATTENTION_UNROLL
    for (int n = 0; n < column_blocks; ++n) sums[b][n] = {};
  }
  KOKKOSATTENTION_UNROLL
  for (int w = 0; w < warps; ++w) {
    typename Arithmetic::Left left[steps][row_blocks];
    KOKKOSATTENTION_UNROLL
    for (int s = 0; s < steps; ++s) {
      KOKKOSATTENTION_UNROLL
      for (int b = 0; b < row_blocks; ++b)
        left[s][b] = Arithmetic::left_of_columns(turned + (w * warp_rows + s * Arithmetic::steps) * stride, stride,
                                                 first_turned_column + 16 * b, lane);
    }
    KOKKOSATTENTION_UNROLL
    for (int n = 0; n < column_blocks; n += 2) {
      // The small products of a warp before the large ones, all added with rounding, as in add_product.
      Sum of_warp[row_blocks][2] = {};
      typename Arithmetic::RightOfRows right[steps];
      KOKKOSATTENTION_UNROLL
      for (int s = 0; s < steps; ++s) {
        right[s] = Arithmetic::right_of_rows(own + (w * warp_rows + s * Arithmetic::steps) * own_stride, own_stride,
                                             first_column + 8 * n, lane);
        multiply_add_blocks<Arithmetic>(of_warp, 0, left[s], right[s], SmallProducts());
      }
      KOKKOSATTENTION_UNROLL
      for (int s = 0; s < steps; ++s) multiply_add_blocks<Arithmetic>(of_warp, 0, left[s], right[s], LargeProducts());
      for_each_element<row_blocks, 2>([&](int b, int c, int h, int e) {
        float const power = powers[w * columns + first_turned_column + 16 * b + 8 * h + lane.quad];
        float& sum        = sums[b][n + c].value[2 * h + e];
        sum               = Kokkos::fma(of_warp[b][c].value[2 * h + e], power, sum);
      });
    }
  }
}

}  // namespace KokkosAttention::Impl

#endif
