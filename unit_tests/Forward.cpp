// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Forward.hpp"

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#define SCALARS double, float, KokkosAttention::half_t, KokkosAttention::bhalf_t

namespace Test {

TEMPLATE_TEST_CASE("forward on a grid of shapes", "[forward]", SCALARS) {
  // Head dims around vector and tile widths, lengths around tile sizes, and everything unequal.
  Shape const shape =
      GENERATE(Shape{1, 1, 1, 1, 1, 1, 1}, Shape{2, 3, 3, 5, 7, 3, 2}, Shape{1, 2, 2, 64, 64, 64, 64},
               Shape{2, 4, 2, 63, 65, 16, 24}, Shape{1, 2, 1, 129, 127, 49, 3}, Shape{1, 1, 1, 17, 300, 75, 33},
               Shape{1, 2, 2, 200, 40, 128, 128}, Shape{2, 6, 1, 33, 97, 80, 17}, Shape{1, 1, 1, 70, 70, 256, 256},
               Shape{1, 1, 1, 9, 140, 512, 512}, Shape{1, 1, 1, 3, 20, 700, 5});
  CAPTURE(shape);
  Random random(1);
  check_forward(random_problem<TestType>(random, shape));
}

TEMPLATE_TEST_CASE("forward of few queries against many keys", "[forward]", SCALARS) {
  Shape const shape = GENERATE(Shape{1, 4, 2, 1, 4096, 24, 24}, Shape{2, 2, 1, 3, 5000, 16, 40},
                               Shape{1, 1, 1, 70, 6145, 8, 8}, Shape{1, 1, 1, 257, 4200, 8, 8});
  CAPTURE(shape);
  Random random(11);
  auto problem = random_problem<TestType>(random, shape);
  SECTION("all") { check_forward(problem); }
  SECTION("columns that are no neighbours") { check_forward<Kokkos::LayoutLeft>(problem); }
  SECTION("causal, and a mask that leaves whole chunks out") {
    problem.options.causal = true;
    HostTensor<bool> const mask("mask", 1, 1, 1, shape.k_len);
    for (int j = 0; j < shape.k_len; ++j) mask(0, 0, 0, j) = j > 2500 && j % 3 != 0;
    problem.options.mask = mask;
    check_forward(problem);
  }
  SECTION("dropout and a bias") {
    problem.options.bias = random.tensor<TestType>(1, shape.heads, 1, shape.k_len);
    add_dropout(problem, {.probability = 0.2, .seed = 3, .offset = 1});
    check_forward(problem);
  }
}

TEMPLATE_TEST_CASE("forward takes any layout", "[forward]", SCALARS) {
  Random random(2);
  auto const problem = random_problem<TestType>(random, {2, 4, 2, 75, 90, 40, 24});
  SECTION("left") { check_forward<Kokkos::LayoutLeft>(problem); }
  SECTION("strided, with gaps") { check_forward<Kokkos::LayoutStride>(problem); }
  SECTION("rows of whole tile registers") {
    auto const whole = random_problem<TestType>(random, {1, 2, 1, 75, 304, 64, 32});
    check_forward(whole);
    check_forward<Kokkos::LayoutStride>(whole);
  }
}

/// Of every third query, scores are the larger the later the key; of others, twice as much so, or not.
template <class T>
Problem<T> rising_problem(Random& random, int queries, float rise) {
  auto problem = random_problem<T>(random, {1, 1, 1, queries, 1100, 32, 32});
  for_each_index(1, 1, queries, 1, [&](auto b, auto h, auto i, auto d) { problem.q(b, h, i, d) = T(float(i % 3)); });
  for_each_index(1, 1, 1100, 1, [&](auto b, auto h, auto j, auto d) { problem.k(b, h, j, d) = T(rise * float(j)); });
  return problem;
}

TEMPLATE_TEST_CASE("forward on peaked and shifted scores", "[forward]", double, float, KokkosAttention::bhalf_t) {
  Random random(3);
  SECTION("peaked: one key takes nearly all the weight") {
    check_forward(random_problem<TestType>(random, {1, 2, 2, 65, 130, 32, 32}, 6.));
  }
  SECTION("shifted: scores far from zero, close to each other") {
    for (double shift : {-80., 80.}) {
      auto problem = random_problem<TestType>(random, {1, 2, 2, 65, 130, 32, 32}, 0.1);
      // The first component adds the same number to every score.
      for_each_index(1, 2, 65, 1, [&](auto b, auto h, auto i, auto d) { problem.q(b, h, i, d) = TestType(1.f); });
      for_each_index(1, 2, 130, 1,
                     [&](auto b, auto h, auto j, auto d) { problem.k(b, h, j, d) = TestType(float(shift * 8)); });
      check_forward(problem);
    }
  }
  SECTION("rising and falling: from one tile of keys to the next, for some of the queries") {
    for (float rise : {0.004f, 0.05f, 1.f, -1.f}) {
      auto problem = rising_problem<TestType>(random, 65, rise);
      check_forward(problem);
      // Some of a vector's queries have their first keys later than others.
      problem.options.window = {.left = 40, .right = 500};
      check_forward(problem);
      add_dropout(problem, {.probability = 0.2, .seed = 5});
      check_forward(problem);
    }
  }
  SECTION("rising, with large values: sums are not to grow until they are infinite") {
    auto const problem = rising_problem<TestType>(random, 65, 0.05f);
    for_each_index(1, 1, 1100, 32, [&](auto b, auto h, auto j, auto d) {
      problem.v(b, h, j, d) = TestType(0x1p100f * float(problem.v(b, h, j, d)));
    });
    check_forward(problem);
  }
}

TEMPLATE_TEST_CASE("rising scores of other queries do not change a query's output, to the bit", "[forward]", double,
                   float, KokkosAttention::bhalf_t) {
  Random random(13);
  for (float rise : {0.004f, 0.05f, 1.f}) {
    auto const all = rising_problem<TestType>(random, 65, rise);
    for_each_index(1, 1, 16, 32, [&](auto... n) { all.q(n...) = TestType(0x1p-10f * float(all.q(n...))); });
    auto first = all;
    first.q    = HostTensor<TestType>("q", 1, 1, 16, 32);
    for_each_index(1, 1, 16, 32, [&](auto... n) { first.q(n...) = all.q(n...); });
    auto const found = run_forward(all), expected = run_forward(first);
    for_each_index(1, 1, 16, 32, [&](auto... n) {
      REQUIRE(static_cast<double>(found.out(n...)) == static_cast<double>(expected.out(n...)));
    });
  }
}

TEMPLATE_TEST_CASE("lengths of zero", "[forward]", SCALARS) {
  Random random(4);
  SECTION("no keys: zeros and an LSE of -inf") {
    auto const found = run_forward(random_problem<TestType>(random, {2, 2, 2, 5, 0, 8, 8}));
    for_each_index(2, 2, 5, 8, [&](auto... n) { REQUIRE(static_cast<float>(found.out(n...)) == 0.f); });
    for_each_index(2, 2, 5, 1, [&](auto... n) {
      REQUIRE(found.lse(n...) == -std::numeric_limits<KA::accumulation_t<TestType>>::infinity());
    });
  }
  SECTION("no queries, no batch, no heads: nothing to write, nothing thrown") {
    run_forward(random_problem<TestType>(random, {2, 2, 2, 0, 5, 8, 8}));
    run_forward(random_problem<TestType>(random, {0, 2, 2, 5, 5, 8, 8}));
    run_forward(random_problem<TestType>(random, {2, 0, 0, 5, 5, 8, 8}));
  }
}

TEST_CASE("every host execution space computes attention", "[forward]") {
  Random random(5);
  auto const problem  = random_problem<float>(random, {1, 2, 2, 70, 90, 32, 16});
  auto const expected = reference(problem);
  auto const rival    = unfused(problem);
  auto const check    = [&](auto space) {
    HostTensor<float> const out("out", 1, 2, 70, 16);
    Kokkos::deep_copy(out, poison<float>());
    KA::forward(space, problem.q, problem.k, problem.v, out);
    space.fence();
    require_accurate<float>(errors(out, expected.out), errors(rival.out, expected.out), expected);
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

TEST_CASE("offsets beyond 32 bits", "[forward][large]") {
  // One head out of many, far into a View whose strides are those of a huge array: only addresses count, so the
  // arrays overlap all but the elements that are used.
  Random random(6);
  auto const problem    = random_problem<float>(random, {2, 1, 1, 3, 4, 2, 2});
  auto const expected   = reference(problem);
  std::size_t const far = (std::size_t(1) << 31) + 64;  // elements between the batch entries: 8 GiB of floats
  Kokkos::View<float*, MemorySpace> memory;
  try {
    memory = Kokkos::View<float*, MemorySpace>(Kokkos::view_alloc(Kokkos::WithoutInitializing, "far"), far + 64);
  } catch (std::exception const&) {
    SKIP("no 8 GiB to allocate");
  }
  using View          = DeviceTensor<float, Kokkos::LayoutStride>;
  auto const far_view = [&](std::size_t begin, std::size_t l) {
    return View(memory.data() + begin, Kokkos::LayoutStride(2, far, 1, 1, l, 2, 2, 1));
  };
  auto const fill = [&](View const& view, HostTensor<float> const& host) {
    for (std::size_t b = 0; b < 2; ++b) {
      Flat<float, MemorySpace> const part(view.data() + b * far, host.extent(2) * 2);
      Kokkos::deep_copy(part, Flat<float const, Kokkos::HostSpace>(&host(b, 0, 0, 0), part.size()));
    }
  };
  View const q = far_view(0, 3), k = far_view(8, 4), v = far_view(16, 4), out = far_view(24, 3);
  fill(q, problem.q);
  fill(k, problem.k);
  fill(v, problem.v);
  KA::forward(q, k, v, out);
  for (std::size_t b = 0; b < 2; ++b) {
    Kokkos::View<float*, Kokkos::HostSpace> const found("found", 6);
    Kokkos::deep_copy(found, Flat<float const, MemorySpace>(out.data() + b * far, 6));
    for (int e = 0; e < 6; ++e) REQUIRE(std::abs(found(e) - expected.out(b, 0, e / 2, e % 2)) < 1e-6);
  }
}

TEST_CASE("teams that take several tiles", "[forward]") {
  Random random(10);
  auto const problem = random_problem<float>(random, {2, 3, 3, 300, 90, 24, 24});
  auto const q = to_device<Kokkos::LayoutRight>(problem.q), k = to_device<Kokkos::LayoutRight>(problem.k),
             v = to_device<Kokkos::LayoutRight>(problem.v);
  KA::Options<float, MemorySpace> const options;
  auto const run = [&](int most_teams) {
    auto const out = poisoned<float, Kokkos::LayoutRight>(2, 3, 300, 24);
    KA::Impl::portable_forward(Space(), KA::Impl::make_forward_arguments(q, k, v, out, KA::Impl::NoLse{}, options),
                               KA::Impl::make_scores(options), KA::Impl::make_mask(options), {}, most_teams);
    return to_host(out);
  };
  auto const found = run(4), expected = run(1000);
  for_each_index(2, 3, 300, 24, [&](auto... n) { REQUIRE(found(n...) == expected(n...)); });
}

TEMPLATE_TEST_CASE("the same result on a second run, to the bit", "[forward]", SCALARS) {
  Random random(7);
  auto problem = random_problem<TestType>(random, {2, 3, 3, 150, 170, 64, 64});

  problem.options.causal = true;
  auto const a           = run_forward(problem);
  auto const b           = run_forward(problem);
  for_each_index(2, 3, 150, 64,
                 [&](auto... n) { REQUIRE(static_cast<double>(a.out(n...)) == static_cast<double>(b.out(n...))); });
  for_each_index(2, 3, 150, 1, [&](auto... n) { REQUIRE(a.lse(n...) == b.lse(n...)); });
}

TEMPLATE_TEST_CASE("a batch entry's result does not depend on the rest of the batch", "[forward]", float, double) {
  Random random(8);
  auto const problem = random_problem<TestType>(random, {3, 2, 2, 50, 90, 32, 32});
  auto const whole   = run_forward(problem);
  auto const cut     = [](HostTensor<TestType> const& t) {
    HostTensor<TestType> const part("part", 1, t.extent(1), t.extent(2), t.extent(3));
    Kokkos::deep_copy(part, Kokkos::subview(t, std::pair(1, 2), Kokkos::ALL, Kokkos::ALL, Kokkos::ALL));
    return part;
  };
  auto const alone = run_forward(Problem<TestType>{cut(problem.q), cut(problem.k), cut(problem.v), {}});
  for_each_index(1, 2, 50, 32,
                 [&](auto, auto h, auto i, auto d) { REQUIRE(whole.out(1, h, i, d) == alone.out(0, h, i, d)); });
}

TEMPLATE_TEST_CASE("masked tiles of any size give a batch entry the same bits", "[forward]", SCALARS) {
  Random random(12);
  // A scale that rounds products, and entries enough for larger tiles than one alone gets.
  auto problem           = random_problem<TestType>(random, {16, 2, 1, 300, 310, 24, 24});
  problem.options.causal = true;
  problem.options.window = {.left = 170};
  auto const whole       = run_forward(problem);
  auto const cut         = [](HostTensor<TestType> const& t) {
    HostTensor<TestType> const part("part", 1, t.extent(1), t.extent(2), t.extent(3));
    Kokkos::deep_copy(part, Kokkos::subview(t, std::pair(5, 6), Kokkos::ALL, Kokkos::ALL, Kokkos::ALL));
    return part;
  };
  auto const alone = run_forward(Problem<TestType>{cut(problem.q), cut(problem.k), cut(problem.v), problem.options});
  for_each_index(1, 2, 300, 24, [&](auto, auto h, auto i, auto d) {
    REQUIRE(static_cast<double>(whole.out(5, h, i, d)) == static_cast<double>(alone.out(0, h, i, d)));
  });
  for_each_index(1, 2, 300, 1,
                 [&](auto, auto h, auto i, auto) { REQUIRE(whole.lse(5, h, i, 0) == alone.lse(0, h, i, 0)); });
}

TEMPLATE_TEST_CASE("queries of a tile whose keys begin and end far apart", "[forward]", SCALARS) {
  Random random(13);
  auto problem           = random_problem<TestType>(random, {2, 2, 2, 290, 330, 24, 20});
  problem.options.window = {.left = GENERATE(0, 7, 40), .right = GENERATE(0, 33)};
  if (GENERATE(false, true)) problem.options.mask = random.flags(1, 2, 290, 330, 0.7);
  CAPTURE(problem.options.window.left, problem.options.window.right, problem.options.mask.size());
  check_forward(problem);
}

TEMPLATE_TEST_CASE("many queries that read the same keys", "[forward]", KokkosAttention::half_t,
                   KokkosAttention::bhalf_t) {
  Random random(14);
  int const head_dim     = GENERATE(32, 40);
  auto problem           = random_problem<TestType>(random, {1, 4, 1, 530, 300, head_dim, 24});
  problem.options.causal = GENERATE(false, true);
  check_forward(problem);
  check_forward<Kokkos::LayoutStride>(problem);
}

TEST_CASE("NaN beyond the keys stays there", "[forward]") {
  Random random(9);
  // Keys and values as subviews of longer arrays whose rest is NaN.
  auto const problem  = random_problem<float>(random, {2, 2, 2, 20, 50, 24, 24});
  auto const expected = reference(problem);
  auto const rival    = unfused(problem);
  auto const longer   = [](HostTensor<float> const& t) {
    HostTensor<float> const more("longer", t.extent(0), t.extent(1), t.extent(2) + 40, t.extent(3) + 9);
    Kokkos::deep_copy(more, poison<float>());
    Kokkos::deep_copy(
          Kokkos::subview(more, Kokkos::ALL, Kokkos::ALL, std::pair<std::size_t, std::size_t>(0, t.extent(2)),
                          std::pair<std::size_t, std::size_t>(0, t.extent(3))),
          t);
    auto const device = to_device<Kokkos::LayoutRight>(more);
    return Kokkos::subview(device, Kokkos::ALL, Kokkos::ALL, std::pair<std::size_t, std::size_t>(0, t.extent(2)),
                             std::pair<std::size_t, std::size_t>(0, t.extent(3)));
  };
  auto const out = poisoned<float, Kokkos::LayoutRight>(2, 2, 20, 24);
  KA::forward(longer(problem.q), longer(problem.k), longer(problem.v), out);
  require_accurate<float>(errors(to_host(out), expected.out), errors(rival.out, expected.out), expected);
}

}  // namespace Test
