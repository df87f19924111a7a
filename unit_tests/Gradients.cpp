// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Backward.hpp"

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#include <array>

/// \file
/// What holds of gradients whatever the inputs are, by the library's own two passes.

namespace Test {

/// A problem in double with every option that has a smooth derivative.
Problem<double> smooth_problem(Random& random) {
  auto problem = random_problem<double>(random, {2, 4, 2, 21, 34, 9, 6}, 0.8);
  auto& o      = problem.options;
  o.softcap    = 1.5;
  o.window     = {.left = 20, .right = 8};
  o.mask       = random.flags(2, 1, 21, 34, 0.8);
  o.bias       = random.tensor<double>(1, 4, 21, 34);

  o.alibi_slopes = slopes<double>(4);
  add_dropout(problem, {.probability = 0.2, .seed = 3, .offset = 1});
  return problem;
}

double inner_product(HostTensor<double> const& a, HostTensor<double> const& b) {
  double sum = 0;
  for (std::size_t e = 0; e < a.size(); ++e) sum += a.data()[e] * b.data()[e];
  return sum;
}

/// The inputs that have gradients.
std::array<HostTensor<double>, 4> inputs(Problem<double> const& p) {
  HostTensor<double> const bias("bias", p.options.bias.extent(0), p.options.bias.extent(1), p.options.bias.extent(2),
                                p.options.bias.extent(3));
  Kokkos::deep_copy(bias, p.options.bias);
  return {p.q, p.k, p.v, bias};
}

/// The problem at inputs + step * direction.
Problem<double> moved(Problem<double> const& p, std::array<HostTensor<double>, 4> const& direction, double step) {
  auto moved = inputs(p);
  for (int n = 0; n < 4; ++n) {
    HostTensor<double> const sum = zeros_like<double>(moved[n]);
    for (std::size_t e = 0; e < sum.size(); ++e) sum.data()[e] = moved[n].data()[e] + step * direction[n].data()[e];
    moved[n] = sum;
  }
  auto result         = p;
  result.q            = moved[0];
  result.k            = moved[1];
  result.v            = moved[2];
  result.options.bias = moved[3];
  return result;
}

/// (f(step) - f(-step)) / 2 step, extrapolated to a step of 0 (Richardson): an error of the fourth order in the step.
template <class F>
double derivative(F const& f, double step) {
  auto const slope = [&](double h) { return (f(h) - f(-h)) / (2 * h); };
  return (4 * slope(step / 2) - slope(step)) / 3;
}

TEST_CASE("gradients are central finite differences", "[gradients]") {
  Random random(201);
  auto const problem   = smooth_problem(random);
  auto const d_out     = random_d_out(random, problem);
  auto const gradients = run_backward(problem, d_out);
  std::array const found{gradients.q, gradients.k, gradients.v, gradients.bias};
  for (int input = 0; input < 4; ++input) {
    for (int n = 0; n < 25; ++n) {
      std::array<HostTensor<double>, 4> direction;
      for (int m = 0; m < 4; ++m) direction[m] = zeros_like<double>(found[m]);
      int const element                = random.integer(0, static_cast<int>(found[input].size()) - 1);
      direction[input].data()[element] = 1;
      double const expected            = derivative(
          [&](double step) { return inner_product(d_out, run_forward(moved(problem, direction, step)).out); }, 1e-3);
      CAPTURE(input, element);
      REQUIRE(std::abs(found[input].data()[element] - expected) <= 1e-9);
    }
  }
}

TEST_CASE("backward is the adjoint of the derivative of forward", "[gradients]") {
  // <dO, J x> = <J^T dO, x> for a random direction x of all inputs at once.
  int const seed = GENERATE(range(210, 220));
  CAPTURE(seed);
  Random random(seed);
  auto const problem   = smooth_problem(random);
  auto const d_out     = random_d_out(random, problem);
  auto const gradients = run_backward(problem, d_out);
  std::array<HostTensor<double>, 4> const direction{
      random.tensor<double>(2, 4, 21, 9), random.tensor<double>(2, 2, 34, 9), random.tensor<double>(2, 2, 34, 6),
      random.tensor<double>(1, 4, 21, 34)};
  double const forward = derivative(
      [&](double step) { return inner_product(d_out, run_forward(moved(problem, direction, step)).out); }, 1e-3);
  double const backward = inner_product(gradients.q, direction[0]) + inner_product(gradients.k, direction[1]) +
                          inner_product(gradients.v, direction[2]) + inner_product(gradients.bias, direction[3]);
  REQUIRE(std::abs(forward - backward) <= 1e-8 * std::max(1., std::abs(forward)));
}

TEST_CASE("the gradient of the values is linear in that of the output, that of a row's scores sums to zero",
          "[gradients]") {
  Random random(202);
  auto problem         = random_problem<double>(random, {1, 2, 2, 40, 90, 16, 8});
  problem.options.bias = random.tensor<double>(1, 2, 40, 90);
  auto const gradients = run_backward(problem, random_d_out(random, problem));
  // Adding a constant to all scores of a query changes nothing.
  for_each_index(1, 2, 40, 1, [&](auto b, auto h, auto i, auto) {
    double sum = 0;
    for (int j = 0; j < 90; ++j) sum += gradients.bias(b, h, i, j);
    REQUIRE(std::abs(sum) <= 1e-13);
  });
}

TEMPLATE_TEST_CASE("the same gradients on a second run, to the bit", "[gradients]", double, float,
                   KokkosAttention::half_t, KokkosAttention::bhalf_t) {
  Random random(203);
  auto problem         = random_problem<TestType>(random, {2, 4, 2, 150, 470, 40, 24});
  problem.options.bias = random.tensor<TestType>(1, 1, 1, 470);
  add_dropout(problem, {.probability = 0.1});
  auto const d_out = random_d_out(random, problem);
  require_same_bits(run_backward(problem, d_out), run_backward(problem, d_out));
}

TEMPLATE_TEST_CASE("an entry's gradients do not depend on the rest of the batch, to the bit", "[gradients]", float,
                   double) {
  Random random(204);
  // Heads enough that a bias they share sums over more tiles than there are parts.
  int const heads = GENERATE(4, 32);
  auto problem    = random_problem<TestType>(random, {3, heads, 2, 150, 190, 24, 16});
  auto const broadcast =
      GENERATE(std::pair(1, 1), std::pair(150, 1), std::pair(1, 190), std::pair(150, 190));  // of queries, of keys
  bool const shared = GENERATE(true, false);
  CAPTURE(broadcast.first, broadcast.second, heads, shared);
  problem.options.bias = random.tensor<TestType>(3, shared ? 1 : heads, broadcast.first, broadcast.second);
  auto const d_out     = random_d_out(random, problem);
  auto const whole     = run_backward(problem, d_out);
  auto const entry     = [](auto const& t) {
    HostTensor<TestType> const part("part", 1, t.extent(1), t.extent(2), t.extent(3));
    Kokkos::deep_copy(part, Kokkos::subview(t, std::pair(1, 2), Kokkos::ALL, Kokkos::ALL, Kokkos::ALL));
    return part;
  };
  auto alone         = problem;
  alone.q            = entry(problem.q);
  alone.k            = entry(problem.k);
  alone.v            = entry(problem.v);
  alone.options.bias = entry(problem.options.bias);
  auto const found   = run_backward(alone, entry(d_out));
  require_same_bits(found, GradientResult<TestType>{entry(whole.q), entry(whole.k), entry(whole.v), entry(whole.bias)});
}

TEST_CASE("the gradient of a bias shared by a batch of many short sequences", "[gradients]") {
  // Enough entries for several parts, which are summed in a fixed order.
  Random random(205);
  auto problem         = random_problem<float>(random, {300, 2, 2, 9, 11, 8, 8});
  problem.options.bias = random.tensor<float>(1, 2, 9, 11);
  auto const d_out     = random_d_out(random, problem);
  auto const found     = run_backward(problem, d_out);
  require_gradients(found, problem, d_out);
  require_same_bits(found, run_backward(problem, d_out));
}

TEST_CASE("grouped heads' gradients are the sums of repeated heads'", "[gradients]") {
  Random random(206);
  auto const grouped = random_problem<double>(random, {2, 6, 2, 40, 70, 24, 16});
  auto repeated      = grouped;
  repeated.k         = HostTensor<double>("k", 2, 6, 70, 24);
  repeated.v         = HostTensor<double>("v", 2, 6, 70, 16);
  for_each_index(2, 6, 70, 24,
                 [&](auto b, auto h, auto j, auto d) { repeated.k(b, h, j, d) = grouped.k(b, h / 3, j, d); });
  for_each_index(2, 6, 70, 16,
                 [&](auto b, auto h, auto j, auto d) { repeated.v(b, h, j, d) = grouped.v(b, h / 3, j, d); });
  auto const d_out = random_d_out(random, grouped);
  auto const a = run_backward(grouped, d_out), b = run_backward(repeated, d_out);
  require_same_bits(a.q, b.q);
  auto const require_sums = [](auto const& sums, auto const& terms) {
    for_each_index(sums.extent(0), sums.extent(1), sums.extent(2), sums.extent(3), [&](auto n, auto h, auto j, auto d) {
      double const sum = terms(n, 3 * h, j, d) + terms(n, 3 * h + 1, j, d) + terms(n, 3 * h + 2, j, d);
      REQUIRE(std::abs(sums(n, h, j, d) - sum) <= 1e-13);
    });
  };
  require_sums(a.k, b.k);
  require_sums(a.v, b.v);
}

}  // namespace Test
