// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Extremes.hpp"
#include "UserFunctors.hpp"

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <cstddef>
#include <utility>
#include <vector>

/// \file
/// What is particular to the mma engine's kernels: the head dimensions that they pad, rows that cannot be copied 16
/// bytes at a time, rows that are split ahead. Options are tested where those of the other engines are.

namespace Test {

#define MMA_TYPES double, float, KA::half_t, KA::bhalf_t

/// Whether calls on the default space reach the engine.
bool device_has_mma() { return KA::Impl::device_has_mma(Space()); }

TEMPLATE_TEST_CASE("every head dimension that tiles are padded for", "[mma]", MMA_TYPES) {
  if (!device_has_mma()) SKIP("no device with matrix instructions");
  int const head_dim  = GENERATE(1, 2, 7, 15, 16, 17, 31, 48, 63, 64, 65, 97, 127, 128, 129, 191, 192, 255, 256);
  int const value_dim = GENERATE_COPY(head_dim, 257 - head_dim);
  CAPTURE(head_dim, value_dim);
  Random random(201);
  auto problem           = random_problem<TestType>(random, {1, 2, 1, 70, 83, head_dim, value_dim});
  problem.options.causal = true;
  check_passes(random, problem);
}

TEMPLATE_TEST_CASE("several tiles on both sides, in every option at once", "[mma]", MMA_TYPES) {
  if (!device_has_mma()) SKIP("no device with matrix instructions");
  int const head_dim = GENERATE(40, 128, 160);
  CAPTURE(head_dim);
  Random random(202);
  auto problem                 = random_problem<TestType>(random, {2, 4, 2, 277, 601, head_dim, 33});
  problem.options.bias         = random.tensor<TestType>(2, 1, 277, 601);
  problem.options.softcap      = 3.;
  problem.options.window       = {300, 20};
  problem.options.alibi_slopes = slopes<TestType>(4);
  add_dropout(problem, {.probability = 0.3, .seed = 5, .offset = 7});
  check_passes(random, problem);
}

/// Long enough for kernels of five products, which in 16 bits are for longer sequences.
TEMPLATE_TEST_CASE("several tiles on both sides, in each option alone", "[mma]", MMA_TYPES) {
  if (!device_has_mma()) SKIP("no device with matrix instructions");
  // Rows of arrays whose neighbours can be looked up in pairs, or not.
  auto const [head_dim, causal, k_len] = GENERATE(table<int, bool, int>(
      {{40, false, 600}, {64, true, 600}, {64, false, 601}, {128, true, 600}, {128, false, 601}, {256, true, 600}}));
  CAPTURE(head_dim, causal);
  int const q_len = sizeof(TestType) == 8 ? 150 : 530;
  Random random(210);
  auto problem           = random_problem<TestType>(random, {1, 1, 1, q_len, k_len, head_dim, head_dim});
  problem.options.causal = causal;
  SECTION("softcap") { problem.options.softcap = 3.; }
  SECTION("a softcap beyond all scores") { problem.options.softcap = 1e6; }
  SECTION("bias") { problem.options.bias = random.tensor<TestType>(1, 1, q_len, k_len); }
  SECTION("ALiBi") { problem.options.alibi_slopes = slopes<TestType>(1); }
  SECTION("mask") { problem.options.mask = random.flags(1, 1, q_len, k_len, 0.6); }
  SECTION("a mask that drops little") { problem.options.mask = random.flags(1, 1, q_len, k_len, 0.9995); }
  SECTION("dropout") { add_dropout(problem, {.probability = 0.3, .seed = 5, .offset = 7}); }
  check_passes(random, problem);
}

/// Long enough for kernels of five products, and for their tiles for plain calls.
TEMPLATE_TEST_CASE("several tiles on both sides, in plain calls", "[mma]", MMA_TYPES) {
  if (!device_has_mma()) SKIP("no device with matrix instructions");
  int const head_dim = GENERATE(40, 128, 256);
  bool const causal  = GENERATE(false, true);
  CAPTURE(head_dim, causal);
  Random random(207);
  auto problem           = random_problem<TestType>(random, {1, 2, 1, 530, 601, head_dim, causal ? 72 : head_dim});
  problem.options.causal = causal;
  check_passes(random, problem);
}

/// The device's arrays as parts of larger ones whose rows begin one number further on, or are an odd number apart.
TEMPLATE_TEST_CASE("rows that cannot be copied 16 bytes at a time", "[mma]", MMA_TYPES) {
  if (!device_has_mma()) SKIP("no device with matrix instructions");
  int const shift = GENERATE(0, 1), gap = GENERATE(0, 1);
  CAPTURE(shift, gap);
  Random random(203);
  auto const problem = random_problem<TestType>(random, {1, 2, 2, 90, 75, 32, 24});
  auto const place   = [&](HostTensor<TestType> const& t) {
    std::size_t const rows = t.extent(2), columns = t.extent(3);
    auto const larger  = poisoned<TestType, Kokkos::LayoutRight>(1, 2, rows, columns + 2 + gap);
    auto const part    = Kokkos::subview(larger, Kokkos::ALL, Kokkos::ALL, Kokkos::ALL,
                                           std::pair<std::size_t, std::size_t>(shift, shift + columns));
    auto const on_host = Kokkos::create_mirror(larger);
    for_each_index(1, 2, rows, columns,
                     [&](auto b, auto h, auto i, auto d) { on_host(b, h, i, shift + d) = t(b, h, i, d); });
    Kokkos::deep_copy(larger, on_host);
    return part;
  };
  auto const q = place(problem.q), k = place(problem.k), v = place(problem.v);
  auto const expected = run_forward(problem);
  auto const out      = poisoned<TestType, Kokkos::LayoutRight>(1, 2, 90, 24);
  KA::forward(q, k, v, out);
  require_same_bits(to_host(out), expected.out);
}

TEST_CASE("rows of very different magnitudes", "[mma]") {
  if (!device_has_mma()) SKIP("no device with matrix instructions");
  int const n = GENERATE(range(0, extremes));
  CAPTURE(n);
  auto const p = extreme_problem(static_cast<Extreme>(n));
  check_extreme_forward(p.problem, [](Problem<float> const& problem) { return run_forward(problem); });
  require_extreme_gradients(run_backward(p.problem, p.d_out), p);
}

TEST_CASE("infinities reach what depends on them", "[mma]") {
  if (!device_has_mma()) SKIP("no device with matrix instructions");
  check_infinities([](Problem<float> const& p) { return run_forward(p); });
}

/// Output and gradients with a bounded number of teams.
template <class ExecutionSpace, class T>
std::vector<HostTensor<T>> run_teams(Problem<T> const& problem, HostTensor<T> const& d_out_on_host, int most_teams) {
  using Layout    = Kokkos::LayoutRight;
  auto const like = [](HostTensor<T> const& t) {
    return poisoned<T, Layout>(t.extent(0), t.extent(1), t.extent(2), t.extent(3));
  };
  auto const q = to_device<Layout>(problem.q), k = to_device<Layout>(problem.k), v = to_device<Layout>(problem.v),
             d_out = to_device<Layout>(d_out_on_host);
  auto const out = like(d_out_on_host), dq = like(problem.q), dk = like(problem.k), dv = like(problem.v);
  Kokkos::View<KA::accumulation_t<T>***, MemorySpace> const lse("lse", q.extent(0), q.extent(1), q.extent(2));
  KA::Options<T, MemorySpace> const options;
  auto const scores = KA::Impl::make_scores(options);
  auto const mask   = KA::Impl::make_mask(options);
  ExecutionSpace const space;
  KA::Impl::WeightDropout<KA::accumulation_t<T>> const dropout;
  auto const forward = KA::Impl::make_forward_arguments(q, k, v, out, lse, options);
  KA::Impl::mma_forward(space, forward, scores, mask, dropout, KA::Impl::mma_tiles(space, forward), nullptr,
                        most_teams);
  KA::Gradients<T, MemorySpace> gradients;
  gradients.q         = dq;
  gradients.k         = dk;
  gradients.v         = dv;
  auto const backward = KA::Impl::make_backward_arguments(d_out, q, k, v, out, lse, gradients, options);
  auto const tiles    = KA::Impl::mma_backward_tiles(space, backward);
  Kokkos::View<std::byte*, MemorySpace> const workspace(
      "workspace", KA::Impl::mma_backward_workspace<ExecutionSpace>(backward, tiles));
  Kokkos::deep_copy(workspace, std::byte(0xff));  // as it may be
  KA::Impl::mma_backward(
      space, backward, scores, mask, dropout, [&](auto const& f) { f(scores, mask, dropout); }, tiles, workspace.data(),
      most_teams);
  return {to_host(out), to_host(dq), to_host(dk), to_host(dv)};
}

TEMPLATE_TEST_CASE("mma teams that take several tiles", "[mma]", MMA_TYPES) {
  if (!device_has_mma()) SKIP("no device with matrix instructions");
  if constexpr (KA::Impl::compiled_for_mma<Space>) {
    int const value_dim = GENERATE(40, 200);
    Random random(204);
    auto const problem  = random_problem<TestType>(random, {2, 3, 3, 300, 790, 24, value_dim});
    auto const d_out    = random_d_out(random, problem);
    auto const found    = run_teams<Space>(problem, d_out, 4);
    auto const expected = run_teams<Space>(problem, d_out, 100000);
    for (std::size_t n = 0; n < found.size(); ++n) require_same_bits(found[n], expected[n]);
  }
}

/// Gradients where no kernel of the engine's computes that of the bias.
template <class T>
GradientResult<T> run_without_bias_kernel(Problem<T> const& problem, HostTensor<T> const& d_out_on_host) {
  using Layout       = Kokkos::LayoutRight;
  using Instance     = KA::Impl::MmaBackwardInstance<Space, T>;
  auto const forward = run_forward(problem);
  auto const like    = [](auto const& t) {
    return poisoned<T, Layout>(t.extent(0), t.extent(1), t.extent(2), t.extent(3));
  };
  auto const q = to_device<Layout>(problem.q), k = to_device<Layout>(problem.k), v = to_device<Layout>(problem.v),
             out = to_device<Layout>(forward.out), d_out = to_device<Layout>(d_out_on_host);
  auto const lse     = to_device<Layout>(forward.lse);
  auto const options = to_device<Layout>(problem.options);
  KA::Gradients<T, MemorySpace> const gradients{
      .q = like(problem.q), .k = like(problem.k), .v = like(problem.v), .bias = like(problem.options.bias)};
  Space const space;
  auto const arguments = KA::Impl::make_backward_arguments(
      d_out, q, k, v, out, Kokkos::subview(lse, Kokkos::ALL, Kokkos::ALL, Kokkos::ALL, 0), gradients, options);
  auto tiles = KA::Impl::mma_backward_tiles(space, arguments);
  int count  = 0;
  for (int n = 0; n < tiles.count; ++n)
    if (!KA::Impl::mma_backward_shapes<T>[tiles.tile[n].shape].computes_bias()) tiles.tile[count++] = tiles.tile[n];
  REQUIRE(count == tiles.count - 1);
  tiles.count = count;
  Kokkos::View<std::byte*, MemorySpace> const workspace("workspace", Instance::workspace(arguments, tiles));
  Kokkos::deep_copy(workspace, std::byte(0xff));  // as it may be
  Instance::run(space, arguments, KA::Impl::make_scores(options), KA::Impl::make_mask(options), {}, tiles,
                workspace.data());
  return {to_host(gradients.q), to_host(gradients.k), to_host(gradients.v), to_host(gradients.bias)};
}

TEMPLATE_TEST_CASE("a bias gradient that the portable engine computes for the mma engine", "[mma]", MMA_TYPES) {
  if (!device_has_mma()) SKIP("no device with matrix instructions");
  if constexpr (KA::Impl::compiled_for_mma<Space>) {
    Random random(213);
    auto problem           = random_problem<TestType>(random, {2, 2, 1, 70, 83, 40, 33});
    problem.options.bias   = random.tensor<TestType>(1, 2, 70, 83);
    problem.options.causal = true;
    auto const d_out       = random_d_out(random, problem);
    require_gradients(run_without_bias_kernel(problem, d_out), problem, d_out);
  }
}

/// Output and LSE with a workspace of so many bytes, and whether the call has written to it.
template <class... Functors>
std::pair<Outputs<float>, bool> run_with_workspace(Problem<float> const& problem, std::size_t bytes,
                                                   Functors const&... functors) {
  using Layout = Kokkos::LayoutRight;
  auto const q = to_device<Layout>(problem.q), k = to_device<Layout>(problem.k), v = to_device<Layout>(problem.v);
  auto const out = poisoned<float, Layout>(q.extent(0), q.extent(1), q.extent(2), v.extent(3));
  auto const lse = poisoned<float, Layout>(q.extent(0), q.extent(1), q.extent(2), 1);
  auto options   = to_device<Layout>(problem.options);
  if (bytes > 0) options.workspace = Kokkos::View<std::byte*, MemorySpace>("workspace", bytes);
  KA::forward(Space(), q, k, v, out, Kokkos::subview(lse, Kokkos::ALL, Kokkos::ALL, Kokkos::ALL, 0), options,
              functors...);
  auto const workspace = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), options.workspace);
  bool written         = false;
  for (std::size_t n = 0; n < bytes; ++n) written = written || workspace(n) != std::byte(0);
  return {{to_host(out), to_host(lse)}, written};
}

