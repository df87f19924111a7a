// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMAARITHMETIC_HPP
#define KOKKOSATTENTION_MMAARITHMETIC_HPP

#include <KokkosAttention_Loops.hpp>
#include <KokkosAttention_MmaExponential.hpp>
#include <KokkosAttention_MmaInstructions.hpp>
#include <KokkosAttention_MmaLane.hpp>
#include <KokkosAttention_MmaSwap.hpp>
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
///     Number                           that rows in scratch consist of
///     own_stride(columns), stride(columns)
///                                      from one row in scratch to the next, of own rows and of the other side's
///     left(rows, stride, block, lane)  16 own rows in scratch as the left factor of a block of steps
///     left(sums)                       neighbouring blocks of sums, as many as it has steps, as the left factor
///     right_of_columns(rows, stride, block, lane)
///                                      16 rows of scratch as columns
///     right_of_rows(rows, stride, column, lane)
///                                      rows of scratch as the steps of left(sums), and 16 columns from a column on
///     column(n, e, lane)               the column of element e of block n of sums that right_of_rows gives
///     Exponential                      of weights
///     packs_own_rows                   own rows lie as lanes take them, number (row, column) of 16 at packed_place
///     splits                           rows are split into pieces, in their place in scratch
///     scales_own_rows                  own rows are then multiplied by the scale's power of two, scores by the rest of
///     it
///
/// and, if it splits,
///
///     put(row, stride, column, scaled) four numbers' pieces, where a row in scratch had its numbers from a column on
///     put_two(row, stride, column, low, high)
///                                      the same of two numbers
///     left_of_columns(rows, stride, column, lane)
///                                      rows of scratch as steps, 16 columns from a column on as the left factor's rows
///     put_power(row, stride, power)    what they were divided by
///     power(row, stride)               what products with a row in scratch are to be multiplied by,
///     product_unit                     besides this
///
/// and, if warps that share keys put weights and gradients down for each other (MmaLateTurnsEngine),
///
///     put_left(left, rows, stride, block, lane)
///                                      16 rows of scratch of which a block of steps is a left factor
///     left_of_columns                  as above
///     multiply(sums, left)             multiplies the blocks of sums of left(sums) by such a left factor's numbers
///
/// and, if pairs of warps exchange products (MmaPairEngine),
///
///     turned_numbers                   of a block of sums that is put down to be turned
///     put_turned(sums, to, lane)       puts a block of sums down, 16 rows and 8 columns
///     get_turned(from, lane)           the lane's part of it
///     left_of_turned(from, block, lane)
///                                      two blocks that lie behind each other, of neighbouring columns, as the left
///                                      factor of a block of steps: its rows are their columns, turned_row(h, lane)
///                                      that of element h, its steps their rows
///     right_of_own_rows(rows, columns, block, column, lane)
///                                      own rows as a block of such steps, and 16 columns from a column on
///     own_column(n, e, lane)           the column of element e of block n of sums that right_of_own_rows gives

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
  using Exponential = WarpExponential;

  static constexpr int steps           = 8;
  static constexpr bool packs_own_rows = true, splits = false, scales_own_rows = true;

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

  /// Of every four rows, two have their lanes' numbers in another order, for right_of_own_rows.
  KOKKOS_FORCEINLINE_FUNCTION static int packed_place(int row, int column) {
    int const block = column / 16 * 2 + column / 2 % 2, lane = 4 * (row % 8) + (column % 16 / 4 ^ (row & 2));
    return 128 * block + 64 * (column % 2) + 2 * lane + row / 8;
  }
  KOKKOS_FORCEINLINE_FUNCTION static Left left(double const* rows, int, int block, MmaLane lane, LargeProducts = {}) {
    double const* const from = rows + 128 * block + 2 * (lane.number() ^ (lane.quad & 2));
    Pair const x = pair(from), y = pair(from + 64);
    return {{x.value[0], x.value[1], y.value[0], y.value[1]}};
  }
  KOKKOS_FORCEINLINE_FUNCTION static RightOfColumns right_of_columns(double const* rows, int stride, int block,
                                                                     MmaLane lane, LargeProducts = {}) {
    double const* const from = rows + lane.quad * stride + block / 2 * 16 + 4 * lane.member + block % 2 * 2;
    Pair const x = pair(from), y = pair(from + 8 * stride);
    return {{{x.value[0], x.value[1]}, {y.value[0], y.value[1]}}};
  }

  /// The columns of a sum are the steps, 2 * member + i the lane's.
  KOKKOS_FORCEINLINE_FUNCTION static Left left(Sum const* sums) {
    return {{sums->value[0], sums->value[2], sums->value[1], sums->value[3]}};
  }
  KOKKOS_FORCEINLINE_FUNCTION static RightOfRows right_of_rows(double const* rows, int stride, int column,
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

  // Blocks of sums that are turned: columns 2 n and 2 n + 1 of a row lie side by side. Steps of a product with
  // right_of_own_rows: a lane takes rows member and member + 8 first, then those 4 further on.

  static constexpr int turned_numbers = 128;

  KOKKOS_FORCEINLINE_FUNCTION static void put_turned(Sum const& sum, double* to, MmaLane lane) {
    double* const place = to + turned_place(lane.quad, lane.member);

    *reinterpret_cast<Pair*>(place)      = {{sum.value[0], sum.value[1]}};
    *reinterpret_cast<Pair*>(place + 64) = {{sum.value[2], sum.value[3]}};
  }
  KOKKOS_FORCEINLINE_FUNCTION static Sum get_turned(double const* from, MmaLane lane) {
    double const* const place = from + turned_place(lane.quad, lane.member);
    Pair const x = pair(place), y = pair(place + 64);
    return {{x.value[0], x.value[1], y.value[0], y.value[1]}};
  }
  KOKKOS_FORCEINLINE_FUNCTION static Left left_of_turned(double const* from, int block, MmaLane lane) {
    double const* const place =
        from + turned_numbers * (lane.quad / 4) + 32 * block + turned_place(lane.member, lane.quad % 4);
    Pair const x = pair(place), y = pair(place + 64);
    return {{x.value[0], x.value[1], y.value[0], y.value[1]}};
  }
  KOKKOS_FORCEINLINE_FUNCTION static int turned_row(int h, MmaLane lane) { return 2 * lane.quad + h; }
  KOKKOS_FORCEINLINE_FUNCTION static RightOfColumns right_of_own_rows(double const* rows, int columns, int block,
                                                                      int column, MmaLane lane) {
    double const* const from = rows + block / 2 * 16 * columns + column / 16 * 256 + 128 * (lane.quad / 4) +
                               64 * (lane.quad / 2 % 2) + 2 * (lane.quad % 2) + 8 * (4 * (block % 2) + lane.member);
    int const swap = lane.member & 2;
    Pair const x = pair(from + 2 * swap), y = pair(from + 2 * (2 ^ swap));
    return {{{x.value[0], x.value[1]}, {y.value[0], y.value[1]}}};
  }
  KOKKOS_FORCEINLINE_FUNCTION static int own_column(int n, int e, MmaLane lane) { return 8 * n + 4 * e + lane.member; }

 private:
  /// Of a row's pair of columns. Lanes that put or load at once hit all banks.
  KOKKOS_FORCEINLINE_FUNCTION static int turned_place(int row, int column_pair) {
    return 16 * (row / 2) + 2 * (row % 2) + 4 * (column_pair % 2) + 8 * (column_pair / 2 ^ row / 2 % 2);
  }
  struct alignas(16) Pair {
    double value[2];
  };
  KOKKOS_FORCEINLINE_FUNCTION static Pair pair(double const* from) { return *reinterpret_cast<Pair const*>(from); }
};

