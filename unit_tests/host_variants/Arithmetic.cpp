// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Arithmetic.hpp"

#include <Kokkos_Core.hpp>

#include <cmath>
#include <cstring>

#include <immintrin.h>

#include <KokkosAttention_HostTarget.hpp>

#include <KokkosAttention_HostOperands.hpp>

/// \file
/// Compiled once for each set of instructions, like the host engine.

namespace Test {
namespace {

namespace Variant = KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT;

template <class T>
void exponential(T const* x, T* y) {
  softmax_exponential(Variant::HostVector<T>::load(x)).store(y);
}

#if defined(KOKKOSATTENTION_HOST_BF16)
void exponential_of_pairs(float factor, float const* score, float const* shift, float* y) {
  using Vector = Variant::HostVector<float>;
  Variant::HostPairs::exponential(factor, Vector::load(score), Vector::load(shift)).store(y);
}
#else
void (*const exponential_of_pairs)(float, float const*, float const*, float*) = nullptr;
#endif

void transpose(float* matrix) {
  constexpr int lanes = Variant::HostVector<float>::lanes;
  Variant::VectorTypes<float>::Numbers rows[lanes];
  std::memcpy(rows, matrix, sizeof(rows));
  Variant::transpose(rows);
  std::memcpy(matrix, rows, sizeof(rows));
}

int product_steps(int rows, int vectors) {
  using Operands          = Variant::HostNumbers<float>;
  using Vector            = Operands::Vector;
  constexpr int most      = 1000;
  static float left[most] = {};
  static Vector right[16] = {}, product[64 * 16];
  auto const strides      = Operands::strides(rows, vectors);
  Variant::HostPrefetch prefetch;
  prefetch.add(KokkosAttention::Impl::MatrixRows<float const>({left, {0, 0, 0, 1}}, 0, 0, 0, most, 1));
  prefetch.divide(most);
  Operands::product(rows, vectors, 1, {left, 1, 1}, {right, strides}, Variant::HostStore<float>{product, strides},
                    prefetch);
  int left_over = 0;
  for (; prefetch.active(); ++left_over) prefetch.step();
  return most - left_over;
}

}  // namespace

HostArithmetic const KOKKOSATTENTION_HOST_VARIANT{Variant::HostVector<float>::lanes,
                                                  Variant::HostVector<double>::lanes,
                                                  &exponential<float>,
                                                  &exponential<double>,
                                                  exponential_of_pairs,
                                                  &transpose,
                                                  &Variant::HostNumbers<float>::blocks,
                                                  &product_steps};

}  // namespace Test
