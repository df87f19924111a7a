// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Backward.hpp"

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cmath>

#include <array>

/// \file
/// Dropout: the generator, the mask, and that both passes use it. Gradients with dropout are held against the reference
/// in Options.cpp.

namespace Test {

HostTensor<bool> mask_on_device(KA::Dropout const& dropout, int b, int h, int i, int j) {
  DeviceTensor<bool, Kokkos::LayoutRight> const mask("mask", b, h, i, j);
  KA::dropout_mask(Space(), dropout, mask);
  return to_host(mask);
}

TEST_CASE("Philox 4x32-10 gives the known answers of its authors", "[dropout]") {
  using KA::Impl::philox;
  auto const words = [](auto counter) {
    return std::array{counter.word[0], counter.word[1], counter.word[2], counter.word[3]};
  };
  REQUIRE(words(philox({0, 0, 0, 0}, {0, 0})) == std::array{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u});
  std::uint32_t const ones = 0xffffffffu;
  REQUIRE(words(philox({ones, ones, ones, ones}, {ones, ones})) ==
          std::array{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu});
  REQUIRE(words(philox({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, {0xa4093822u, 0x299f31d0u})) ==
          std::array{0xd16cfe09u, 0x94fdcceb, 0x5001e420u, 0x24126ea1u});
}

TEST_CASE("the mask is the same on every backend", "[dropout]") {
  // FNV-1a over the flags: the number is that of every machine, host or device.
  auto const mask    = mask_on_device({.probability = 0.3, .seed = 12345, .offset = 678}, 2, 3, 50, 71);
  std::uint64_t hash = 14695981039346656037u;
  for (std::size_t e = 0; e < mask.size(); ++e) hash = (hash ^ std::uint64_t(mask.data()[e])) * 1099511628211u;
  REQUIRE(hash == 7681035833040015698u);
}

TEST_CASE("dropout keeps 1 - p of the weights, within binomial bounds", "[dropout]") {
  for (double p : {0.01, 0.3, 0.5, 0.9}) {
    auto const mask = mask_on_device({.probability = p, .seed = 9}, 2, 4, 300, 401);
    double kept     = 0;
    std::vector<double> row(300), column(401);
    for_each_index(2, 4, 300, 401, [&](auto b, auto h, auto i, auto j) {
      kept += mask(b, h, i, j);
      row[i] += mask(b, h, i, j);
      column[j] += mask(b, h, i, j);
    });
    CAPTURE(p);
    // 5 standard deviations.
    auto const require_share = [p](double count, double of) {
      REQUIRE(std::abs(count - (1 - p) * of) <= 5 * std::sqrt(of * p * (1 - p)));
    };
    require_share(kept, double(mask.size()));
    for (double count : row) require_share(count, 2. * 4 * 401);
    for (double count : column) require_share(count, 2. * 4 * 300);
  }
}

TEST_CASE("every part of what dropout depends on changes the mask", "[dropout]") {
  KA::Dropout const dropout{.probability = 0.5, .seed = 1, .offset = 2};
  auto const mask  = mask_on_device(dropout, 2, 2, 40, 64);
  auto const share = [&](auto const& differs) {
    int count = 0;
    for_each_index(1, 1, 39, 63, [&](auto, auto, auto i, auto j) { count += differs(i, j); });
    return count / (39. * 63);
  };
  auto const independent = [&](auto const& differs) {
    double const s = share(differs);
    REQUIRE(s > 0.44);
    REQUIRE(s < 0.56);
  };
  auto const compare = [&](KA::Dropout const& other) {
    auto const changed = mask_on_device(other, 2, 2, 40, 64);
    independent([&](auto i, auto j) { return mask(0, 0, i, j) != changed(0, 0, i, j); });
  };
  compare({.probability = 0.5, .seed = 2, .offset = 2});
  compare({.probability = 0.5, .seed = 1, .offset = 3});
  compare({.probability = 0.5, .seed = 1 + (std::uint64_t(1) << 32), .offset = 2});
  compare({.probability = 0.5, .seed = 1, .offset = 2 + (std::uint64_t(1) << 32)});
  independent([&](auto i, auto j) { return mask(0, 0, i, j) != mask(1, 0, i, j); });
  independent([&](auto i, auto j) { return mask(0, 0, i, j) != mask(0, 1, i, j); });
  independent([&](auto i, auto j) { return mask(0, 0, i, j) != mask(0, 0, i + 1, j); });
  independent([&](auto i, auto j) { return mask(0, 0, i, j) != mask(0, 0, i, j + 1); });
  // What is dropped with a small probability is dropped with a larger one too.
  auto const more = mask_on_device({.probability = 0.7, .seed = 1, .offset = 2}, 2, 2, 40, 64);
  for_each_index(2, 2, 40, 64, [&](auto... n) { REQUIRE((mask(n...) || !more(n...))); });
}

TEMPLATE_TEST_CASE("dropping nothing and dropping all", "[dropout]", double, float, KokkosAttention::bhalf_t) {
  Random random(301);
  auto problem     = random_problem<TestType>(random, {1, 2, 2, 40, 90, 16, 8});
  auto const d_out = random_d_out(random, problem);
  auto const out   = run_forward(problem);
  auto const plain = run_backward(problem, d_out);
  add_dropout(problem, {.probability = 0., .seed = 4});
  for (std::size_t e = 0; e < problem.kept.size(); ++e) REQUIRE(problem.kept.data()[e]);
  require_same_bits(run_forward(problem).out, out.out);
  require_same_bits(run_backward(problem, d_out), plain);

  add_dropout(problem, {.probability = 1., .seed = 4});
  for (std::size_t e = 0; e < problem.kept.size(); ++e) REQUIRE(!problem.kept.data()[e]);
  auto const nothing = run_forward(problem);
  require_same_bits(nothing.lse, out.lse);
  auto const gradients = run_backward(problem, d_out);
  for (auto const& zeros : std::array{nothing.out, gradients.q, gradients.k, gradients.v})
    for (std::size_t e = 0; e < zeros.size(); ++e) REQUIRE(static_cast<float>(zeros.data()[e]) == 0.f);
}

TEST_CASE("dropout does not depend on the tile", "[dropout]") {
  // Queries alone or among others, other head dimensions: other tiles, the same mask.
  Random random(302);
  auto problem = random_problem<double>(random, {1, 2, 2, 200, 150, 8, 8});
  add_dropout(problem, {.probability = 0.5, .seed = 6});
  for (int const head_dim : {8, 300}) {
    auto wide    = random_problem<double>(random, {1, 2, 2, 200, 150, head_dim, 150});
    wide.options = problem.options;
    wide.kept    = problem.kept;
    // The values are the unit vectors: the output is the weights.
    for_each_index(1, 2, 150, 150, [&](auto b, auto h, auto j, auto d) { wide.v(b, h, j, d) = j == d; });
    auto const found = run_forward(wide);
    for_each_index(1, 2, 200, 150, [&](auto... n) { REQUIRE((found.out(n...) != 0.) == problem.kept(n...)); });
  }
}

}  // namespace Test