/// half_t and bhalf_t, summed in float32.
template <Scalar ScalarType>
requires(sizeof(ScalarType) == 2) struct MmaArithmetic<ScalarType> {
  using Number      = ScalarType;
  using Exponential = ScalingExponential;

  static constexpr int steps           = 16;
  static constexpr bool packs_own_rows = false, splits = false, scales_own_rows = false;

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

  KOKKOS_FORCEINLINE_FUNCTION static Left left(Number const* rows, int stride, int block, MmaLane lane,
                                               LargeProducts = {}) {
    Left result;
    load_matrices(result.value, matrix_row<0, 1>(rows, stride, 16 * block, lane));
    return result;
  }
  KOKKOS_FORCEINLINE_FUNCTION static void put_left(Left const& left, Number* rows, int stride, int block,
                                                   MmaLane lane) {
    store_matrices(left.value, matrix_row<0, 1>(rows, stride, 16 * block, lane));
  }
  KOKKOS_FORCEINLINE_FUNCTION static RightOfColumns right_of_columns(Number const* rows, int stride, int block,
                                                                     MmaLane lane, LargeProducts = {}) {
    RightOfColumns result;
    load_matrices(result.value, matrix_row<1, 0>(rows, stride, 16 * block, lane));
    return result;
  }

  KOKKOS_FORCEINLINE_FUNCTION static Left left(Sum const* sums) {
    return {{pack(sums[0], 0), pack(sums[0], 1), pack(sums[1], 0), pack(sums[1], 1)}};
  }
  KOKKOS_FORCEINLINE_FUNCTION static void multiply(Sum* sums, Left const& factors) {
    KOKKOSATTENTION_UNROLL
    for (int i = 0; i < 4; ++i) {
      float low, high;
      unpack_two<Number>(factors.value[i], low, high);
      sums[i / 2].value[2 * (i % 2)] *= low;
      sums[i / 2].value[2 * (i % 2) + 1] *= high;
    }
  }
  KOKKOS_FORCEINLINE_FUNCTION static RightOfRows right_of_rows(Number const* rows, int stride, int column,
                                                               MmaLane lane) {
    RightOfRows result;
    load_matrices_transposed(result.value, matrix_row<0, 1>(rows, stride, column, lane));
    return result;
  }
  KOKKOS_FORCEINLINE_FUNCTION static int column(int n, int e, MmaLane lane) { return 8 * n + 2 * lane.member + e; }

  KOKKOS_FORCEINLINE_FUNCTION static Left left_of_columns(Number const* rows, int stride, int column, MmaLane lane) {
    Left result;
    load_matrices_transposed(result.value, matrix_row<1, 0>(rows, stride, column, lane));
    return result;
  }

  KOKKOS_FORCEINLINE_FUNCTION static void multiply_add(Sum& sum, Left const& a, RightOfColumns const& b, int c, auto) {
    multiply_add_m16n8k16<Number>(sum.value, a.value, b.value[2 * c], b.value[2 * c + 1]);
  }

 private:
  /// Where the lane's row of four 8 x 8 matrices is, which begin at a column and lie below each other first or beside
  /// each other: the lane's matrix is 8 rows down if bit `down` of its number is set, and 8 columns across if bit
  /// `across` is.
  /// \param column a multiple of 16
  template <int down, int across>
  KOKKOS_FORCEINLINE_FUNCTION static auto* matrix_row(auto* rows, int stride, int column, MmaLane lane) {
    int const n = lane.number(), matrix = n / 8, columns = 8 * (matrix >> across & 1);
    auto* const row = rows + (n % 8 + 8 * (matrix >> down & 1)) * stride;
    if (!swaps_columns<Number>(stride)) return row + column + columns;
    return row + column / 64 * 64 + (column % 64 ^ columns ^ swapped_columns<Number>(n % 8, stride));
  }
  KOKKOS_FORCEINLINE_FUNCTION static unsigned pack(Sum const& sum, int h) {
    return pack_two<Number>(sum.value[2 * h], sum.value[2 * h + 1]);
  }
};