void check_split_ahead(Problem<float> const& problem, auto const&... functors) {
  std::size_t const columns = problem.k.extent(3) + problem.v.extent(3),
                    enough =
                        3 * sizeof(float) * problem.k.extent(0) * problem.k.extent(1) * problem.k.extent(2) * columns;
  auto const given = run_with_workspace(problem, enough, functors...),
             none = run_with_workspace(problem, 0, functors...), small = run_with_workspace(problem, 100, functors...);
  REQUIRE(given.second);
  REQUIRE_FALSE(small.second);
  for (auto const& found : {given, small}) {
    require_same_bits(found.first.out, none.first.out);
    require_same_bits(found.first.lse, none.first.lse);
  }
}

TEST_CASE("forward in float32 splits keys and values in the workspace that it is given", "[mma]") {
  if (!device_has_mma()) SKIP("no device with matrix instructions");
  auto const [head_dim, value_dim] = GENERATE(table<int, int>({{40, 64}, {64, 64}, {100, 128}, {128, 72}, {256, 200}}));
  bool const causal                = GENERATE(false, true);
  CAPTURE(head_dim, value_dim, causal);
  Random random(206);
  auto problem           = random_problem<float>(random, {2, 32, 2, 130, 333, head_dim, value_dim});
  problem.options.causal = causal;
  check_split_ahead(problem);
}

