// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Views.hpp"

#include <KokkosAttention_Exponential.hpp>
#include <KokkosAttention_Half.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include <bit>
#include <cmath>
#include <random>

/// \file
/// 16-bit types and the exponential.

namespace Test {

using KA::Impl::Bfloat16;
using KA::Impl::Binary16;
using KA::Impl::Storage16;

/// The nearest of a format's numbers by search: magnitudes ascend with their bit patterns.
template <class Format>
double nearest_magnitude(double x, std::uint16_t infinity_bits) {
  int low = 0, high = infinity_bits;
  while (high - low > 1) {
    int const middle                                                = (low + high) / 2;
    (static_cast<double>(Format::decode(middle)) <= x ? low : high) = middle;
  }
  double const below = Format::decode(low);
  // The number after the largest, if the exponent went on, decides between it and infinity.
  double const above = high == infinity_bits ? 2 * below - Format::decode(low - 1) : Format::decode(high);
  bool const up      = x - below > above - x || (x - below == above - x && low % 2 == 1);
  return !up ? below : high == infinity_bits ? std::numeric_limits<double>::infinity() : above;
}

TEMPLATE_TEST_CASE("16-bit storage", "[numbers]", Binary16, Bfloat16) {
  using Number                      = Storage16<TestType>;
  std::uint16_t const infinity_bits = std::is_same_v<TestType, Binary16> ? 0x7c00 : 0x7f80;
  SECTION("every bit pattern survives the way to float and back") {
    for (int bits = 0; bits < 65536; ++bits) {
      float const value = Number::from_bits(bits);
      if (value != value)
        REQUIRE(is_nan(Number(value)));
      else
        REQUIRE(Number(value).bits() == bits);
    }
  }
  SECTION("rounding is to nearest, ties to even") {
    std::mt19937 generator(3);
    for (int n = 0; n < 200000; ++n) {
      // Every exponent, and often a tie or its neighbours.
      std::uint32_t bits = generator() & 0x7fffffffu;
      if (n % 2 == 0) bits = (bits & ~0x1fffu) | (0x1000u + n % 3 - 1);
      if (n % 4 == 1) bits = (bits & ~0xffffu) | (0x8000u + n % 3 - 1);
      float const x = std::bit_cast<float>(bits);
      if (!std::isfinite(x)) continue;
      CAPTURE(x);
      double const expected = nearest_magnitude<TestType>(x, infinity_bits);
      REQUIRE(static_cast<double>(Number(x)) == expected);
      REQUIRE(static_cast<double>(Number(-x)) == -expected);
    }
    REQUIRE(std::isinf(static_cast<float>(Number(std::numeric_limits<float>::infinity()))));
  }
}

TEST_CASE("16-bit types are 16 bits wide on every build", "[numbers]") {
  STATIC_REQUIRE(sizeof(KA::half_t) == 2);
  STATIC_REQUIRE(sizeof(KA::bhalf_t) == 2);
  STATIC_REQUIRE(KA::Scalar<KA::half_t>);
  STATIC_REQUIRE(!KA::Scalar<int>);
  // 1.5 in both formats.
  auto const bits = [](auto x) { return std::bit_cast<std::uint16_t>(x); };
  REQUIRE(bits(KA::half_t(1.5f)) == 0x3e00);
  REQUIRE(bits(KA::bhalf_t(1.5f)) == 0x3fc0);
}

TEMPLATE_TEST_CASE("the exponential is within 2 units in the last place", "[numbers]", float, double) {
  using KA::Impl::branch_free_exponential;
  using T        = TestType;
  double largest = 0;
  std::mt19937_64 generator(4);
  T const lowest = KA::Impl::ExponentialConstants<T>::lowest;
  for (int n = 0; n < 400000; ++n) {
    T x = -std::uniform_real_distribution<T>(0, -lowest)(generator);
    if (n % 4 == 0) x = -std::exp2(-std::uniform_real_distribution<T>(0, 40)(generator));  // close to 0
    long double const expected = std::exp(static_cast<long double>(x));
    long double const unit     = std::exp2(std::floor(std::log2(expected))) * std::numeric_limits<T>::epsilon();
    largest = std::max(largest, static_cast<double>(std::abs(branch_free_exponential(x) - expected) / unit));
  }
  INFO("largest error in units in the last place: " << largest);
  REQUIRE(largest <= 2.);
  REQUIRE(branch_free_exponential(T(0)) == T(1));
  REQUIRE(branch_free_exponential(-std::numeric_limits<T>::infinity()) == T(0));
  REQUIRE(branch_free_exponential(std::numeric_limits<T>::lowest()) == T(0));
  REQUIRE(is_nan(branch_free_exponential(std::numeric_limits<T>::quiet_NaN())));
}

}  // namespace Test
