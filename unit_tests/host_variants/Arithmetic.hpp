// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_TEST_ARITHMETIC_HPP
#define KOKKOSATTENTION_TEST_ARITHMETIC_HPP

/// \file
/// Arithmetic of the host engine's variants, each compiled for its instructions.

namespace Test {

struct HostArithmetic {
  int float_lanes, double_lanes;
  /// exp of as many numbers as a vector has lanes.
  void (*exp_float)(float const*, float*);
  void (*exp_double)(double const*, double*);
  /// exp(factor * score - shift), for weights that are rounded to bfloat16; none where there are no such products.
  void (*exp_pairs)(float factor, float const* score, float const* shift, float*);
  /// Of a square matrix of `float_lanes` rows, in place.
  void (*transpose)(float*);
  /// Blocks of a product of so many rows (up to 64) and vectors (up to 16), as the product says and as its steps of a
  /// prefetch show.
  int (*product_blocks)(int rows, int vectors);
  int (*product_steps)(int rows, int vectors);
};

extern HostArithmetic const host_avx2_arithmetic, host_avx512_arithmetic, host_avx512_bf16_arithmetic;

}  // namespace Test

#endif