TEST_CASE("packed and scored calls, and one option, in float32 split keys and values in a workspace too", "[mma]") {
  if (!device_has_mma()) SKIP("no device with matrix instructions");
  bool const packed = GENERATE(false, true), scored = GENERATE(false, true), capped = GENERATE(false, true);
  if (scored && capped) return;  // not split
  CAPTURE(packed, scored, capped);
  Random random(207);
  auto problem           = random_problem<float>(random, {1, 16, 1, 260, 400, 64, 64});
  problem.options.causal = true;
  if (packed) {
    problem.options.q_offsets = host_offsets({0, 130, 260});
    problem.options.k_offsets = host_offsets({0, 180, 400});
  }
  if (capped) problem.options.softcap = 3.;
  if (scored)
    check_split_ahead(problem, Ripple<float>());
  else
    check_split_ahead(problem);
}

/// Gradients by the library's kernels for a plain call: those with score functions are others in 16 bits, which a plain
/// call may take too, and some have queries and dO split ahead.
template <class T>
GradientResult<T> run_gradients([[maybe_unused]] Problem<T> const& problem,
                                [[maybe_unused]] HostTensor<T> const& d_out_on_host, [[maybe_unused]] bool scored,
                                [[maybe_unused]] bool ahead) {
  if constexpr (KA::Impl::compiled_for_mma<Space>) {
    using Layout       = Kokkos::LayoutRight;
    using Instance     = KA::Impl::MmaBackwardInstance<Space, T>;
    auto const forward = run_forward(problem);
    auto const q = to_device<Layout>(problem.q), k = to_device<Layout>(problem.k), v = to_device<Layout>(problem.v),
               out = to_device<Layout>(forward.out), d_out = to_device<Layout>(d_out_on_host);
    auto const like = [](auto const& t) {
      return poisoned<T, Layout>(t.extent(0), t.extent(1), t.extent(2), t.extent(3));
    };
    auto const dq = like(q), dk = like(k), dv = like(v);
    auto const lse4                               = to_device<Layout>(forward.lse);
    auto const options                            = to_device<Layout>(problem.options);
    KA::Gradients<T, MemorySpace> const gradients = {.q = dq, .k = dk, .v = dv};
    auto arguments                                = KA::Impl::make_backward_arguments(
                                       d_out, q, k, v, out, Kokkos::subview(lse4, Kokkos::ALL, Kokkos::ALL, Kokkos::ALL, 0), gradients, options);
    arguments.single = arguments.plain = !scored;
    Space const space;
    auto tiles        = KA::Impl::mma_backward_tiles(space, arguments);
    auto const& shape = KA::Impl::mma_backward_shapes<T>[tiles.tile[0].shape];
    REQUIRE(tiles.count == 1);
    REQUIRE(shape.turns);
    REQUIRE(shape.groups == (!scored && sizeof(T) == 2 && shape.head_columns != 128));
    tiles.tile[0].splits_ahead = ahead;
    Kokkos::View<std::byte*, MemorySpace> const workspace("workspace", Instance::workspace(arguments, tiles));
    Kokkos::deep_copy(workspace, std::byte(0xff));  // as it may be
    Instance::run(space, arguments, KA::Impl::make_scores(options), KA::Impl::make_mask(options), {}, tiles,
                  workspace.data());
    return {to_host(dq), to_host(dk), to_host(dv), {}};
  } else {
    return {};
  }
}

