// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMAARITHMETIC_HPP
#define KOKKOSATTENTION_MMAARITHMETIC_HPP

#include <KokkosAttention_Types.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// Matrix instructions of a warp: what a lane holds of the operands, how it gets there from team scratch, and the
/// product. Everything above sees blocks of 16 rows, 8 columns and 8 steps of the inner products.
///
/// A lane is one of a quad of four, and of eight quads. Instructions give element (row, column) of a sum, or (row,
/// step) and (step, column) of the factors, to fixed lanes (PTX ISA, "Matrix fragments for mma.m16n8k8 with .f64").
/// But steps may be taken in any order, as long as both factors take them in the same one: a lane reads neighbouring
/// numbers from scratch at once, and holds a sum in the places in which it then is the left factor of the next product.

namespace KokkosAttention::Impl {

/// Where a lane is in its warp.
struct MmaLane {
  int quad;    // 0 ... 7
  int member;  // 0 ... 3, of the quad

  KOKKOS_FORCEINLINE_FUNCTION int number() const { return 4 * quad + member; }

  KOKKOS_FORCEINLINE_FUNCTION static MmaLane here() {
#if defined(__CUDA_ARCH__)
    // Teams have a vector length of 32: a team's thread is a warp.
    int const lane = static_cast<int>(threadIdx.x);
#else
    int const lane = 0;
#endif
    return {lane / 4, lane % 4};
  }
};

/// The number that the lane of the quad that differs in the bits of `difference` holds.
template <class T>
KOKKOS_FORCEINLINE_FUNCTION T quad_exchange(T value, [[maybe_unused]] int difference) {
#if defined(__CUDA_ARCH__)
  return __shfl_xor_sync(0xffffffffu, value, difference);
#else
  return value;
#endif
}

/// Whether any of the warp's lanes says so.
KOKKOS_FORCEINLINE_FUNCTION bool any_lane(bool flag) {
#if defined(__CUDA_ARCH__)
  return __any_sync(0xffffffffu, flag);
#else
  return flag;
#endif
}

template <Scalar ScalarType>
struct MmaArithmetic;

/// float64, by DMMA.
template <>
struct MmaArithmetic<double> {
  using Number = double;

  static constexpr int rows = 16, columns = 8, steps = 8;
  /// A row stride in scratch is a multiple of 16 numbers and this: then the lanes that load at once hit all banks.
  static constexpr int row_padding = 2;

  struct Left {
    double value[4];  // [2 * i + h]: row quad + 8 h, the lane's step i
  };
  struct Right {
    double value[2];  // [i]
  };
  struct Sum {
    double value[4];  // [2 * h + e]: row quad + 8 h, column 2 * member + e
  };
  /// The right factors for the even and for the odd ones of 16 columns.
  struct RightPair {
    double value[2][2];  // [i][c]
  };

  struct alignas(16) Pair {
    double value[2];
  };
  KOKKOS_FORCEINLINE_FUNCTION static Pair pair(double const* from) { return *reinterpret_cast<Pair const*>(from); }

  // Steps of a product with right_from_columns: of 16 columns, a lane takes 4 * member + {0, 1} first, then {2, 3}.

  /// Left factors are packed in scratch as lanes take them: this is the place of a number of a block of 16 rows.
  KOKKOS_FORCEINLINE_FUNCTION static int packed_place(int row, int column) {
    int const block = column / 16 * 2 + column / 2 % 2, lane = 4 * (row % 8) + column % 16 / 4;
    return 128 * block + 64 * (column % 2) + 2 * lane + row / 8;
  }
  /// \param scratch packed block of 16 rows
  /// \param block of 8 steps
  KOKKOS_FORCEINLINE_FUNCTION static Left left(double const* scratch, int block, MmaLane lane) {
    double const* const from = scratch + 128 * block + 2 * lane.number();
    Pair const x = pair(from), y = pair(from + 64);
    return {{x.value[0], x.value[1], y.value[0], y.value[1]}};
  }
  /// Rows of scratch as columns of the right factor.
  KOKKOS_FORCEINLINE_FUNCTION static Right right_from_columns(double const* scratch, int stride, int block,
                                                              MmaLane lane) {
    Pair const x = pair(scratch + lane.quad * stride + block / 2 * 16 + 4 * lane.member + block % 2 * 2);
    return {{x.value[0], x.value[1]}};
  }

  /// A sum as the left factor of the next product: its columns are the steps, 2 * member + i the lane's.
  KOKKOS_FORCEINLINE_FUNCTION static Left left(Sum const& sum) {
    return {{sum.value[0], sum.value[2], sum.value[1], sum.value[3]}};
  }

  /// Rows of scratch as steps, in the order of `left(Sum)`.
  KOKKOS_FORCEINLINE_FUNCTION static RightPair right_from_rows(double const* scratch, int stride, int column,
                                                               MmaLane lane) {
    double const* const from = scratch + 2 * lane.member * stride + column + 2 * lane.quad;
    Pair const x = pair(from), y = pair(from + stride);
    return {{{x.value[0], x.value[1]}, {y.value[0], y.value[1]}}};
  }

  /// The column, of the 16, of element e of sum c of the two that a RightPair gives.
  KOKKOS_FORCEINLINE_FUNCTION static int column(int c, int e, MmaLane lane) { return 4 * lane.member + 2 * e + c; }

  KOKKOS_FORCEINLINE_FUNCTION static void multiply_add([[maybe_unused]] Sum& sum, [[maybe_unused]] Left const& a,
                                                       [[maybe_unused]] Right const& b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm("mma.sync.aligned.m16n8k8.row.col.f64.f64.f64.f64 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+d"(sum.value[0]), "+d"(sum.value[1]), "+d"(sum.value[2]), "+d"(sum.value[3])
        : "d"(a.value[0]), "d"(a.value[1]), "d"(a.value[2]), "d"(a.value[3]), "d"(b.value[0]), "d"(b.value[1]));
#else
    multiply_add_step(sum, a.value[0], a.value[1], b.value[0]);
    multiply_add_step(sum, a.value[2], a.value[3], b.value[1]);
#endif
  }

  /// \param c which of the pair; its numbers lie as they were loaded, so that none is moved: an instruction takes those
  /// of one step
  KOKKOS_FORCEINLINE_FUNCTION static void multiply_add(Sum& sum, Left const& a, RightPair const& b, int c) {
    multiply_add_step(sum, a.value[0], a.value[1], b.value[0][c]);
    multiply_add_step(sum, a.value[2], a.value[3], b.value[1][c]);
  }

 private:
  KOKKOS_FORCEINLINE_FUNCTION static void multiply_add_step([[maybe_unused]] Sum& sum, [[maybe_unused]] double upper,
                                                            [[maybe_unused]] double lower, [[maybe_unused]] double b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm("mma.sync.aligned.m16n8k4.row.col.f64.f64.f64.f64 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+d"(sum.value[0]), "+d"(sum.value[1]), "+d"(sum.value[2]), "+d"(sum.value[3])
        : "d"(upper), "d"(lower), "d"(b));
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
        : "+d"(sum.value[0]), "+d"(sum.value[1])
        : "d"(upper), "d"(b));
    asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
        : "+d"(sum.value[2]), "+d"(sum.value[3])
        : "d"(lower), "d"(b));
#endif
  }
};

}  // namespace KokkosAttention::Impl

#endif
