// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Backward.hpp"

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#define SCALARS double, float, KokkosAttention::half_t, KokkosAttention::bhalf_t

namespace Test {

TEMPLATE_TEST_CASE("each option", "[options]", SCALARS) {
  // Queries more and fewer than keys, and lengths over several tiles.
  auto const [q_len, k_len] = GENERATE(std::pair(70, 70), std::pair(40, 150), std::pair(150, 40));
  // Some engines have kernels of their own for one option where rows lie in packs of 16 bytes.
  bool const in_packs              = sizeof(TestType) > 2 || GENERATE(false, true);
  auto const [head_dim, value_dim] = sizeof(TestType) == 2 && in_packs ? std::pair(24, 8) : std::pair(20, 12);
  CAPTURE(q_len, k_len, head_dim);
  Random random(11);
  auto problem = random_problem<TestType>(random, {2, 4, 2, q_len, k_len, head_dim, value_dim});
  auto& o      = problem.options;
  SECTION("scale") { o.scale = 0.3; }
  SECTION("negative scale") { o.scale = -0.2; }
  SECTION("causal, bottom right") { o.causal = true; }
  SECTION("causal, top left") {
    o.causal    = true;
    o.alignment = KA::Alignment::top_left;
  }
  SECTION("window") { o.window = {.left = 10, .right = 3}; }
  SECTION("window of the diagonal only") { o.window = {.left = 0, .right = 0}; }
  SECTION("window to the left only") { o.window = {.left = 30}; }
  SECTION("causal window, top left") {
    o.causal    = true;
    o.alignment = KA::Alignment::top_left;
    o.window    = {.left = 17, .right = 5};
  }
  SECTION("softcap") { o.softcap = 2.; }
  SECTION("ALiBi") { o.alibi_slopes = slopes<TestType>(4); }
  SECTION("ALiBi, causal, top left") {
    o.causal       = true;
    o.alignment    = KA::Alignment::top_left;
    o.alibi_slopes = slopes<TestType>(4);
  }
  SECTION("mask") { o.mask = random.flags(2, 4, q_len, k_len, 0.3); }
  SECTION("bias") { o.bias = random.tensor<TestType>(2, 4, q_len, k_len); }
  SECTION("mask, bias and causal together") {
    o.causal = true;
    o.mask   = random.flags(2, 4, q_len, k_len, 0.5);
    o.bias   = random.tensor<TestType>(2, 4, q_len, k_len);
  }
  SECTION("dropout") { add_dropout(problem, {.probability = 0.3, .seed = 5, .offset = 7}); }
  check_passes(random, problem);
  check_passes<Kokkos::LayoutStride>(random, problem);
}

TEST_CASE("mask and bias broadcast in every dimension", "[options]") {
  int const pattern = GENERATE(range(0, 16));
  CAPTURE(pattern);
  Random random(12);
  auto problem = random_problem<float>(random, {2, 3, 3, 30, 41, 8, 8});
  int const b = pattern & 1 ? 2 : 1, h = pattern & 2 ? 3 : 1, i = pattern & 4 ? 30 : 1, j = pattern & 8 ? 41 : 1;
  problem.options.mask = random.flags(b, h, i, j, 0.7);
  problem.options.bias = random.tensor<float>(b, h, i, j);
  check_passes(random, problem);
}

TEMPLATE_TEST_CASE("rows with nothing to attend give zeros and an LSE of -inf", "[options]", SCALARS) {
  Random random(13);
  auto problem = random_problem<TestType>(random, {1, 2, 2, 100, 70, 16, 16});
  auto& o      = problem.options;

  bool lowest_scores = false;
  SECTION("causal with more queries than keys") { o.causal = true; }
  SECTION("an empty window") {
    o.window    = {.left = 3, .right = -1};
    o.alignment = KA::Alignment::top_left;
  }
  SECTION("a mask without a true") { o.mask = random.flags(1, 1, 100, 70, 0.); }
  SECTION("a mask with empty rows") {
    auto const flags = random.flags(1, 1, 100, 70, 0.5);
    for (int j = 0; j < 70; ++j) flags(0, 0, 17, j) = false;
    o.mask = flags;
  }
  SECTION("beside a row whose every score is the lowest finite number, which attends to all keys") {
    auto const bias = random.tensor<TestType>(1, 1, 100, 70);
    auto const low =
        TestType(std::is_same_v<TestType, KA::half_t> ? -65504. : double(std::numeric_limits<float>::lowest()));
    lowest_scores = true;
    for (int j = 0; j < 70; ++j) bias(0, 0, 5, j) = low;
    for (int j = 0; j < 70; ++j) bias(0, 0, 6, j) = TestType(-std::numeric_limits<float>::infinity());
    o.bias = bias;
  }
  SECTION("a bias of -inf") {
    auto const bias = random.tensor<TestType>(1, 1, 100, 70);
    for (int j = 0; j < 70; ++j) bias(0, 0, 5, j) = TestType(-std::numeric_limits<float>::infinity());
    o.bias = bias;
  }
  auto const expected  = reference(problem);
  auto const found     = run_forward(problem);
  auto const gradients = run_backward(problem, random_d_out(random, problem));
  std::size_t empty    = 0;
  for_each_index(1, 2, 100, 1, [&](auto b, auto h, auto i, auto) {
    if (!std::isinf(expected.lse(b, h, i, 0))) return;
    ++empty;
    REQUIRE(found.lse(b, h, i, 0) == -std::numeric_limits<KA::accumulation_t<TestType>>::infinity());
    for (int d = 0; d < 16; ++d) {
      REQUIRE(static_cast<float>(found.out(b, h, i, d)) == 0.f);
      REQUIRE(static_cast<float>(gradients.q(b, h, i, d)) == 0.f);
    }
  });
  REQUIRE(empty > 0);
  check_forward(problem);
  // An LSE as large as the lowest finite number has no digits left for the logarithm of a sum.
  if (!lowest_scores) check_backward(random, problem);
}

template <class T>
void check_random_problem(std::uint64_t seed) {
  CAPTURE(seed);
  Random random(seed);
  int const kv_heads = random.integer(1, 3);
  Shape const shape{random.integer(1, 2),   kv_heads * random.integer(1, 3), kv_heads,
                    random.integer(1, 160), random.integer(1, 260),          random.integer(1, 140),
                    random.integer(1, 140)};
  CAPTURE(shape);
  auto problem      = random_problem<T>(random, shape, random.pick({0.5, 1., 2.}));
  auto& o           = problem.options;
  auto const extent = [&](int full) { return random.chance(0.5) ? full : 1; };
  if (random.chance(0.3)) o.scale = random.normal(0.3);
  o.causal = random.chance(0.5);
  if (random.chance(0.5)) o.alignment = KA::Alignment::top_left;
  if (random.chance(0.3)) o.window = {.left = random.integer(-1, 100), .right = random.integer(-1, 100)};
  if (random.chance(0.3)) o.softcap = random.pick({0.5, 5., 50.});
  if (random.chance(0.4))
    o.mask = random.flags(extent(shape.batch), extent(shape.heads), extent(shape.q_len), extent(shape.k_len),
                          random.pick({0.05, 0.5, 0.95}));
  if (random.chance(0.4))
    o.bias = random.tensor<T>(extent(shape.batch), extent(shape.heads), extent(shape.q_len), extent(shape.k_len));
  if (random.chance(0.3)) o.alibi_slopes = slopes<T>(shape.heads);
  if (random.chance(0.3)) add_dropout(problem, {random.pick({0.1, 0.5, 0.9}), seed, seed / 2});
  CAPTURE(o.scale, o.causal, o.alignment == KA::Alignment::top_left, o.window.left, o.window.right, o.softcap,
          o.mask.size(), o.bias.size(), o.alibi_slopes.size(), o.dropout.probability);
  switch (random.integer(0, 2)) {
    case 0:
      return check_passes<Kokkos::LayoutRight>(random, problem);
    case 1:
      return check_passes<Kokkos::LayoutLeft>(random, problem);
    default:
      return check_passes<Kokkos::LayoutStride>(random, problem);
  }
}

TEMPLATE_TEST_CASE("random shapes, layouts and options", "[options][random]", SCALARS) {
  check_random_problem<TestType>(GENERATE(range(1000, 1025)));
}

}  // namespace Test
