// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMAEXPONENTIAL_HPP
#define KOKKOSATTENTION_MMAEXPONENTIAL_HPP

#include <KokkosAttention_MmaInstructions.hpp>
#include <KokkosAttention_MmaLane.hpp>

#include <Kokkos_Core.hpp>

#include <cstdint>

/// \file
/// The exponentials of weights in a warp, of numbers at most a rounding error above 0.

namespace KokkosAttention::Impl {

/// 2^(n / 32).
KOKKOS_FORCEINLINE_FUNCTION double root_power(int n) {
  constexpr double power[32] = {0x1.0000000000000p+0, 0x1.059b0d3158574p+0, 0x1.0b5586cf9890fp+0, 0x1.11301d0125b51p+0,
                                0x1.172b83c7d517bp+0, 0x1.1d4873168b9aap+0, 0x1.2387a6e756238p+0, 0x1.29e9df51fdee1p+0,
                                0x1.306fe0a31b715p+0, 0x1.371a7373aa9cbp+0, 0x1.3dea64c123422p+0, 0x1.44e086061892dp+0,
                                0x1.4bfdad5362a27p+0, 0x1.5342b569d4f82p+0, 0x1.5ab07dd485429p+0, 0x1.6247eb03a5585p+0,
                                0x1.6a09e667f3bcdp+0, 0x1.71f75e8ec5f74p+0, 0x1.7a11473eb0187p+0, 0x1.82589994cce13p+0,
                                0x1.8ace5422aa0dbp+0, 0x1.93737b0cdc5e5p+0, 0x1.9c49182a3f090p+0, 0x1.a5503b23e255dp+0,
                                0x1.ae89f995ad3adp+0, 0x1.b7f76f2fb5e47p+0, 0x1.c199bdd85529cp+0, 0x1.cb720dcef9069p+0,
                                0x1.d5818dcfba487p+0, 0x1.dfc97337b9b5fp+0, 0x1.ea4afa2a490dap+0, 0x1.f50765b6e4540p+0};
  return power[n];
}

/// exp(x) for x at most a rounding error above 0, with ten operations in float64, which matrix products wait for: they
/// share a pipe. exp(x) = 2^(n / 32) exp(r), n = round(32 x / ln 2), with the 32 roots in the warp's lanes (tables of
/// this kind: Tang, Table-driven implementation of the exponential function, ACM TOMS 15, 1989).
///
/// All of a warp's lanes call it together. Within a unit in the last place, and 1/3 of one more for every unit of x:
/// the rounding of ln(2) / 32, which acts as a change in the last place of the scale does. Results below the smallest
/// normal number are 0; exp(-inf) = 0, exp(NaN) = NaN.
class WarpExponential {
  double m_root;

 public:
  KOKKOS_FORCEINLINE_FUNCTION explicit WarpExponential(MmaLane lane) : m_root(root_power(lane.number())) {}

  KOKKOS_FORCEINLINE_FUNCTION double operator()(double x) const {
    constexpr double rounding_offset = 0x1.8p52;  // adding it leaves round(x) in the low bits
    constexpr double steps = 0x1.71547652b82fep+5, step = 0x1.62e42fefa39efp-6;  // 32 / ln 2, ln 2 / 32
    // 1 + r + r^2 (c2 + c3 r + c4 r^2 + c5 r^3), the term of r^6 spread over those of r^2 and r^4 (Chebyshev): the
    // remainder on |r| <= ln(2) / 64 is below 2^-53.
    constexpr double c2 = 0.499999999991768, c3 = 1. / 6, c4 = 0.04166689349265519, c5 = 1. / 120;

    double const shifted = fma(x, steps, rounding_offset);
    double const n       = shifted - rounding_offset;
    double const r       = fma(-n, step, x);
    double const tail    = fma(fma(fma(c5, r, c4), r, c3), r, c2);
    double const change  = fma(tail, r * r, r);
    auto const whole     = static_cast<std::int32_t>(Kokkos::bit_cast<std::int64_t>(shifted));
    double const power   = times_power_of_two(value_of_lane(m_root, whole), whole >> 5);
    double const result  = fma(power, change, power);
    // Compared as integers: x between -708.3 and -infinity.
    auto const high              = static_cast<std::uint32_t>(Kokkos::bit_cast<std::uint64_t>(x) >> 32);
    constexpr std::uint32_t from = 0xC0862266u, to = 0xFFF00000u;
    return high - from <= to - from ? 0. : result;
  }

 private:
  KOKKOS_FORCEINLINE_FUNCTION static double fma(double a, double b, double c) { return Kokkos::fma(a, b, c); }

  /// By the bits of the exponent.
  KOKKOS_FORCEINLINE_FUNCTION static double times_power_of_two(double x, std::int32_t n) {
    auto const bits = Kokkos::bit_cast<std::uint64_t>(x);
    auto const high = static_cast<std::uint32_t>(bits >> 32) + (static_cast<std::uint32_t>(n) << 20);
    return Kokkos::bit_cast<double>(std::uint64_t(high) << 32 | static_cast<std::uint32_t>(bits));
  }
};

/// exp(x) in float32 by the GPU's 2^x. A relative error of 2^-22, and 2^-24 more for every unit of x: the smaller a
/// weight, the less it is worth.
class ApproximateExponential {
 protected:
  static constexpr float log2e = 1.44269504f;

 public:
  KOKKOS_FORCEINLINE_FUNCTION explicit ApproximateExponential(MmaLane) {}

  KOKKOS_FORCEINLINE_FUNCTION float operator()(float x) const { return exp2_approximation(x * log2e); }
};

/// The same for weights that are then rounded to 16 bits: with of_product, one multiplication and addition replaces the
/// scaling of scores, the subtraction of the shift, and the change of base.
class ScalingExponential : public ApproximateExponential {
 public:
  using ApproximateExponential::ApproximateExponential;

  /// A factor above 0 or a shift, for of_product.
  KOKKOS_FORCEINLINE_FUNCTION static float in_base_2(float x) { return x * log2e; }
  /// exp(x factor - shift).
  KOKKOS_FORCEINLINE_FUNCTION static float of_product(float x, float factor_in_base_2, float shift_in_base_2) {
    return exp2_approximation(Kokkos::fma(x, factor_in_base_2, -shift_in_base_2));
  }
};

/// Whether scores need not be scaled before their exponentials are computed.
template <class Exponential>
inline constexpr bool puts_factor_off = requires {
  &Exponential::of_product;
};

}  // namespace KokkosAttention::Impl

#endif
