// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Backward.hpp"

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>

/// \file
/// The module FlashAttention, in both of its modes.

namespace Test {

template <class T, class Found>
void require_matches(Problem<T> const& problem, Found const& found) {
  auto const expected = reference(problem);
  auto const rival    = unfused(problem);
  require_accurate<T>(errors(to_host(found), expected.out), errors(rival.out, expected.out), expected);
}

template <class T>
auto on_device(HostTensor<T> const& t) {
  return to_device<Kokkos::LayoutRight>(t);
}

TEMPLATE_TEST_CASE("the module's modes agree with the reference", "[module]", double, float, KokkosAttention::half_t,
                   KokkosAttention::bhalf_t) {
  bool const flash          = GENERATE(true, false);
  bool const causal         = GENERATE(true, false);
  auto const [q_len, k_len] = GENERATE(std::pair(70, 70), std::pair(33, 150), std::pair(90, 40));
  CAPTURE(flash, causal, q_len, k_len);
  Random random(41);
  auto problem           = random_problem<TestType>(random, {2, 4, 2, q_len, k_len, 20, 12});
  problem.options.causal = causal;
  KA::FlashAttention const attention({.causal = causal, .flash = flash});
  auto const q = on_device(problem.q), k = on_device(problem.k), v = on_device(problem.v);

  require_matches(problem, attention(q, k, v));
  require_matches(problem, attention.flash_attn(q, k, v));

  auto const mask      = random.flags(1, 1, q_len, k_len, 0.6);
  problem.options.mask = mask;
  require_matches(problem, attention(q, k, v, on_device(mask)));

  auto const bias      = random.tensor<TestType>(1, 4, q_len, k_len);
  problem.options.bias = bias;
  require_matches(problem, attention.forward(q, k, v, on_device(mask), on_device(bias)));
  require_matches(problem, attention.flash_attn(Space(), q, k, v, on_device(mask), on_device(bias)));

  problem.options.mask = {};
  require_matches(problem, attention(q, k, v, {}, on_device(bias)));
}

TEST_CASE("masks of rank 2, biases of rank 3, one shared key-value head of rank 3", "[module]") {
  bool const flash = GENERATE(true, false);
  Random random(42);
  auto problem = random_problem<float>(random, {2, 4, 1, 30, 50, 16, 8});
  KA::FlashAttention const attention({.flash = flash});
  auto const q = on_device(problem.q), k = on_device(problem.k), v = on_device(problem.v);
  auto const k3 = Kokkos::subview(k, Kokkos::ALL, 0, Kokkos::ALL, Kokkos::ALL);
  auto const v3 = Kokkos::subview(v, Kokkos::ALL, 0, Kokkos::ALL, Kokkos::ALL);
  require_matches(problem, attention(q, k3, v3));

  auto const mask  = random.flags(1, 1, 30, 50, 0.6);
  auto const bias  = random.tensor<float>(1, 4, 30, 50);
  problem.options  = {.mask = mask, .bias = bias};
  auto const mask2 = Kokkos::subview(on_device(mask), 0, 0, Kokkos::ALL, Kokkos::ALL);
  auto const bias3 = Kokkos::subview(on_device(bias), 0, Kokkos::ALL, Kokkos::ALL, Kokkos::ALL);
  require_matches(problem, attention(q, k3, v3, mask2, bias3));
}

TEST_CASE("get_mask is the causal mask: true where a query may attend", "[module]") {
  KA::FlashAttention const attention;
  auto const [q_len, k_len] = GENERATE(std::pair(5, 5), std::pair(3, 7), std::pair(7, 3), std::pair(0, 4));
  auto const mask           = attention.get_mask(q_len, k_len);
  REQUIRE(int(mask.extent(0)) == q_len);
  REQUIRE(int(mask.extent(1)) == k_len);
  auto const host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), mask);
  for (int i = 0; i < q_len; ++i)
    for (int j = 0; j < k_len; ++j) REQUIRE(host(i, j) == (j <= i + k_len - q_len));
}

TEST_CASE("causal is what get_mask masks, in both modes", "[module]") {
  bool const flash          = GENERATE(true, false);
  auto const [q_len, k_len] = GENERATE(std::pair(40, 40), std::pair(20, 70), std::pair(70, 20));
  Random random(43);
  auto const problem = random_problem<float>(random, {1, 2, 2, q_len, k_len, 8, 8});
  auto const q = on_device(problem.q), k = on_device(problem.k), v = on_device(problem.v);
  KA::FlashAttention const plain({.flash = flash}), causal({.causal = true, .flash = flash});
  auto const a = to_host(plain(q, k, v, plain.get_mask(q_len, k_len))), b = to_host(causal(q, k, v));
  for_each_index(1, 2, q_len, 8, [&](auto... n) { REQUIRE(std::abs(a(n...) - b(n...)) <= 1e-6); });
}

TEST_CASE("the output has the layout of the queries", "[module]") {
  Random random(44);
  auto const problem = random_problem<float>(random, {1, 2, 2, 9, 11, 4, 3});
  auto const out     = KA::FlashAttention()(to_device<Kokkos::LayoutLeft>(problem.q), on_device(problem.k),
                                        to_device<Kokkos::LayoutStride>(problem.v));
  STATIC_REQUIRE(std::is_same_v<decltype(out)::array_layout, Kokkos::LayoutLeft>);
  require_matches(problem, out);
}

