// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMAARITHMETIC_HPP
#define KOKKOSATTENTION_MMAARITHMETIC_HPP

#include <KokkosAttention_Loops.hpp>
#include <KokkosAttention_MmaExponential.hpp>
#include <KokkosAttention_MmaInstructions.hpp>
#include <KokkosAttention_MmaLane.hpp>
#include <KokkosAttention_RoundUp.hpp>
#include <KokkosAttention_Types.hpp>

#include <Kokkos_Core.hpp>

#include <type_traits>

/// \file
/// Matrix products of a warp: what a lane holds of the operands, how it gets there from team scratch, and the product.
/// Everything above sees blocks of 16 rows, 8 columns, and some steps of the inner products.
///
/// Instructions give element (row, column) of a sum, or (row, step) and (step, column) of the factors, to fixed lanes
/// (PTX ISA, "Matrix fragments for mma"). A lane holds the elements of a sum in the places in which it then is the
/// left factor of the next product. Steps may be taken in any order, as long as both factors take them in the same
/// one.
///
/// MmaArithmetic of a type has
///
///     Sum                              value[2 h + e]: row quad + 8 h, column 2 member + e
///     Left, steps                      the left factor of 16 rows and that many steps
///     RightOfColumns, RightOfRows      right factors for two blocks of columns
///     multiply_add(sum, l, r, c, products)
///                                      with the right factor of block c of the two; of pieces, these products
///     stride(columns)                  from one row in scratch to the next, in numbers
///     Number, Stored, pieces           own rows in scratch are Numbers, rows of the other side Stored, in that many
///                                      pieces of which the sum is the number
///     own_stride(columns)              from one own row to the next
///     left(rows, stride, block, lane)  16 own rows in scratch as the left factor of a block of steps
///     left(sums)                       neighbouring blocks of sums, as many as it has steps, as the left factor
///     right_of_columns(rows, stride, plane, block, lane, products)
///                                      16 rows of scratch as columns; a plane is as far as from one piece to the next
///     right_of_rows(rows, stride, plane, column, lane)
///                                      rows of scratch as the steps of left(sums), and 16 columns from a column on
///     column(n, e, lane)               the column of element e of block n of sums that right_of_rows gives
///     Exponential                      of weights
///     packs_own_rows                   own rows lie as lanes take them, number (row, column) of 16 at packed_place

namespace KokkosAttention::Impl {

/// Which products of pieces are added: all but that of the first pieces, or that one.
struct SmallProducts {};
struct LargeProducts {};

template <Scalar ScalarType>
struct MmaArithmetic;

/// float64, by DMMA.
template <>
struct MmaArithmetic<double> {
  using Number      = double;
  using Stored      = double;
  using Exponential = WarpExponential;

  static constexpr int steps = 8, pieces = 1;
  static constexpr bool packs_own_rows = true;

  struct Left {
    double value[4];  // [2 * i + h]: row quad + 8 h, the lane's step i
  };
  struct Sum {
    double value[4];
  };
  struct RightOfColumns {
    double value[2][2];  // [c][i]
  };
  struct RightOfRows {
    double value[2][2];  // [i][c]
  };

  /// Lanes that load at once hit all banks.
  KOKKOS_INLINE_FUNCTION static constexpr int stride(int columns) { return round_up(columns, 16) + 2; }
  KOKKOS_INLINE_FUNCTION static constexpr int own_stride(int columns) { return columns; }

  // Steps of a product with right_of_columns: of 16 columns, a lane takes 4 * member + {0, 1} first, then {2, 3}.

  KOKKOS_FORCEINLINE_FUNCTION static int packed_place(int row, int column) {
    int const block = column / 16 * 2 + column / 2 % 2, lane = 4 * (row % 8) + column % 16 / 4;
    return 128 * block + 64 * (column % 2) + 2 * lane + row / 8;
  }
  KOKKOS_FORCEINLINE_FUNCTION static Left left(double const* rows, int, int block, MmaLane lane) {
    double const* const from = rows + 128 * block + 2 * lane.number();
    Pair const x = pair(from), y = pair(from + 64);
    return {{x.value[0], x.value[1], y.value[0], y.value[1]}};
  }
  KOKKOS_FORCEINLINE_FUNCTION static RightOfColumns right_of_columns(double const* rows, int stride, int, int block,
                                                                     MmaLane lane, auto) {
    double const* const from = rows + lane.quad * stride + block / 2 * 16 + 4 * lane.member + block % 2 * 2;
    Pair const x = pair(from), y = pair(from + 8 * stride);
    return {{{x.value[0], x.value[1]}, {y.value[0], y.value[1]}}};
  }

