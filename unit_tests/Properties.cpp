// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Forward.hpp"

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <numeric>

/// \file
/// What holds of attention whatever its inputs are.

namespace Test {

template <class T>
constexpr double tolerance() {
  return 40 * epsilon<T>();
}

/// Part of a tensor along one dimension.
template <class T>
HostTensor<T> cut(HostTensor<T> const& t, std::size_t begin, std::size_t end) {
  HostTensor<T> const part("part", t.extent(0), t.extent(1), end - begin, t.extent(3));
  Kokkos::deep_copy(part, Kokkos::subview(t, Kokkos::ALL, Kokkos::ALL, std::pair(begin, end), Kokkos::ALL));
  return part;
}

TEMPLATE_TEST_CASE("weights sum to one", "[properties]", double, float, KokkosAttention::half_t,
                   KokkosAttention::bhalf_t) {
  Random random(31);
  auto problem           = random_problem<TestType>(random, {2, 2, 2, 60, 150, 24, 5});
  problem.options.causal = true;
  for_each_index(2, 2, 150, 5, [&](auto... n) { problem.v(n...) = TestType(1.f); });
  auto const found = run_forward(problem);
  for_each_index(2, 2, 60, 5,
                 [&](auto... n) { REQUIRE(std::abs(double(found.out(n...)) - 1.) <= 16 * epsilon<TestType>()); });
}

TEMPLATE_TEST_CASE("the order of the keys does not matter", "[properties]", double, float) {
  Random random(32);
  auto const problem = random_problem<TestType>(random, {1, 2, 2, 40, 170, 24, 16});
  std::vector<int> order(170);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937(5));
  auto shuffled = random_problem<TestType>(random, {1, 2, 2, 40, 170, 24, 16});
  Kokkos::deep_copy(shuffled.q, problem.q);
  for_each_index(1, 2, 170, 24,
                 [&](auto b, auto h, auto j, auto d) { shuffled.k(b, h, j, d) = problem.k(b, h, order[j], d); });
  for_each_index(1, 2, 170, 16,
                 [&](auto b, auto h, auto j, auto d) { shuffled.v(b, h, j, d) = problem.v(b, h, order[j], d); });
  auto const a = run_forward(problem), b = run_forward(shuffled);
  require_close(a.out, b.out, tolerance<TestType>());
  require_close(a.lse, b.lse, tolerance<TestType>());
}

TEMPLATE_TEST_CASE("linear in the values", "[properties]", double, float) {
  Random random(33);
  auto const first = random_problem<TestType>(random, {1, 2, 1, 40, 70, 24, 16});
  auto second = first, sum = first;
  second.v = random.tensor<TestType>(1, 1, 70, 16);
  sum.v    = HostTensor<TestType>("sum", 1, 1, 70, 16);
  for_each_index(1, 1, 70, 16, [&](auto... n) { sum.v(n...) = 3 * first.v(n...) + second.v(n...); });
  auto const a = run_forward(first), b = run_forward(second), c = run_forward(sum);
  for_each_index(1, 2, 40, 16, [&](auto... n) {
    REQUIRE(std::abs(3 * a.out(n...) + b.out(n...) - c.out(n...)) <= 8 * tolerance<TestType>());
  });
}

TEMPLATE_TEST_CASE("a causal prefix does not see what follows, to the bit", "[properties]", double, float,
                   KokkosAttention::bhalf_t) {
  Random random(34);
  auto problem              = random_problem<TestType>(random, {1, 2, 2, 200, 200, 24, 16});
  problem.options.causal    = true;
  problem.options.alignment = KA::Alignment::top_left;
  auto changed              = problem;
  changed.k                 = random.tensor<TestType>(1, 2, 200, 24);
  changed.v                 = random.tensor<TestType>(1, 2, 200, 16);
  std::size_t const prefix  = 77;
  for_each_index(1, 2, prefix, 24, [&](auto... n) { changed.k(n...) = problem.k(n...); });
  for_each_index(1, 2, prefix, 16, [&](auto... n) { changed.v(n...) = problem.v(n...); });
  auto const a = run_forward(problem), b = run_forward(changed);
  for_each_index(1, 2, prefix, 16, [&](auto... n) { REQUIRE(double(a.out(n...)) == double(b.out(n...))); });
}

TEMPLATE_TEST_CASE("halves merged by their LSE give the whole", "[properties]", double, float) {
  Random random(35);
  auto const whole = random_problem<TestType>(random, {1, 2, 2, 40, 170, 24, 16});
  auto left = whole, right = whole;
  left.k       = cut(whole.k, 0, 100);
  left.v       = cut(whole.v, 0, 100);
  right.k      = cut(whole.k, 100, 170);
  right.v      = cut(whole.v, 100, 170);
  auto const a = run_forward(left), b = run_forward(right), c = run_forward(whole);
  for_each_index(1, 2, 40, 16, [&](auto n0, auto n1, auto i, auto d) {
    double const la = a.lse(n0, n1, i, 0), lb = b.lse(n0, n1, i, 0), most = std::max(la, lb);
    double const wa = std::exp(la - most), wb = std::exp(lb - most);
    double const merged = (wa * a.out(n0, n1, i, d) + wb * b.out(n0, n1, i, d)) / (wa + wb);
    REQUIRE(std::abs(merged - c.out(n0, n1, i, d)) <= tolerance<TestType>());
    REQUIRE(std::abs(most + std::log(wa + wb) - c.lse(n0, n1, i, 0)) <= tolerance<TestType>() * std::abs(most));
  });
}

TEST_CASE("grouped heads are repeated heads, to the bit", "[properties]") {
  Random random(36);
  auto const grouped = random_problem<float>(random, {2, 6, 2, 40, 70, 24, 16});
  auto repeated      = grouped;
  repeated.k         = HostTensor<float>("k", 2, 6, 70, 24);
  repeated.v         = HostTensor<float>("v", 2, 6, 70, 16);
  for_each_index(2, 6, 70, 24,
                 [&](auto b, auto h, auto j, auto d) { repeated.k(b, h, j, d) = grouped.k(b, h / 3, j, d); });
  for_each_index(2, 6, 70, 16,
                 [&](auto b, auto h, auto j, auto d) { repeated.v(b, h, j, d) = grouped.v(b, h / 3, j, d); });
  auto const a = run_forward(grouped), b = run_forward(repeated);
  for_each_index(2, 6, 40, 16, [&](auto... n) { REQUIRE(a.out(n...) == b.out(n...)); });
}

}  // namespace Test