/// The power of two by which a row of numbers is divided before they are split: the largest one, if it is no smaller
/// than 2^-112, is then at least 1 and below 2. So it is chosen such that it and its inverse are no subnormal numbers.
class RowPower {
  static constexpr unsigned exponent = 1u << 23, bias = 127;

  unsigned m_bits;  // of the power

 public:
  /// \param largest magnitude of the row's finite numbers
  KOKKOS_FORCEINLINE_FUNCTION explicit RowPower(float largest)
      : m_bits(Kokkos::max(Kokkos::bit_cast<unsigned>(largest) & 255 * exponent, (bias - 112) * exponent)) {}

  KOKKOS_FORCEINLINE_FUNCTION float value() const { return Kokkos::bit_cast<float>(m_bits); }
  /// Takes numbers to magnitudes below 2^15, which has room in half_t, from 2^14 on if they are the row's largest.
  KOKKOS_FORCEINLINE_FUNCTION float scale() const {
    return Kokkos::bit_cast<float>((2 * bias + 14) * exponent - m_bits);
  }
};

/// float32 by products of half_t: a number of a row that is scaled by a power of two is the sum of two pieces, within
/// 2^-23 of the number, or within 2^-39 of the row's largest one, where that is more; three of the four products of two
/// numbers' pieces are added up, the other is below 2^-22 of the whole (Markidis et al., NVIDIA tensor core
/// programmability, performance and precision, IPDPSW 2018; Ootomo and Yokota, Recovering single precision accuracy
/// from tensor cores while surpassing the FP32 theoretical peak performance, IJHPCA 2022). Infinities give NaN.
///
/// In scratch the pieces of a row take the place of its numbers: the first ones, the second ones, and what the row was
/// divided by. Steps, rows of 16 bits and so on are those of half_t.
template <Scalar ScalarType>
requires std::is_same_v<ScalarType, float>  // as nvcc 13.0 does not end on full specialisations with unrolled loops
struct MmaArithmetic<ScalarType> {
  using Number      = float;
  using Exponential = ApproximateExponential;
  using Piece       = half_t;
  using OfPieces    = MmaArithmetic<Piece>;
  using Sum         = typename OfPieces::Sum;