  /// The columns of a sum are the steps, 2 * member + i the lane's.
  KOKKOS_FORCEINLINE_FUNCTION static Left left(Sum const* sums) {
    return {{sums->value[0], sums->value[2], sums->value[1], sums->value[3]}};
  }
  KOKKOS_FORCEINLINE_FUNCTION static RightOfRows right_of_rows(double const* rows, int stride, int, int column,
                                                               MmaLane lane) {
    double const* const from = rows + 2 * lane.member * stride + column + 2 * lane.quad;
    Pair const x = pair(from), y = pair(from + stride);
    return {{{x.value[0], x.value[1]}, {y.value[0], y.value[1]}}};
  }
  KOKKOS_FORCEINLINE_FUNCTION static int column(int n, int e, MmaLane lane) {
    return 16 * (n / 2) + 4 * lane.member + 2 * e + n % 2;
  }

  KOKKOS_FORCEINLINE_FUNCTION static void multiply_add(Sum& sum, Left const& a, RightOfColumns const& b, int c, auto) {
    multiply_add_m16n8k8(sum.value, a.value, b.value[c]);
  }
  /// Numbers lie as they were loaded, so that none is moved: an instruction takes those of one step.
  KOKKOS_FORCEINLINE_FUNCTION static void multiply_add(Sum& sum, Left const& a, RightOfRows const& b, int c, auto) {
    multiply_add_m16n8k4(sum.value, a.value[0], a.value[1], b.value[0][c]);
    multiply_add_m16n8k4(sum.value, a.value[2], a.value[3], b.value[1][c]);
  }

 private:
  struct alignas(16) Pair {
    double value[2];
  };
  KOKKOS_FORCEINLINE_FUNCTION static Pair pair(double const* from) { return *reinterpret_cast<Pair const*>(from); }
};

/// half_t and bhalf_t, summed in float32.
template <Scalar ScalarType>
requires(sizeof(ScalarType) == 2) struct MmaArithmetic<ScalarType> {
  using Number      = ScalarType;
  using Stored      = ScalarType;
  using Exponential = ApproximateExponential;

  static constexpr int steps = 16, pieces = 1;
  static constexpr bool packs_own_rows = false;

  struct Left {
    unsigned value[4];  // [2 * i + h]: row quad + 8 h, steps 2 * member + {0, 1} + 8 i
  };
  struct Sum {
    float value[4];
  };
  struct RightOfColumns {
    unsigned value[4];  // [2 * c + i]
  };
  using RightOfRows = RightOfColumns;

  /// The eight rows of a matrix that is loaded hit all banks.
  KOKKOS_INLINE_FUNCTION static constexpr int stride(int columns) { return round_up(columns, 16) + 8; }
  KOKKOS_INLINE_FUNCTION static constexpr int own_stride(int columns) { return stride(columns); }

  KOKKOS_FORCEINLINE_FUNCTION static Left left(Number const* rows, int stride, int block, MmaLane lane) {
    Left result;
    load_matrices(result.value, matrix_row<0, 1>(rows + 16 * block, stride, lane));
    return result;
  }
  KOKKOS_FORCEINLINE_FUNCTION static RightOfColumns right_of_columns(Number const* rows, int stride, int, int block,
                                                                     MmaLane lane, auto) {
    RightOfColumns result;
    load_matrices(result.value, matrix_row<1, 0>(rows + 16 * block, stride, lane));
    return result;
  }

  KOKKOS_FORCEINLINE_FUNCTION static Left left(Sum const* sums) {
    return {{pack(sums[0], 0), pack(sums[0], 1), pack(sums[1], 0), pack(sums[1], 1)}};
  }
  KOKKOS_FORCEINLINE_FUNCTION static RightOfRows right_of_rows(Number const* rows, int stride, int, int column,
                                                               MmaLane lane) {
    RightOfRows result;
    load_matrices_transposed(result.value, matrix_row<0, 1>(rows + column, stride, lane));
    return result;
  }
  KOKKOS_FORCEINLINE_FUNCTION static int column(int n, int e, MmaLane lane) { return 8 * n + 2 * lane.member + e; }

  KOKKOS_FORCEINLINE_FUNCTION static void multiply_add(Sum& sum, Left const& a, RightOfColumns const& b, int c, auto) {
    multiply_add_m16n8k16<Number>(sum.value, a.value, b.value[2 * c], b.value[2 * c + 1]);
  }

 private:
  /// Where the lane's row of four 8 x 8 matrices is, which lie below each other first or beside each other: the lane's
  /// matrix is 8 rows down if bit `down` of its number is set, and 8 columns across if bit `across` is.
  template <int down, int across>
  KOKKOS_FORCEINLINE_FUNCTION static Number const* matrix_row(Number const* block, int stride, MmaLane lane) {
    int const n = lane.number(), matrix = n / 8;
    return block + (n % 8 + 8 * (matrix >> down & 1)) * stride + 8 * (matrix >> across & 1);
  }
  KOKKOS_FORCEINLINE_FUNCTION static unsigned pack(Sum const& sum, int h) {
    return pack_two<Number>(sum.value[2 * h], sum.value[2 * h + 1]);
  }
};

/// float32 by products of bfloat16: a number is the sum of three pieces, exactly, unless the last one underflows; six
/// of the nine products of two numbers' pieces are added up, the others are below 2^-24 of the whole (Henry, Tang and
/// Heinecke, Leveraging the bfloat16 artificial intelligence datatype for higher-precision computations, ARITH 2019).
/// Numbers that bfloat16 rounds to infinity, from 3.39e38 on, give NaN.
template <Scalar ScalarType>
requires std::is_same_v<ScalarType, float>  // as nvcc 13.0 does not end on full specialisations with unrolled loops
struct MmaArithmetic<ScalarType> {
  using Number      = float;
  using Stored      = bhalf_t;
  using Exponential = AccurateExponential;
  using OfPieces    = MmaArithmetic<Stored>;
  using Sum         = typename OfPieces::Sum;

