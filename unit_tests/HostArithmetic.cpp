// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "host_variants/Arithmetic.hpp"

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

/// \file
/// The arithmetic of those variants of the host engine that this processor can run.

namespace Test {

struct NamedArithmetic {
  char const* name;
  HostArithmetic const* arithmetic;
};

std::vector<NamedArithmetic> runnable() {
  std::vector<NamedArithmetic> found;
  if (__builtin_cpu_supports("x86-64-v3")) found.push_back({"AVX2", &host_avx2_arithmetic});
  if (__builtin_cpu_supports("x86-64-v4")) found.push_back({"AVX-512", &host_avx512_arithmetic});
  if (__builtin_cpu_supports("x86-64-v4") && __builtin_cpu_supports("avx512bf16"))
    found.push_back({"AVX-512 BF16", &host_avx512_bf16_arithmetic});
  return found;
}

/// exp(x) of one number, in every lane at a time.
template <class T>
T in_all_lanes(void (*exponential)(T const*, T*), int lanes, T x) {
  std::vector<T> const in(lanes, x);
  std::vector<T> out(lanes);
  exponential(in.data(), out.data());
  for (T const y : out) REQUIRE((y == out[0] || std::isnan(y)));
  return out[0];
}

template <class T>
void require_exponential(void (*exponential)(T const*, T*), int lanes, T lowest) {
  constexpr T infinity = std::numeric_limits<T>::infinity();
  constexpr int points = 20000;
  for (int n = 0; n <= points; ++n) {
    T const x             = lowest * T(n) / points;
    long double const y   = std::exp(static_cast<long double>(x));
    long double const ulp = std::numeric_limits<T>::epsilon() * std::exp2(std::floor(std::log2(y)));
    long double const off = std::abs(in_all_lanes(exponential, lanes, x) - y) / ulp;
    if (off > 2) FAIL("exp(" << x << ") is off by " << static_cast<double>(off) << " units in the last place");
  }
  REQUIRE(in_all_lanes(exponential, lanes, T(0)) == T(1));
  REQUIRE(in_all_lanes(exponential, lanes, -infinity) == T(0));
  REQUIRE(in_all_lanes(exponential, lanes, 2 * lowest) == T(0));
  REQUIRE(in_all_lanes(exponential, lanes, std::numeric_limits<T>::lowest()) == T(0));
  REQUIRE(std::isnan(in_all_lanes(exponential, lanes, std::numeric_limits<T>::quiet_NaN())));
  // Instead of numbers that are not normal, which are slow on some processors.
  for (T const x : {lowest - T(0.3), lowest - T(3), lowest - T(10)})
    REQUIRE(in_all_lanes(exponential, lanes, x) == T(0));
}

TEST_CASE("vectors' exponentials are within 2 units in the last place", "[numbers]") {
  for (auto const& [name, a] : runnable()) {
    INFO(name);
    require_exponential<float>(a->exp_float, a->float_lanes, -87.3f);
    require_exponential<double>(a->exp_double, a->double_lanes, -708.3);
  }
}

TEST_CASE("the exponential of weights that become bfloat16", "[numbers]") {
  for (auto const& [name, a] : runnable()) {
    if (a->exp_pairs == nullptr) continue;
    INFO(name);
    constexpr float infinity = std::numeric_limits<float>::infinity();
    auto const weight        = [lanes = a->float_lanes, exponential = a->exp_pairs](float score, float shift) {
      std::vector<float> const scores(lanes, score), shifts(lanes, shift);
      std::vector<float> out(lanes);
      exponential(0.125f, scores.data(), shifts.data(), out.data());
      return out[0];
    };
    for (int n = 0; n <= 20000; ++n) {
      float const score = -690.f * float(n) / 20000;
      double const y = std::exp(0.125 * score), x = 0.125 * score * 1.4426950408889634;
      double const off = std::abs(weight(score, 0.f) - y) / y;
      // The polynomial's error, and the rounding of x to float.
      if (off > 0x1p-22 + 0x1p-23 * std::abs(x)) FAIL("exp(" << score << " / 8) is off by " << off << " of it");
    }
    REQUIRE(weight(-infinity, 0.f) == 0.f);
    REQUIRE(weight(-infinity, -3.f) == 0.f);
    REQUIRE(weight(-1e30f, 0.f) == 0.f);
    REQUIRE(weight(-700.f, 0.f) == 0.f);
    REQUIRE(std::abs(weight(80.f, 10.f) - 1.f) <= 0x1p-21f);
    REQUIRE(std::isnan(weight(std::numeric_limits<float>::quiet_NaN(), 0.f)));
  }
}

TEST_CASE("a matrix of vectors is transposed", "[numbers]") {
  for (auto const& [name, a] : runnable()) {
    INFO(name);
    int const n = a->float_lanes;
    std::vector<float> matrix(n * n);
    for (int e = 0; e < n * n; ++e) matrix[e] = float(e);
    a->transpose(matrix.data());
    for (int i = 0; i < n; ++i)
      for (int j = 0; j < n; ++j) REQUIRE(matrix[i * n + j] == float(j * n + i));
  }
}

TEST_CASE("a product takes a step of the prefetch with each of its blocks", "[numbers]") {
  for (auto const& [name, a] : runnable())
    for (int rows = 0; rows <= 40; ++rows)
      for (int vectors = 1; vectors <= 9; ++vectors) {
        INFO(name << ", " << rows << " rows of " << vectors << " vectors");
        REQUIRE(a->product_steps(rows, vectors) == a->product_blocks(rows, vectors));
      }
}

}  // namespace Test
