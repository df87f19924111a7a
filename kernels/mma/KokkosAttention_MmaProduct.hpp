// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMAPRODUCT_HPP
#define KOKKOSATTENTION_MMAPRODUCT_HPP

#include <KokkosAttention_MmaArithmetic.hpp>

#include <Kokkos_Core.hpp>

#include <type_traits>

/// \file
/// The two products of a warp: of its own rows with the other side's rows, and of what comes of that with the other
/// side's rows again. Types that numbers are split for (MmaArithmetic::splits) scale rows by powers of two, and add
/// small products apart from large ones: the hardware does not round sums, it cuts them off.

namespace KokkosAttention::Impl {

/// Loads of factors stay before or after it. Where all is unrolled, the compiler moves them ahead as far as it believes
/// that there are registers for them, and then has to spill others.
KOKKOS_FORCEINLINE_FUNCTION void load_fence() { warp_barrier(); }

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

/// What products with rows 8 n + 2 member + e of the other side are to be multiplied by, but for product_unit.
template <class Arithmetic, int stride, int column_blocks>
struct MmaRowPowers {
  float value[column_blocks][2];

  KOKKOS_FORCEINLINE_FUNCTION MmaRowPowers(typename Arithmetic::Number const* other, MmaLane lane) {
    KOKKOSATTENTION_UNROLL
    for (int n = 0; n < column_blocks; ++n) {
      KOKKOSATTENTION_UNROLL
      for (int e = 0; e < 2; ++e)
        value[n][e] = Arithmetic::power(other + (8 * n + 2 * lane.member + e) * stride, stride);
    }
  }
};

/// The first block of steps is added like the others.
struct SameForAllWarps {};

/// result += own rows * other rows^T, or, if numbers are split, result = factor * own rows * other rows^T
/// \tparam columns of the rows
/// \tparam left_ahead left factors are loaded amid the products before theirs, not right before these
/// \param first_block first_block(add) calls add() for the first block of steps: where what sums begin with differs
/// from warp to warp, it branches, sets them, and adds to them
template <class Arithmetic, int columns, int own_stride, int stride, bool left_ahead = false, class T, int row_blocks,
          int column_blocks, class FirstBlock = SameForAllWarps>
KOKKOS_FORCEINLINE_FUNCTION void multiply_rows(typename Arithmetic::Number const* own,
                                               typename Arithmetic::Number const* other, MmaLane lane,
                                               [[maybe_unused]] T factor,
                                               typename Arithmetic::Sum (&result)[row_blocks][column_blocks],
                                               [[maybe_unused]] FirstBlock const& first_block = {}) {
  using Sum = typename Arithmetic::Sum;
  // All small products come before the first large one, in the same sums: large factors are then loaded twice, which
  // costs less than registers for sums of small products do, if rows are not long.
  constexpr bool small_first = Arithmetic::splits && columns <= 64, small_apart = Arithmetic::splits && !small_first;
  [[maybe_unused]] Sum small[row_blocks][column_blocks];
  if constexpr (Arithmetic::splits) {
    KOKKOSATTENTION_UNROLL
    for (int b = 0; b < row_blocks; ++b) {
      KOKKOSATTENTION_UNROLL
      for (int n = 0; n < column_blocks; ++n) {
        result[b][n] = {};
        if constexpr (small_apart) small[b][n] = {};
      }
    }
  }
  static_assert(!left_ahead ||
                (!Arithmetic::splits && column_blocks % 4 == 0 && std::is_same_v<FirstBlock, SameForAllWarps>));
  auto const add = [&](auto factors_of, auto products) {
    constexpr int last_block = columns / Arithmetic::steps - 1;
    typename Arithmetic::Left left[row_blocks];
    [[maybe_unused]] typename Arithmetic::Left next[row_blocks];
    auto const load = [&](typename Arithmetic::Left(&to)[row_blocks], int block) {
      KOKKOSATTENTION_UNROLL
      for (int b = 0; b < row_blocks; ++b)
        to[b] = Arithmetic::left(own + 16 * b * own_stride, own_stride, block, lane, factors_of);
    };
    KOKKOSATTENTION_UNROLL
    for (int block = 0; block <= last_block; ++block) {
      if (!left_ahead || block == 0) load(left, block);
      auto const add_block = [&] {
        KOKKOSATTENTION_UNROLL
        for (int n = 0; n < column_blocks; n += 2) {
          if constexpr (left_ahead) {
            if (n == column_blocks / 2) {
              if (block < last_block) load(next, block + 1);
              load_fence();
            }
          }
          auto const right = Arithmetic::right_of_columns(other + 8 * n * stride, stride, block, lane, factors_of);
          if constexpr (small_apart) multiply_add_blocks<Arithmetic>(small, n, left, right, SmallProducts());
          multiply_add_blocks<Arithmetic>(result, n, left, right, products);
        }
      };
      if constexpr (!std::is_same_v<FirstBlock, SameForAllWarps>) {
        if (block == 0) {
          first_block(add_block);
          continue;
        }
      }
      add_block();
      if constexpr (left_ahead) {
        KOKKOSATTENTION_UNROLL
        for (int b = 0; b < row_blocks; ++b) left[b] = next[b];
      }
    }
  };
  if constexpr (small_apart) {
    add(SmallProducts(), LargeProducts());
  } else {
    if constexpr (small_first) {
      add(SmallProducts(), SmallProducts());
      load_fence();
    }
    add(LargeProducts(), LargeProducts());
  }
  if constexpr (Arithmetic::splits) {
    MmaRowPowers<Arithmetic, stride, column_blocks> const powers(other, lane);
    KOKKOSATTENTION_UNROLL
    for (int b = 0; b < row_blocks; ++b) {
      KOKKOSATTENTION_UNROLL
      for (int h = 0; h < 2; ++h) {
        float const of_row = factor * Arithmetic::power(own + (16 * b + 8 * h + lane.quad) * own_stride, own_stride);
        KOKKOSATTENTION_UNROLL
        for (int n = 0; n < column_blocks; ++n) {
          KOKKOSATTENTION_UNROLL
          for (int e = 0; e < 2; ++e) {
            float& x = result[b][n].value[2 * h + e];
            if constexpr (small_apart) x += small[b][n].value[2 * h + e];
            x *= of_row * (powers.value[n][e] * Arithmetic::product_unit);
          }
        }
      }
    }
  }
}

/// sums += left * rows, of one block of steps
template <class Arithmetic, int stride, int row_blocks, int blocks>
KOKKOS_FORCEINLINE_FUNCTION void add_step(typename Arithmetic::Left const (&left)[row_blocks],
                                          typename Arithmetic::Number const* rows, MmaLane lane,
                                          typename Arithmetic::Sum (&sums)[row_blocks][blocks]) {
  KOKKOSATTENTION_UNROLL
  for (int n = 0; n < blocks; n += 2) {
    auto const right = Arithmetic::right_of_rows(rows, stride, 8 * n, lane);
    multiply_add_blocks<Arithmetic>(sums, n, left, right, LargeProducts());
  }
}

/// sums += factors * other rows
/// \param first_column of the other rows
template <class Arithmetic, int stride, int row_blocks, int column_blocks, int blocks>
KOKKOS_FORCEINLINE_FUNCTION void add_product(typename Arithmetic::Sum const (&factors)[row_blocks][column_blocks],
                                             typename Arithmetic::Number const* other, int first_column, MmaLane lane,
                                             typename Arithmetic::Sum (&sums)[row_blocks][blocks]) {
  using Sum                   = typename Arithmetic::Sum;
  constexpr int blocks_a_step = Arithmetic::steps / 8, steps = column_blocks / blocks_a_step;
  if constexpr (!Arithmetic::splits) {
    auto const* const columns = other + first_column;
    KOKKOSATTENTION_UNROLL
    for (int s = 0; s < steps; ++s) {
      typename Arithmetic::Left left[row_blocks];
      KOKKOSATTENTION_UNROLL
      for (int b = 0; b < row_blocks; ++b) left[b] = Arithmetic::left(factors[b] + s * blocks_a_step);
      add_step<Arithmetic, stride>(left, columns + Arithmetic::steps * s * stride, lane, sums);
    }
  } else {
    // Factors times the powers of the other rows are scaled by a power of a row's own, so that a large row of the other
    // side takes no room from the others unless it has a part in the sum.
    typename Arithmetic::Left left[steps][row_blocks];
    float power[row_blocks][2];
    MmaRowPowers<Arithmetic, stride, column_blocks> const powers(other, lane);
    KOKKOSATTENTION_UNROLL
    for (int b = 0; b < row_blocks; ++b) {
      Sum scaled[column_blocks];
      KOKKOSATTENTION_UNROLL
      for (int h = 0; h < 2; ++h) {
        float largest = 0;
        KOKKOSATTENTION_UNROLL
        for (int n = 0; n < column_blocks; ++n) {
          KOKKOSATTENTION_UNROLL
          for (int e = 0; e < 2; ++e) {
            float const x              = factors[b][n].value[2 * h + e] * powers.value[n][e];
            scaled[n].value[2 * h + e] = x;
            largest                    = Kokkos::fmax(largest, Kokkos::fabs(x));
          }
        }
        KOKKOSATTENTION_UNROLL
        for (int difference = 1; difference < 4; difference *= 2)
          largest = Kokkos::fmax(largest, exchange_lanes(largest, difference));
        RowPower const of_row(largest);
        float const scale = of_row.scale();
        power[b][h]       = of_row.value() * Arithmetic::product_unit;
        KOKKOSATTENTION_UNROLL
        for (int n = 0; n < column_blocks; ++n) {
          KOKKOSATTENTION_UNROLL
          for (int e = 0; e < 2; ++e) scaled[n].value[2 * h + e] *= scale;
        }
      }
      KOKKOSATTENTION_UNROLL
      for (int s = 0; s < steps; ++s) left[s][b] = Arithmetic::left(scaled + s * blocks_a_step);
    }
    // Sums over the tile first, the small products before the large ones, which are then added with rounding: the sums
    // of all tiles would lose a bit in each.
    KOKKOSATTENTION_UNROLL
    for (int n = 0; n < blocks; n += 2) {
      if (row_blocks == 1 && n % 16 == 0) load_fence();
      typename Arithmetic::RightOfRows right[steps];
      Sum of_tile[row_blocks][2] = {};
      KOKKOSATTENTION_UNROLL
      for (int s = 0; s < steps; ++s) {
        right[s] =
            Arithmetic::right_of_rows(other + Arithmetic::steps * s * stride, stride, first_column + 8 * n, lane);
        multiply_add_blocks<Arithmetic>(of_tile, 0, left[s], right[s], SmallProducts());
      }
      KOKKOSATTENTION_UNROLL
      for (int s = 0; s < steps; ++s) multiply_add_blocks<Arithmetic>(of_tile, 0, left[s], right[s], LargeProducts());
      KOKKOSATTENTION_UNROLL
      for (int b = 0; b < row_blocks; ++b) {
        KOKKOSATTENTION_UNROLL
        for (int c = 0; c < 2; ++c) {
          KOKKOSATTENTION_UNROLL
          for (int i = 0; i < 4; ++i) {
            float& sum = sums[b][n + c].value[i];
            sum        = Kokkos::fma(of_tile[b][c].value[i], power[b][i / 2], sum);
          }
        }
      }
    }
  }
}

}  // namespace KokkosAttention::Impl

#endif
