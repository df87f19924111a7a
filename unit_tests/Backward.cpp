// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Backward.hpp"

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#define SCALARS double, float, KokkosAttention::half_t, KokkosAttention::bhalf_t

#include <array>
#include <cmath>

/// \file
/// Gradients against the reference, in every shape and layout; options are in Options.cpp.

namespace Test {

TEMPLATE_TEST_CASE("backward on a grid of shapes", "[backward]", SCALARS) {
  Shape const shape =
      GENERATE(Shape{1, 1, 1, 1, 1, 1, 1}, Shape{2, 3, 3, 5, 7, 3, 2}, Shape{1, 2, 2, 64, 64, 64, 64},
               Shape{2, 4, 2, 63, 65, 16, 24}, Shape{1, 2, 1, 129, 127, 49, 3}, Shape{1, 1, 1, 17, 300, 75, 33},
               Shape{1, 2, 2, 200, 40, 128, 128}, Shape{2, 6, 1, 33, 97, 80, 17}, Shape{1, 1, 1, 70, 70, 256, 256},
               Shape{1, 1, 1, 9, 140, 512, 512}, Shape{1, 1, 1, 3, 20, 700, 5});
  CAPTURE(shape);
  Random random(101);
  check_backward(random, random_problem<TestType>(random, shape));
}

TEMPLATE_TEST_CASE("backward takes any layout", "[backward]", SCALARS) {
  Random random(102);
  auto problem         = random_problem<TestType>(random, {2, 4, 2, 75, 90, 40, 24});
  problem.options.bias = random.tensor<TestType>(2, 4, 75, 90);
  SECTION("left") { check_backward<Kokkos::LayoutLeft>(random, problem); }
  SECTION("strided, with gaps") { check_backward<Kokkos::LayoutStride>(random, problem); }
}

TEMPLATE_TEST_CASE("backward on peaked scores", "[backward]", double, float, KokkosAttention::bhalf_t) {
  Random random(103);
  check_backward(random, random_problem<TestType>(random, {1, 2, 2, 65, 130, 32, 32}, 3.));
}

TEST_CASE("gradients that are not asked for are not written", "[backward]") {
  Random random(104);
  auto problem         = random_problem<float>(random, {1, 4, 2, 40, 50, 16, 24});
  problem.options.bias = random.tensor<float>(1, 1, 40, 50);
  auto const d_out     = random_d_out(random, problem);
  auto const all       = run_backward(problem, d_out);
  int const wanted     = GENERATE(range(0, 16));
  CAPTURE(wanted);
  using Layout = Kokkos::LayoutRight;
  auto const q = to_device<Layout>(problem.q), k = to_device<Layout>(problem.k), v = to_device<Layout>(problem.v);
  auto const d_out_on_device = to_device<Layout>(d_out);
  auto const out             = poisoned<float, Layout>(1, 4, 40, 24);
  Kokkos::View<float***, MemorySpace> const lse("lse", 1, 4, 40);
  auto const options = to_device<Layout>(problem.options);
  auto const dq = poisoned<float, Layout>(1, 4, 40, 16), dk = poisoned<float, Layout>(1, 2, 50, 16),
             dv = poisoned<float, Layout>(1, 2, 50, 24), dbias = poisoned<float, Layout>(1, 1, 40, 50);
  KA::Gradients<float, MemorySpace> gradients;
  if (wanted & 1) gradients.q = dq;
  if (wanted & 2) gradients.k = dk;
  if (wanted & 4) gradients.v = dv;
  if (wanted & 8) gradients.bias = dbias;
  KA::forward(q, k, v, out, lse, options);
  KA::backward(d_out_on_device, q, k, v, out, lse, gradients, options);
  Kokkos::fence();
  // Other kernels may compute some of them than all, which add in another order.
  auto const check = [](bool is_wanted, auto const& found, auto const& expected) {
    auto const host = to_host(found);
    for (std::size_t e = 0; e < host.size(); ++e) {
      if (is_wanted)
        REQUIRE(std::abs(host.data()[e] - expected.data()[e]) <= 1e-5f);
      else
        REQUIRE(is_nan(host.data()[e]));
    }
  };
  check(wanted & 1, dq, all.q);
  check(wanted & 2, dk, all.k);
  check(wanted & 4, dv, all.v);
  check(wanted & 8, dbias, all.bias);
}

TEMPLATE_TEST_CASE("backward with lengths of zero", "[backward]", SCALARS) {
  Random random(105);
  auto const run = [&](Shape const& shape) {
    auto problem         = random_problem<TestType>(random, shape);
    problem.options.bias = random.tensor<TestType>(1, 1, 1, 1);
    auto const found     = run_backward(problem, random_d_out(random, problem));
    for (auto const& gradient : std::array{found.q, found.k, found.v, found.bias})
      for (std::size_t e = 0; e < gradient.size(); ++e) REQUIRE(static_cast<float>(gradient.data()[e]) == 0.f);
  };
  run({2, 2, 2, 5, 0, 8, 8});
  run({2, 2, 2, 0, 5, 8, 8});
  run({0, 2, 2, 5, 5, 8, 8});
  run({2, 0, 0, 5, 5, 8, 8});
  run({2, 0, 3, 5, 5, 8, 8});  // keys that no query reads
}

TEST_CASE("every host execution space computes gradients", "[backward]") {
  Random random(106);
  auto problem         = random_problem<float>(random, {1, 2, 2, 70, 90, 32, 16});
  problem.options.bias = random.tensor<float>(1, 2, 1, 90);
  auto const d_out     = random_d_out(random, problem);
  auto const check     = [&](auto space) {
    HostTensor<float> const out("out", 1, 2, 70, 16), dq("dq", 1, 2, 70, 32), dk("dk", 1, 2, 90, 32),
        dv("dv", 1, 2, 90, 16), dbias("dbias", 1, 2, 1, 90);
    Kokkos::View<float***, Kokkos::HostSpace> const lse("lse", 1, 2, 70);
    KA::forward(space, problem.q, problem.k, problem.v, out, lse, problem.options);
    KA::backward(space, d_out, problem.q, problem.k, problem.v, out, lse, {.q = dq, .k = dk, .v = dv, .bias = dbias},
                     problem.options);
    space.fence();
    require_gradients<float>({dq, dk, dv, dbias}, problem, d_out);
  };
#if defined(KOKKOS_ENABLE_SERIAL)
  check(Kokkos::Serial());
#endif
#if defined(KOKKOS_ENABLE_OPENMP)
  check(Kokkos::OpenMP());
#endif
#if defined(KOKKOS_ENABLE_THREADS)
  check(Kokkos::Threads());
#endif
}

}  // namespace Test
