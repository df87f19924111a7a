// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_EXPONENTIAL_HPP
#define KOKKOSATTENTION_EXPONENTIAL_HPP

#include <KokkosAttention_Loops.hpp>

#include <Kokkos_Core.hpp>

#include <cstdint>

/// \file
/// The exponential of the softmax: arguments are at most a rounding error above 0.

namespace KokkosAttention::Impl {

/// Constants of exp(x) = 2^n exp(r), n = round(x / ln 2), r = x - n ln 2, with ln 2 in two parts (Cody and Waite,
/// Software Manual for the Elementary Functions, 1980), the first one exact in its products with n.
template <class T>
struct ExponentialConstants;

template <>
struct ExponentialConstants<float> {
  using Bits                             = std::uint32_t;
  static constexpr int significand_bits  = 23;
  static constexpr Bits exponent_bias    = 127;
  static constexpr float rounding_offset = 0x1.8p23f;  // adding it leaves round(x) in the low bits
  static constexpr float lowest          = -87.3f;     // below, the result is no normal number: 0
  static constexpr float inverse_ln2     = 1.44269504f;
  static constexpr float ln2_high        = 0.693359375f;
  static constexpr float ln2_low         = -2.12194440e-4f;
  // 1/k! for k = 7 ... 2: the remainder on |r| <= ln(2)/2 is below 2^-27.
  static constexpr int terms = 6;
  KOKKOS_FORCEINLINE_FUNCTION static constexpr float coefficient(int i) {
    constexpr float value[terms] = {1.f / 5040, 1.f / 720, 1.f / 120, 1.f / 24, 1.f / 6, 1.f / 2};
    return value[i];
  }
};

template <>
struct ExponentialConstants<double> {
  using Bits                              = std::uint64_t;
  static constexpr int significand_bits   = 52;
  static constexpr Bits exponent_bias     = 1023;
  static constexpr double rounding_offset = 0x1.8p52;
  static constexpr double lowest          = -708.3;
  static constexpr double inverse_ln2     = 1.4426950408889634;
  static constexpr double ln2_high        = 6.93145751953125e-1;
  static constexpr double ln2_low         = 1.42860682030941723212e-6;
  // 1/k! for k = 13 ... 2: the remainder on |r| <= ln(2)/2 is below 2^-57.
  static constexpr int terms = 12;
  KOKKOS_FORCEINLINE_FUNCTION static constexpr double coefficient(int i) {
    constexpr double value[terms] = {1. / 6227020800, 1. / 479001600, 1. / 39916800, 1. / 3628800,
                                     1. / 362880,     1. / 40320,     1. / 5040,     1. / 720,
                                     1. / 120,        1. / 24,        1. / 6,        1. / 2};
    return value[i];
  }
};

/// exp(x) for x <= 0 without a branch or a call, so that loops over it vectorise. Within 2 units in the last place;
/// results below the smallest normal number are 0; exp(-inf) = 0, exp(NaN) = NaN.
template <class T>
KOKKOS_FORCEINLINE_FUNCTION T branch_free_exponential(T x) {
  using C         = ExponentialConstants<T>;
  using Bits      = typename C::Bits;
  T const shifted = x * C::inverse_ln2 + C::rounding_offset;
  T const n       = shifted - C::rounding_offset;
  T const r       = (x - n * C::ln2_high) - n * C::ln2_low;
  T polynomial    = C::coefficient(0);
  KOKKOSATTENTION_UNROLL
  for (int i = 1; i < C::terms; ++i) polynomial = polynomial * r + C::coefficient(i);
  polynomial       = polynomial * (r * r) + r + T(1);
  Bits const power = (Kokkos::bit_cast<Bits>(shifted) + C::exponent_bias) << C::significand_bits;
  T const result   = polynomial * Kokkos::bit_cast<T>(power);
  return x < C::lowest ? T(0) : result;
}

/// exp(x) for x <= 0.
template <class T>
KOKKOS_FORCEINLINE_FUNCTION T softmax_exponential(T x) {
  KOKKOS_IF_ON_HOST((return branch_free_exponential(x);))
  KOKKOS_IF_ON_DEVICE((return Kokkos::exp(x);))
}

}  // namespace KokkosAttention::Impl

#endif