  static constexpr int steps           = 16;
  static constexpr bool packs_own_rows = false, splits = true, scales_own_rows = false;

  /// Of a factor.
  template <class Products>
  static constexpr int used_pieces = std::is_same_v<Products, LargeProducts> ? 1 : 2;

  struct Left {
    typename OfPieces::Left piece[2];
  };
  struct RightOfColumns {
    typename OfPieces::RightOfColumns piece[2];
  };
  using RightOfRows = RightOfColumns;

  /// The eight rows of a matrix of pieces that is loaded hit all banks.
  KOKKOS_INLINE_FUNCTION static constexpr int stride(int columns) { return round_up(columns, 16) + 4; }
  KOKKOS_INLINE_FUNCTION static constexpr int own_stride(int columns) { return stride(columns); }

  /// Of both sides' scales.
  static constexpr float product_unit = 0x1p-28f;

  KOKKOS_FORCEINLINE_FUNCTION static float power(float const* row, int stride) { return row[stride - 4]; }
  KOKKOS_FORCEINLINE_FUNCTION static void put_power(float* row, int stride, RowPower const& power) {
    row[stride - 4] = power.value();
  }
  KOKKOS_FORCEINLINE_FUNCTION static void put(float* row, int stride, int column, float const (&scaled)[4]) {
    Pieces const low = split(scaled[0], scaled[1]), high = split(scaled[2], scaled[3]);
    KOKKOSATTENTION_UNROLL
    for (int p = 0; p < 2; ++p)
      *reinterpret_cast<TwoPairs*>(pieces(row, stride, p) + column) = {{low.value[p], high.value[p]}};
  }