TEST_CASE("gradients in float32 are the same where queries and dO are split ahead", "[mma]") {
  if (!device_has_mma()) SKIP("no device with matrix instructions");
  auto const [head_dim, value_dim] = GENERATE(table<int, int>({{40, 64}, {64, 36}, {100, 128}, {128, 72}}));
  bool const causal = GENERATE(false, true), packed = GENERATE(false, true);
  CAPTURE(head_dim, value_dim, causal, packed);
  Random random(208);
  auto problem           = random_problem<float>(random, {packed ? 1 : 2, 4, 2, 205, 700, head_dim, value_dim});
  problem.options.causal = causal;
  if (packed) {
    problem.options.q_offsets = host_offsets({0, 100, 205});
    problem.options.k_offsets = host_offsets({0, 400, 700});
  }
  auto const d_out = random_d_out(random, problem);
  auto const found = run_gradients(problem, d_out, false, true), expected = run_gradients(problem, d_out, false, false);
  require_same_bits(found.q, expected.q);
  require_same_bits(found.k, expected.k);
  require_same_bits(found.v, expected.v);
}

TEMPLATE_TEST_CASE("kernels for gradients through score functions", "[mma]", KA::half_t, KA::bhalf_t) {
  if (!device_has_mma()) SKIP("no device with matrix instructions");
  int const head_dim = GENERATE(64, 128, 256);
  bool const causal  = GENERATE(false, true);
  CAPTURE(head_dim, causal);
  Random random(209);
  auto problem           = random_problem<TestType>(random, {1, 2, 1, 530, 601, head_dim, head_dim});
  problem.options.causal = causal;
  auto const d_out       = random_d_out(random, problem);
  require_gradients(run_gradients(problem, d_out, true, false), problem, d_out);
}

