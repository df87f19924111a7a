// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Forward.hpp"

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

/// \file
/// Score functions and masks written by a user.

namespace Test {

/// Depends on every argument, so that a mixed-up one shows.
template <class A>
struct Ripple {
  KOKKOS_FUNCTION A operator()(A s, int b, int h, KA::index_t i, KA::index_t j) const {
    return s * A(1 + b) + A(0.25) * A(h) - A(0.01) * A(i) + A(0.02) * A(j % 7);
  }
};

template <class A>
struct Square {
  KOKKOS_FUNCTION A operator()(A s, int, int, KA::index_t, KA::index_t) const { return s * s; }
};

/// The same for the reference, in types that devices do not have.
constexpr auto ripple = [](auto s, auto b, auto h, auto i, auto j) {
  using W = decltype(s);
  return s * W(1 + b) + W(0.25) * W(h) - W(0.01) * W(i) + W(0.02) * W(j % 7);
};

/// Answers for single pairs only.
struct Checkerboard {
  KOKKOS_FUNCTION bool operator()(int b, int h, KA::index_t i, KA::index_t j) const { return (b + h + i + j) % 2 == 0; }
};

/// The first keys for every query; answers for tiles and ranges too.
struct Prefix {
  KA::index_t n;
  KOKKOS_FUNCTION bool operator()(int, int, KA::index_t, KA::index_t j) const { return j < n; }
  KOKKOS_FUNCTION KA::Coverage coverage(KA::Tile const& t) const {
    return t.key_begin >= n ? KA::Coverage::none : t.key_end <= n ? KA::Coverage::all : KA::Coverage::some;
  }
  KOKKOS_FUNCTION KA::KeyRange key_range(int, int, KA::index_t, KA::index_t) const { return {0, n}; }
};

/// Counts how often single pairs are asked for.
struct CountingPrefix : Prefix {
  Kokkos::View<int, MemorySpace> asked;
  KOKKOS_FUNCTION bool operator()(int b, int h, KA::index_t i, KA::index_t j) const {
    Kokkos::atomic_inc(&asked());
    return Prefix::operator()(b, h, i, j);
  }
};

template <class T, class Modify, class... Functors>
void check(Problem<T> const& problem, Modify const& modify, Functors const&... functors) {
  auto const expected = attention<wide_t<T>>(problem, Exact{}, modify);
  auto const rival    = attention<KA::accumulation_t<T>>(problem, Stored<T>{}, modify);
  auto const found    = run_forward(problem, functors...);
  require_accurate<T>(errors(found.out, expected.out), errors(rival.out, expected.out), expected.sensitivity);
}

template <class T>
HostTensor<bool> table(Problem<T> const& p, auto const& mask) {
  HostTensor<bool> const flags("table", p.batch(), p.heads(), p.q_len(), p.k_len());
  for_each_index(p.batch(), p.heads(), p.q_len(), p.k_len(), [&](auto... n) { flags(n...) = mask(n...); });
  return flags;
}

TEMPLATE_TEST_CASE("score functions of the user", "[functors]", double, float, KokkosAttention::bhalf_t) {
  using A = KA::accumulation_t<TestType>;
  Random random(21);
  auto problem = random_problem<TestType>(random, {2, 3, 3, 70, 90, 16, 16}, 0.7);
  SECTION("alone") { check(problem, ripple, Ripple<A>()); }
  SECTION("after the options', before the masks") {
    problem.options.softcap = 1.5;
    problem.options.causal  = true;
    problem.options.bias    = random.tensor<TestType>(1, 3, 70, 90);
    check(problem, ripple, Ripple<A>());
  }
  SECTION("several, in the order given") {
    check(
        problem, [](auto s, auto... n) { return ripple(s, n...) * ripple(s, n...); }, Ripple<A>(), Square<A>());
  }
}

TEMPLATE_TEST_CASE("masks of the user", "[functors]", double, float, KokkosAttention::bhalf_t) {
  Random random(22);
  auto const problem = random_problem<TestType>(random, {2, 3, 3, 70, 190, 16, 16});
  auto with_table    = problem;
  SECTION("a mask for single pairs") {
    with_table.options.mask = table(problem, Checkerboard());
    check(with_table, unmodified, Checkerboard());
  }
  SECTION("a mask for tiles") {
    with_table.options.mask = table(problem, Prefix{100});
    check(with_table, unmodified, Prefix{100});
    // The option alone and the functor alone give the same, to the bit.
    auto const by_option = run_forward(with_table), by_functor = run_forward(problem, Prefix{100});
    for_each_index(2, 3, 70, 16, [&](auto... n) {
      REQUIRE(static_cast<double>(by_option.out(n...)) == static_cast<double>(by_functor.out(n...)));
    });
  }
  SECTION("several masks, mixed with a score function") {
    with_table.options.mask = table(problem, [](auto... n) { return Checkerboard()(n...) && Prefix{100}(n...); });
    check(with_table, ripple, Checkerboard(), Ripple<KA::accumulation_t<TestType>>(), Prefix{100});
  }
}

TEST_CASE("full tiles run without a test, empty ones not at all", "[functors]") {
  Random random(23);
  auto const problem = random_problem<float>(random, {1, 1, 1, 64, 640, 8, 8});
  Kokkos::View<int, MemorySpace> const asked("asked");
  auto const count = [&](KA::index_t n) {
    Kokkos::deep_copy(asked, 0);
    run_forward(problem, CountingPrefix{{n}, asked});
    int result = 0;
    Kokkos::deep_copy(result, asked);
    return result;
  };
  REQUIRE(count(640) == 0);
  REQUIRE(count(0) == 0);
  REQUIRE(count(320) == 0);  // a multiple of every tile size
  int const partial = count(330);
  REQUIRE(partial > 0);
  REQUIRE(partial <= 64 * 64);
}

}  // namespace Test