TEMPLATE_TEST_CASE("dropout in training mode only, in both modes, another one each call", "[module]", double, float,
                   KokkosAttention::half_t, KokkosAttention::bhalf_t) {
  bool const flash = GENERATE(true, false);
  Random random(47);
  auto problem = random_problem<TestType>(random, {2, 4, 2, 33, 70, 20, 12});
  auto const q = on_device(problem.q), k = on_device(problem.k), v = on_device(problem.v);
  KA::FlashAttention attention({.dropout = 0.3, .flash = flash, .seed = 17});
  REQUIRE(attention.is_training());
  for (std::uint64_t call = 0; call < 3; ++call) {
    REQUIRE(attention.next_dropout().offset == call);
    add_dropout(problem, {.probability = 0.3, .seed = 17, .offset = call});
    require_matches(problem, attention(q, k, v));
  }
  KA::FlashAttention const copy = attention;
  REQUIRE(copy.next_dropout().offset == 3);

  problem.options.dropout = {};
  REQUIRE(!attention.eval().is_training());
  REQUIRE(attention.next_dropout().probability == 0.);
  require_matches(problem, attention(q, k, v));
  require_matches(problem, attention.flash_attn(q, k, v));

  REQUIRE(attention.train().is_training());
  add_dropout(problem, {.probability = 0.3, .seed = 17, .offset = 3});
  require_matches(problem, attention.flash_attn(q, k, v));
}

TEMPLATE_TEST_CASE("gradients through a recorded call", "[module]", double, float) {
  bool const flash = GENERATE(true, false);
  Random random(48);
  auto problem           = random_problem<TestType>(random, {2, 4, 1, 30, 50, 16, 8});
  problem.options.causal = true;
  problem.options.mask   = random.flags(1, 1, 30, 50, 0.7);
  problem.options.bias   = random.tensor<TestType>(1, 4, 1, 50);
  add_dropout(problem, {.probability = 0.2});
  auto const d_out = random_d_out(random, problem);
  auto const q = on_device(problem.q), k = on_device(problem.k), v = on_device(problem.v);
  auto const k3 = Kokkos::subview(k, Kokkos::ALL, 0, Kokkos::ALL, Kokkos::ALL);
  auto const v3 = Kokkos::subview(v, Kokkos::ALL, 0, Kokkos::ALL, Kokkos::ALL);
  HostTensor<bool> const mask("mask", 1, 1, 30, 50);
  Kokkos::deep_copy(mask, problem.options.mask);
  auto const mask2 = Kokkos::subview(on_device(mask), 0, 0, Kokkos::ALL, Kokkos::ALL);
  auto const bias  = option_to_device<Kokkos::LayoutRight, TestType>(problem.options.bias);
  auto const dq    = poisoned<TestType, Kokkos::LayoutRight>(2, 4, 30, 16),
             dk    = poisoned<TestType, Kokkos::LayoutRight>(2, 1, 50, 16),
             dv    = poisoned<TestType, Kokkos::LayoutRight>(2, 1, 50, 8),
             dbias = poisoned<TestType, Kokkos::LayoutRight>(1, 4, 1, 50);

  KA::FlashAttention const attention({.causal = true, .dropout = 0.2, .flash = flash});
  auto const call = attention.record(q, k3, v3, mask2, bias);
  require_matches(problem, call.out);
  KA::backward(on_device(d_out), call, {.q = dq, .k = dk, .v = dv, .bias = dbias});
  Kokkos::fence();
  require_gradients<TestType>({to_host(dq), to_host(dk), to_host(dv), to_host(dbias)}, problem, d_out);
}

TEST_CASE("the unfused engine's workspace and LSE", "[module]") {
  Random random(46);
  auto const problem = random_problem<float>(random, {2, 4, 2, 30, 50, 16, 8});
  auto const q = on_device(problem.q), k = on_device(problem.k), v = on_device(problem.v);
  auto const out          = poisoned<float, Kokkos::LayoutRight>(2, 4, 30, 8);
  auto const lse4         = poisoned<float, Kokkos::LayoutRight>(2, 4, 30, 1);
  auto const lse          = Kokkos::subview(lse4, Kokkos::ALL, Kokkos::ALL, Kokkos::ALL, 0);
  std::size_t const bytes = KA::Impl::unfused_workspace_size(KA::Impl::make_forward_arguments(q, k, v, out, lse, {}));
  auto const run          = [&](std::size_t size) {
    Kokkos::View<std::byte*, MemorySpace> const workspace("workspace", size);
    KA::Impl::forward_unfused(Space(), q, k, v, out, lse, {.workspace = workspace});
    Kokkos::fence();  // the workspace is in use until then
  };
  run(bytes);
  require_matches(problem, out);
  require_lse<float>(to_host(lse4), reference(problem), unfused(problem).lse);
  REQUIRE_THROWS_MATCHES(
      run(bytes - 1), std::invalid_argument,
      Catch::Matchers::Message("KokkosAttention::FlashAttention::forward: options.workspace: "
                               "expected at least " +
                               std::to_string(bytes) + " bytes, found " + std::to_string(bytes - 1)));
}

TEST_CASE("lengths of zero without flash", "[module]") {
  Random random(45);
  KA::FlashAttention const attention({.flash = false});
  auto const run = [&](Shape const& shape) {
    auto const p = random_problem<float>(random, shape);
    return to_host(attention(on_device(p.q), on_device(p.k), on_device(p.v)));
  };
  auto const out = run({2, 2, 2, 5, 0, 8, 8});
  for_each_index(2, 2, 5, 8, [&](auto... n) { REQUIRE(out(n...) == 0.f); });
  REQUIRE_NOTHROW(run({2, 2, 2, 0, 5, 8, 8}));
  REQUIRE_NOTHROW(run({0, 2, 2, 5, 5, 8, 8}));
}

}  // namespace Test