/// Long enough for kernels of five products. Some have warps that know no gradient where they have scores.
TEST_CASE("gradients through score functions", "[mma]") {
  enum Kind { linear, linear_and_mask, nonlinear };
  using T            = KA::bhalf_t;
  int const head_dim = GENERATE(40, 128, 256);
  Kind const kind    = GENERATE(linear, linear_and_mask, nonlinear);
  CAPTURE(head_dim, kind);
  Random random(210);
  auto problem           = random_problem<T>(random, {1, 2, 1, 530, 601, head_dim, head_dim});
  problem.options.causal = true;
  auto const d_out       = random_d_out(random, problem);
  if (kind == linear_and_mask) {
    HostTensor<bool> const mask("mask", 1, 2, 530, 601);
    for_each_index(1, 2, 530, 601, [&](auto... n) { mask(n...) = Checkerboard()(n...); });
    auto masked         = problem;
    masked.options.mask = mask;
    require_gradients(run_backward(problem, d_out, Incline<float>(), Checkerboard()), masked, d_out, InclineOnHost());
  } else if (kind == linear) {
    require_gradients(run_backward(problem, d_out, Incline<float>()), problem, d_out, InclineOnHost());
  } else {
    require_gradients(run_backward(problem, d_out, Quadratic<float>()), problem, d_out, QuadraticOnHost());
  }
}

TEMPLATE_TEST_CASE("scales of any sign", "[mma]", MMA_TYPES) {
  Random random(205);
  auto problem          = random_problem<TestType>(random, {1, 2, 2, 70, 150, 24, 24});
  problem.options.scale = GENERATE(-0.3, -0.25, 0., 0.5);
  if (GENERATE(false, true)) problem.options.causal = true;
  check_passes(random, problem);
}

TEST_CASE("describe tells of the mma engine, and why it is not taken", "[mma][describe]") {
  using Catch::Matchers::ContainsSubstring;
  auto const text = [](auto const& q) { return KA::describe(Space(), q, q, q, q); };
  DeviceTensor<double, Kokkos::LayoutRight> const narrow("q", 1, 2, 30, 40), wide("q", 1, 2, 30, 300);
  DeviceTensor<float, Kokkos::LayoutRight> const single("q", 1, 2, 30, 40);
  if (!device_has_mma()) {
    REQUIRE_THAT(text(narrow), !ContainsSubstring("engine: mma"));
    return;
  }
  REQUIRE_THAT(text(narrow), ContainsSubstring("engine: mma\n") && ContainsSubstring("faster engines: none"));
  REQUIRE_THAT(text(wide),
               ContainsSubstring("engine: portable") && ContainsSubstring("not mma, whose head dimensions end at 256"));
  REQUIRE_THAT(text(single), ContainsSubstring("engine: mma\n"));
}

}  // namespace Test