  static constexpr int steps = 16, pieces = 3;
  static constexpr bool packs_own_rows = false;

  struct Left {
    typename OfPieces::Left piece[pieces];
  };
  struct RightOfColumns {
    typename OfPieces::RightOfColumns piece[pieces];
  };
  using RightOfRows = RightOfColumns;

  KOKKOS_INLINE_FUNCTION static constexpr int stride(int columns) { return OfPieces::stride(columns); }
  /// Lanes that load pairs at once hit all banks.
  KOKKOS_INLINE_FUNCTION static constexpr int own_stride(int columns) { return round_up(columns, 32) + 8; }

  /// The pieces of two numbers.
  struct Pieces {
    unsigned value[pieces];
  };
  KOKKOS_FORCEINLINE_FUNCTION static Pieces split(float low, float high) {
    Pieces result;
    KOKKOSATTENTION_UNROLL
    for (int p = 0; p < pieces; ++p) {
      unsigned const both = pack_two<Stored>(low, high);
      low -= Kokkos::bit_cast<float>(both << 16);
      high -= Kokkos::bit_cast<float>(both & 0xffff0000u);
      result.value[p] = both;
    }
    return result;
  }

  KOKKOS_FORCEINLINE_FUNCTION static Left left(float const* rows, int stride, int block, MmaLane lane) {
    float const* const from = rows + lane.quad * stride + 16 * block + 2 * lane.member;
    Left result;
    KOKKOSATTENTION_UNROLL
    for (int i = 0; i < 2; ++i) {
      KOKKOSATTENTION_UNROLL
      for (int h = 0; h < 2; ++h) {
        Pair const x = *reinterpret_cast<Pair const*>(from + 8 * h * stride + 8 * i);
        set(result, 2 * i + h, split(x.value[0], x.value[1]));
      }
    }
    return result;
  }
  KOKKOS_FORCEINLINE_FUNCTION static Left left(Sum const* sums) {
    Left result;
    KOKKOSATTENTION_UNROLL
    for (int i = 0; i < 2; ++i) {
      KOKKOSATTENTION_UNROLL
      for (int h = 0; h < 2; ++h) set(result, 2 * i + h, split(sums[i].value[2 * h], sums[i].value[2 * h + 1]));
    }
    return result;
  }

  template <class Products>
  KOKKOS_FORCEINLINE_FUNCTION static RightOfColumns right_of_columns(Stored const* rows, int stride, int plane,
                                                                     int block, MmaLane lane, Products products) {
    RightOfColumns result;
    constexpr int count = std::is_same_v<Products, LargeProducts> ? 1 : pieces;
    KOKKOSATTENTION_UNROLL
    for (int p = 0; p < count; ++p)
      result.piece[p] = OfPieces::right_of_columns(rows + p * plane, stride, 0, block, lane, products);
    return result;
  }
  KOKKOS_FORCEINLINE_FUNCTION static RightOfRows right_of_rows(Stored const* rows, int stride, int plane, int column,
                                                               MmaLane lane) {
    RightOfRows result;
    KOKKOSATTENTION_UNROLL
    for (int p = 0; p < pieces; ++p)
      result.piece[p] = OfPieces::right_of_rows(rows + p * plane, stride, 0, column, lane);
    return result;
  }
  KOKKOS_FORCEINLINE_FUNCTION static int column(int n, int e, MmaLane lane) { return OfPieces::column(n, e, lane); }

  template <class Products>
  KOKKOS_FORCEINLINE_FUNCTION static void multiply_add(Sum& sum, Left const& a, RightOfColumns const& b, int c,
                                                       Products products) {
    auto const add = [&](int of_a, int of_b) {
      OfPieces::multiply_add(sum, a.piece[of_a], b.piece[of_b], c, products);
    };
    if constexpr (std::is_same_v<Products, LargeProducts>) {
      add(0, 0);
    } else {
      add(0, 2);
      add(2, 0);
      add(1, 1);
      add(0, 1);
      add(1, 0);
    }
  }

 private:
  struct alignas(8) Pair {
    float value[2];
  };
  KOKKOS_FORCEINLINE_FUNCTION static void set(Left& left, int n, Pieces const& pieces_of_two) {
    KOKKOSATTENTION_UNROLL
    for (int p = 0; p < pieces; ++p) left.piece[p].value[n] = pieces_of_two.value[p];
  }
};

}  // namespace KokkosAttention::Impl

#endif
