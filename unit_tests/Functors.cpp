// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Backward.hpp"
#include "UserFunctors.hpp"

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

/// \file
/// Score functions and masks written by a user.

namespace Test {

template <class T, class Modify, class... Functors>
void check(Problem<T> const& problem, Modify const& modify, Functors const&... functors) {
  Random random(7);
  auto const d_out = random_d_out(random, problem);
  require_gradients(run_backward(problem, d_out, functors...), problem, d_out, modify);
  auto const expected = attention<wide_t<T>>(problem, Exact{}, modify);
  auto const rival    = attention<KA::accumulation_t<T>>(problem, Stored<T>{}, modify);
  auto const found    = run_forward(problem, functors...);
  require_accurate<T>(errors(found.out, expected.out), errors(rival.out, expected.out), expected);
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
  SECTION("alone") { check(problem, RippleOnHost(), Ripple<A>()); }
  SECTION("after the options', before the masks") {
    problem.options.softcap = 1.5;
    problem.options.causal  = true;
    problem.options.bias    = random.tensor<TestType>(1, 3, 1, 90);
    check(problem, RippleOnHost(), Ripple<A>());
  }
  SECTION("several, in the order given") {
    check(problem, Composed<RippleOnHost, QuadraticOnHost>(), Ripple<A>(), Quadratic<A>());
  }
  SECTION("linear") { check(problem, InclineOnHost(), Incline<A>()); }
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
    // The option alone and the functor alone give the same, beside another order of sums.
    require_close(run_forward(with_table).out, run_forward(problem, Prefix{100}).out, 8 * epsilon<TestType>());
  }
  SECTION("a mask that bounds the queries") {
    with_table.options.mask = table(problem, QueryPrefix{30});
    check(with_table, unmodified, QueryPrefix{30});
  }
  SECTION("several masks, mixed with a score function") {
    with_table.options.mask = table(problem, [](auto... n) { return Checkerboard()(n...) && Prefix{100}(n...); });
    using A                 = KA::accumulation_t<TestType>;
    check(with_table, RippleOnHost(), Checkerboard(), Ripple<A>(), Prefix{100});
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

TEST_CASE("full tiles run without a test in the backward pass too, empty ones not at all", "[functors]") {
  Random random(24);
  auto const problem = random_problem<float>(random, {1, 1, 1, 64, 640, 8, 8});
  auto const d_out   = random_d_out(random, problem);
  Kokkos::View<int, MemorySpace> const asked("asked");
  auto const count = [&](KA::index_t n) {
    Kokkos::deep_copy(asked, 0);
    run_backward(problem, d_out, CountingPrefix{{n}, asked});
    int result = 0;
    Kokkos::deep_copy(result, asked);
    return result;
  };
  REQUIRE(count(640) == 0);
  REQUIRE(count(0) == 0);
  REQUIRE(count(512) == 0);  // a multiple of every tile size
  int const partial = count(400);
  REQUIRE(partial > 0);
  REQUIRE(partial <= 64 * (64 + 64 + 256));  // one tile forward, one for dq, one for dk and dv
}

TEST_CASE("score functions without derivative have no backward pass", "[functors]") {
  struct Plain {
    KOKKOS_FUNCTION float operator()(float s, int, int, KA::index_t, KA::index_t) const { return s; }
  };
  STATIC_REQUIRE(KA::ScoreFunction<Plain, float>);
  STATIC_REQUIRE(!KA::DifferentiableScoreFunction<Plain, float>);
  STATIC_REQUIRE(KA::DifferentiableScoreFunction<Quadratic<float>, float>);
  STATIC_REQUIRE(!KA::LinearScoreFunction<Quadratic<float>, float>);
  STATIC_REQUIRE(KA::DifferentiableScoreFunction<Incline<float>, float>);
  STATIC_REQUIRE(KA::LinearScoreFunction<Incline<float>, float>);
  // It could be called without the score, but is not meant to be.
  struct Square {
    KOKKOS_FUNCTION float operator()(float s, int, int, KA::index_t, KA::index_t) const { return s * s; }
    KOKKOS_FUNCTION float derivative(float s, int, int, KA::index_t, KA::index_t = 0) const { return 2 * s; }
  };
  STATIC_REQUIRE(KA::DifferentiableScoreFunction<Square, float>);
  STATIC_REQUIRE(!KA::LinearScoreFunction<Square, float>);
}

}  // namespace Test
