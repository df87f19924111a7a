// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTVECTOR_HPP
#define KOKKOSATTENTION_HOSTVECTOR_HPP

#include <KokkosAttention_Exponential.hpp>
#include <KokkosAttention_HostVariant.hpp>
#include <KokkosAttention_Loops.hpp>

#include <Kokkos_Core.hpp>

#include <cstdint>
#include <cstring>

#if KOKKOSATTENTION_HOST_VECTOR_BYTES == 64
#include <immintrin.h>
#endif

/// \file
/// Vectors of the instruction set that this translation unit is compiled for, as the compilers' vector types: Kokkos
/// SIMD has those of the processor that Kokkos was configured for, and the host engine needs several in one library.

namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT {

template <class T>
struct VectorTypes;

template <>
struct VectorTypes<float> {
  typedef float Numbers __attribute__((vector_size(KOKKOSATTENTION_HOST_VECTOR_BYTES)));
  typedef std::int32_t Integers __attribute__((vector_size(KOKKOSATTENTION_HOST_VECTOR_BYTES)));
};

template <>
struct VectorTypes<double> {
  typedef double Numbers __attribute__((vector_size(KOKKOSATTENTION_HOST_VECTOR_BYTES)));
  typedef std::int64_t Integers __attribute__((vector_size(KOKKOSATTENTION_HOST_VECTOR_BYTES)));
};

/// As many numbers as fill a register.
template <class T>
class HostVector {
  using Numbers = typename VectorTypes<T>::Numbers;
  Numbers m_numbers;

 public:
  static constexpr int lanes = KOKKOSATTENTION_HOST_VECTOR_BYTES / int(sizeof(T));

  HostVector() = default;
  KOKKOS_FORCEINLINE_FUNCTION HostVector(Numbers numbers) : m_numbers(numbers) {}
  /// The same number in every lane.
  KOKKOS_FORCEINLINE_FUNCTION explicit HostVector(T number) : m_numbers(Numbers{} + number) {}

  KOKKOS_FORCEINLINE_FUNCTION Numbers numbers() const { return m_numbers; }

  KOKKOS_FORCEINLINE_FUNCTION static HostVector load(T const* from) {
    Numbers numbers;
    std::memcpy(&numbers, from, sizeof(numbers));
    return numbers;
  }
  KOKKOS_FORCEINLINE_FUNCTION void store(T* to) const { std::memcpy(to, &m_numbers, sizeof(m_numbers)); }

  KOKKOS_FORCEINLINE_FUNCTION friend HostVector operator+(HostVector a, HostVector b) {
    return a.m_numbers + b.m_numbers;
  }
  KOKKOS_FORCEINLINE_FUNCTION friend HostVector operator-(HostVector a, HostVector b) {
    return a.m_numbers - b.m_numbers;
  }
  KOKKOS_FORCEINLINE_FUNCTION friend HostVector operator*(HostVector a, HostVector b) {
    return a.m_numbers * b.m_numbers;
  }
  KOKKOS_FORCEINLINE_FUNCTION friend HostVector operator-(HostVector a, T b) { return a.m_numbers - b; }
  KOKKOS_FORCEINLINE_FUNCTION friend HostVector operator*(T a, HostVector b) { return a * b.m_numbers; }
  KOKKOS_FORCEINLINE_FUNCTION HostVector& operator+=(HostVector other) {
    m_numbers += other.m_numbers;
    return *this;
  }
  KOKKOS_FORCEINLINE_FUNCTION HostVector& operator-=(HostVector other) {
    m_numbers -= other.m_numbers;
    return *this;
  }
  KOKKOS_FORCEINLINE_FUNCTION HostVector& operator-=(T other) {
    m_numbers -= other;
    return *this;
  }
  KOKKOS_FORCEINLINE_FUNCTION HostVector& operator*=(HostVector other) {
    m_numbers *= other.m_numbers;
    return *this;
  }

  KOKKOS_FORCEINLINE_FUNCTION friend HostVector larger(HostVector a, HostVector b) {
    return a.m_numbers < b.m_numbers ? b.m_numbers : a.m_numbers;
  }
  /// A maximum stays until weights would be above 16, so that sums are seldom brought to another one.
  KOKKOS_FORCEINLINE_FUNCTION friend HostVector next_maximum(HostVector old, HostVector of_tile) {
    constexpr T log_16 = 2.772588722239781;
    return of_tile.m_numbers > old.m_numbers + log_16 ? of_tile.m_numbers : old.m_numbers;
  }
  KOKKOS_FORCEINLINE_FUNCTION friend HostVector softmax_shift(HostVector maximum) {
    return maximum.m_numbers == -Kokkos::Experimental::infinity_v<T> ? Numbers{} : maximum.m_numbers;
  }

  /// As SoftmaxState's, of sums.
  KOKKOS_FORCEINLINE_FUNCTION friend HostVector normalisation(HostVector sum) {
    return sum.m_numbers == T(0) ? Numbers{} : T(1) / sum.m_numbers;
  }

  /// exp(x) for x <= 0 in every lane, as branch_free_exponential and with its error.
  KOKKOS_FORCEINLINE_FUNCTION friend HostVector softmax_exponential(HostVector argument) {
    using C         = ExponentialConstants<T>;
    Numbers const x = argument.m_numbers;
#if KOKKOSATTENTION_HOST_VECTOR_BYTES == 64
    Numbers const n = rounded(x * C::inverse_ln2);
#else
    Numbers const shifted = x * C::inverse_ln2 + C::rounding_offset;
    Numbers const n       = shifted - C::rounding_offset;
#endif
    Numbers const r    = (x - n * C::ln2_high) - n * C::ln2_low;
    Numbers polynomial = Numbers{} + C::coefficient(0);
    KOKKOSATTENTION_UNROLL
    for (int i = 1; i < C::terms; ++i) polynomial = polynomial * r + C::coefficient(i);
    polynomial = polynomial * (r * r) + r + T(1);
#if KOKKOSATTENTION_HOST_VECTOR_BYTES == 64
    return scaled(polynomial, n, x, C::lowest);
#else
    using Integers        = typename VectorTypes<T>::Integers;
    Integers const power  = ((Integers)shifted + static_cast<int>(C::exponent_bias)) << C::significand_bits;
    return x < C::lowest ? Numbers{} : polynomial * (Numbers)power;
#endif
  }

#if KOKKOSATTENTION_HOST_VECTOR_BYTES == 64
  /// To the nearest integers.
  KOKKOS_FORCEINLINE_FUNCTION static Numbers rounded(Numbers x) {
    if constexpr (std::is_same_v<T, float>)
      return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT);
    else
      return _mm512_roundscale_pd(x, _MM_FROUND_TO_NEAREST_INT);
  }
  /// x less the integer below it.
  KOKKOS_FORCEINLINE_FUNCTION static Numbers fraction(Numbers x) requires std::is_same_v<T, float> {
    return _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF);
  }
  /// x times 2 to the integer below n, 0 where the argument is below the lowest one: for results that are no normal
  /// numbers, Intel's processors take a hundred times as long.
  KOKKOS_FORCEINLINE_FUNCTION static Numbers scaled(Numbers x, Numbers n, Numbers argument, T lowest) {
    if constexpr (std::is_same_v<T, float>)
      return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(argument, _mm512_set1_ps(lowest), _CMP_NLT_UQ), x, n);
    else
      return _mm512_maskz_scalef_pd(_mm512_cmp_pd_mask(argument, _mm512_set1_pd(lowest), _CMP_NLT_UQ), x, n);
  }
#endif
};

}  // namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT

#endif