  template <class Products = SmallProducts>
  KOKKOS_FORCEINLINE_FUNCTION static Left left(float const* rows, int stride, int block, MmaLane lane, Products = {}) {
    Left result;
    KOKKOSATTENTION_UNROLL
    for (int p = 0; p < used_pieces<Products>; ++p)
      result.piece[p] = OfPieces::left(pieces(rows, stride, p), 2 * stride, block, lane);
    return result;
  }
  template <class Products = SmallProducts>
  KOKKOS_FORCEINLINE_FUNCTION static RightOfColumns right_of_columns(float const* rows, int stride, int block,
                                                                     MmaLane lane, Products = {}) {
    RightOfColumns result;
    KOKKOSATTENTION_UNROLL
    for (int p = 0; p < used_pieces<Products>; ++p)
      result.piece[p] = OfPieces::right_of_columns(pieces(rows, stride, p), 2 * stride, block, lane);
    return result;
  }

  /// \param sums scaled
  KOKKOS_FORCEINLINE_FUNCTION static Left left(Sum const* sums) {
    Left result;
    KOKKOSATTENTION_UNROLL
    for (int i = 0; i < 2; ++i) {
      KOKKOSATTENTION_UNROLL
      for (int h = 0; h < 2; ++h) {
        Pieces const both = split(sums[i].value[2 * h], sums[i].value[2 * h + 1]);
        KOKKOSATTENTION_UNROLL
        for (int p = 0; p < 2; ++p) result.piece[p].value[2 * i + h] = both.value[p];
      }
    }
    return result;
  }
  KOKKOS_FORCEINLINE_FUNCTION static RightOfRows right_of_rows(float const* rows, int stride, int column,
                                                               MmaLane lane) {
    RightOfRows result;
    KOKKOSATTENTION_UNROLL
    for (int p = 0; p < 2; ++p)
      result.piece[p] = OfPieces::right_of_rows(pieces(rows, stride, p), 2 * stride, column, lane);
    return result;
  }
  KOKKOS_FORCEINLINE_FUNCTION static int column(int n, int e, MmaLane lane) { return OfPieces::column(n, e, lane); }

  KOKKOS_FORCEINLINE_FUNCTION static Left left_of_columns(float const* rows, int stride, int column, MmaLane lane) {
    Left result;
    KOKKOSATTENTION_UNROLL
    for (int p = 0; p < 2; ++p)
      result.piece[p] = OfPieces::left_of_columns(pieces(rows, stride, p), 2 * stride, column, lane);
    return result;
  }
  KOKKOS_FORCEINLINE_FUNCTION static void put_two(float* row, int stride, int column, float low, float high) {
    Pieces const both = split(low, high);
    KOKKOSATTENTION_UNROLL
    for (int p = 0; p < 2; ++p) *reinterpret_cast<unsigned*>(pieces(row, stride, p) + column) = both.value[p];
  }

  template <class Products>
  KOKKOS_FORCEINLINE_FUNCTION static void multiply_add(Sum& sum, Left const& a, RightOfColumns const& b, int c,
                                                       Products products) {
    auto const add = [&](int of_a, int of_b) {
      OfPieces::multiply_add(sum, a.piece[of_a], b.piece[of_b], c, products);
    };
    if constexpr (std::is_same_v<Products, LargeProducts>) {
      add(0, 0);
    } else {
      add(0, 1);
      add(1, 0);
    }
  }

 private:
  struct alignas(8) TwoPairs {
    unsigned value[2];
  };
  /// Of two numbers.
  struct Pieces {
    unsigned value[2];
  };
  KOKKOS_FORCEINLINE_FUNCTION static Pieces split(float low, float high) {
    unsigned const first = pack_two<Piece>(low, high);
    float first_low, first_high;
    unpack_two<Piece>(first, first_low, first_high);
    return {{first, pack_two<Piece>(low - first_low, high - first_high)}};
  }

  /// The first or second pieces of rows.
  KOKKOS_FORCEINLINE_FUNCTION static Piece const* pieces(float const* rows, int stride, int p) {
    return reinterpret_cast<Piece const*>(rows) + p * (stride - 4);
  }
  KOKKOS_FORCEINLINE_FUNCTION static Piece* pieces(float* rows, int stride, int p) {
    return reinterpret_cast<Piece*>(rows) + p * (stride - 4);
  }
};

}  // namespace KokkosAttention::Impl

#endif
