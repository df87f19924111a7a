// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "EmulatedPasses.hpp"
#include "../Extremes.hpp"

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#include <cstdint>
#include <vector>

/// \file
/// The mma engine's kernels on emulated teams: options, arrays and sequences of every kind.

namespace Test {

TEMPLATE_TEST_CASE("every option at once in the emulated mma engine", "[mma][emulation]", MMA_TYPES) {
  int const head_dim = GENERATE(40, 128);
  CAPTURE(head_dim);
  Random random(540);
  auto problem                 = random_problem<TestType>(random, {2, 2, 1, 140, 110, head_dim, 33});
  problem.options.bias         = random.tensor<TestType>(2, 1, 140, 110);
  problem.options.mask         = random.flags(1, 2, 140, 110, 0.8);
  problem.options.softcap      = 3.;
  problem.options.window       = {60, 20};
  problem.options.alibi_slopes = slopes<TestType>(2);
  add_dropout(problem, {.probability = 0.3, .seed = 5, .offset = 7});
  check_emulated_passes(random, problem, problem);
}

/// Kernels for these look arrays up several numbers at a time where they lie so, and copy a bias ahead.
TEMPLATE_TEST_CASE("a bias or a mask alone in the emulated mma engine", "[mma][emulation]", KA::half_t, KA::bhalf_t) {
  int const head_dim = GENERATE(64, 128, 256), k_len = GENERATE(112, 105);
  bool const broadcasts = GENERATE(false, true);
  CAPTURE(head_dim, k_len, broadcasts);
  Random random(547);
  auto with_bias           = random_problem<TestType>(random, {1, 2, 1, 140, k_len, head_dim, head_dim});
  auto with_mask           = with_bias;
  with_bias.options.bias   = random.tensor<TestType>(1, 2, broadcasts ? 1 : 140, k_len);
  with_mask.options.mask   = random.flags(1, 2, 140, broadcasts ? 1 : k_len, broadcasts ? 0.8 : 0.999);
  with_mask.options.causal = !broadcasts;
  check_emulated_passes(random, with_bias, with_bias);
  check_emulated_passes(random, with_mask, with_mask);

  auto const d_out = random_d_out(random, with_mask);
  for (auto const& problem : {with_bias, with_mask}) {
    auto const tiles  = backward_tiles(problem, true);
    auto const& shape = KA::Impl::mma_backward_shapes<TestType>[tiles.tile[0].shape];
    REQUIRE(shape.turns);
    REQUIRE(shape.groups == (head_dim == 256));
    require_backward(shape, emulate_backward<Kokkos::LayoutRight>(problem, d_out, tiles.tile[0]), problem, d_out);
  }
}

/// A tile's sums are stored, or added up along either side.
TEMPLATE_TEST_CASE("whatever dimensions a bias broadcasts in the emulated mma engine", "[mma][emulation]", MMA_TYPES) {
  int const broadcast = GENERATE(range(0, 16));
  CAPTURE(broadcast);
  auto const extent = [&](int d, int n) { return (broadcast >> d & 1) != 0 ? 1 : n; };
  Random random(544);
  auto problem           = random_problem<TestType>(random, {2, 2, 1, 90, 70, 24, 20});
  problem.options.bias   = random.tensor<TestType>(extent(0, 2), extent(1, 2), extent(2, 90), extent(3, 70));
  problem.options.causal = broadcast % 3 == 0;
  auto const d_out       = random_d_out(random, problem);
  auto const tile        = KA::Impl::mma_bias_tile<TestType>(backward_tiles(problem));
  REQUIRE(tile.shape >= 0);
  auto const& shape = KA::Impl::mma_backward_shapes<TestType>[tile.shape];
  auto const found  = emulate_backward<Kokkos::LayoutRight>(problem, d_out, tile);
  require_backward(shape, found, problem, d_out);
  Schedule const few{Order::last_ahead, 3};
  require_same_bits(emulate_backward<Kokkos::LayoutRight>(problem, d_out, tile, few).bias, found.bias);
}

TEMPLATE_TEST_CASE("emulated mma copies of rows that do not lie in packs of 16 bytes", "[mma][emulation]", MMA_TYPES) {
  int const head_dim = GENERATE(33, 34);
  bool const strided = GENERATE(false, true);
  CAPTURE(head_dim, strided);
  Random random(541);
  auto problem         = random_problem<TestType>(random, {1, 2, 2, 70, 75, head_dim, head_dim});
  problem.options.bias = random.tensor<TestType>(1, 1, 70, 75);
  if (strided)
    check_emulated_passes<Kokkos::LayoutStride>(random, problem, problem);
  else
    check_emulated_passes(random, problem, problem);
}

/// Packed sequences are the blocks of a mask.
TEMPLATE_TEST_CASE("packed sequences in the emulated mma engine", "[mma][emulation]", MMA_TYPES) {
  bool const causal = GENERATE(false, true);
  CAPTURE(causal);
  Random random(542);
  auto packed = random_problem<TestType>(random, {1, 2, 1, 190, 160, 24, 40}), masked = packed;
  KA::index_t const q_begin[] = {3, 43, 43, 183}, k_begin[] = {0, 50, 80, 157};
  int const sequences = 3;
  Kokkos::View<KA::index_t*, Kokkos::HostSpace> const q_offsets("offsets", sequences + 1),
      k_offsets("offsets", sequences + 1);
  HostTensor<bool> const mask("mask", 1, 1, 190, 160);
  for (int n = 0; n <= sequences; ++n) {
    q_offsets(n) = q_begin[n];
    k_offsets(n) = k_begin[n];
    if (n == sequences) continue;
    KA::index_t const q_len = q_begin[n + 1] - q_begin[n], k_len = k_begin[n + 1] - k_begin[n];
    for_each_index(1, 1, q_len, k_len, [&](auto b, auto h, auto i, auto j) {
      mask(b, h, q_begin[n] + i, k_begin[n] + j) = !causal || KA::index_t(j) <= KA::index_t(i) + k_len - q_len;
    });
  }
  packed.options.bias = masked.options.bias = random.tensor<TestType>(1, causal ? 1 : 2, 190, 160);
  packed.options.causal                     = causal;
  packed.options.q_offsets                  = q_offsets;
  packed.options.k_offsets                  = k_offsets;
  masked.options.mask                       = mask;
  check_emulated_passes(random, packed, masked);

  auto const flags    = random.flags(1, 1, 190, 160, 0.7);
  packed.options.mask = flags;
  packed.options.bias = masked.options.bias = {};
  for_each_index(1, 1, 190, 160, [&](auto b, auto h, auto i, auto j) { mask(b, h, i, j) &= flags(b, h, i, j); });
  check_emulated_passes(random, packed, masked);
}

/// As in packed calls: all kernels are launched, and a sequence's own length tells which of them takes it.
TEMPLATE_TEST_CASE("short and long sequences side by side in the emulated mma engine", "[mma][emulation]", MMA_TYPES) {
  Random random(545);
  auto packed = random_problem<TestType>(random, {1, 2, 1, 190, 160, 24, 32});
  Kokkos::View<KA::index_t*, Kokkos::HostSpace> const q_offsets("offsets", 5), k_offsets("offsets", 5);
  // Lengths 20 and 30, 110 and 40, 10 and 70, 40 and 15.
  KA::index_t const q_begin[] = {3, 23, 133, 143, 183}, k_begin[] = {5, 35, 75, 145, 160};
  for (int n = 0; n < 5; ++n) {
    q_offsets(n) = q_begin[n];
    k_offsets(n) = k_begin[n];
  }
  packed.options.causal    = true;
  packed.options.q_offsets = q_offsets;
  packed.options.k_offsets = k_offsets;
  auto const d_out         = random_d_out(random, packed);
  std::vector<MmaBackwardTile> tiles;
  auto const add = [&](KA::Impl::MmaBackwardTiles const& some, MmaLengths const& lengths) {
    for (int n = 0; n < some.count; ++n) {
      tiles.push_back(some.tile[n]);
      tiles.back().lengths = lengths;
    }
  };
  add(backward_tiles(packed, all_lengths(packed)[2]), {50, 1000});
  std::size_t const in_turns = tiles.size();
  add(backward_tiles(packed, all_lengths(packed)[0]), {0, 49});
  auto const found = emulate_backward<Kokkos::LayoutRight>(packed, d_out, tiles);
  // What each kind gives alone.
  auto const alone = [&](std::size_t begin, std::size_t end) {
    std::vector<MmaBackwardTile> some(tiles.begin() + begin, tiles.begin() + end);
    for (MmaBackwardTile& tile : some) tile.lengths = {};
    return emulate_backward<Kokkos::LayoutRight>(packed, d_out, some);
  };
  auto const of_long = alone(0, in_turns), of_short = alone(in_turns, tiles.size());
  auto const compare = [&](auto const& result, auto const& a, auto const& b, KA::index_t const(&begin)[5],
                           bool is_gradient = true) {
    for_each_index(1, result.extent(1), result.extent(2), result.extent(3), [&](auto, auto h, auto i, auto d) {
      int n = -1;
      while (n < 4 && KA::index_t(i) >= begin[n + 1]) ++n;
      bool const is_short = n == 0 || n == 3;
      CAPTURE(n, h, i, d);
      if (n >= 0 && n < 4) REQUIRE(double(result(0, h, i, d)) == double((is_short ? b : a)(0, h, i, d)));
      if (is_gradient && (n < 0 || n == 4)) REQUIRE(double(result(0, h, i, d)) == 0);
    });
  };
  compare(found.q, of_long.q, of_short.q, q_begin);
  compare(found.k, of_long.k, of_short.k, k_begin);
  compare(found.v, of_long.v, of_short.v, k_begin);

  auto const tile_of = [&](MmaLengths const& chosen_for, MmaLengths const& taken) {
    auto query     = tile_query(packed);
    query.lengths  = chosen_for;
    MmaTile result = KA::Impl::choose_mma_tile<TestType>(query);
    result.lengths = taken;
    return result;
  };
  KA::index_t const wide = KA::Impl::shortest_wide_mma_tiles;
  auto const out_of      = [&](MmaLengths const& of_long, MmaLengths const& of_short) {
    return emulate_forward<Kokkos::LayoutRight>(
        packed, std::vector{tile_of({wide, wide}, of_long), tile_of({wide - 1, wide - 1}, of_short)});
  };
  MmaLengths const all, none{1, 0};
  auto const outputs = out_of({50, 1000}, {0, 49}).out;
  compare(outputs, out_of(all, none).out, out_of(none, all).out, q_begin, false);
}

TEMPLATE_TEST_CASE("emulated mma teams that take several tiles", "[mma][emulation]", MMA_TYPES) {
  bool const plain = GENERATE(false, true);
  CAPTURE(plain);
  Random random(543);
  auto problem           = random_problem<TestType>(random, {1, 2, 2, 140, 150, 24, plain ? 40 : 35});
  problem.options.causal = true;
  auto const d_out       = random_d_out(random, problem);
  MmaTile const tile     = KA::Impl::choose_mma_tile<TestType>(tile_query(problem));
  auto const tiles       = backward_tiles(problem, plain, plain);
  using Layout           = Kokkos::LayoutRight;
  Schedule const few{Order::in_turns, 3};
  auto const found = emulate_forward<Layout>(problem, tile, few), expected = emulate_forward<Layout>(problem, tile);
  require_same_bits(found.out, expected.out);
  require_same_bits(found.lse, expected.lse);
  for (int n = 0; n < tiles.count; ++n) {
    auto const a      = emulate_backward<Layout>(problem, d_out, tiles.tile[n], few),
               b      = emulate_backward<Layout>(problem, d_out, tiles.tile[n]);
    auto const& shape = KA::Impl::mma_backward_shapes<TestType>[tiles.tile[n].shape];
    if (shape.computes_queries()) require_same_bits(a.q, b.q);
    if (shape.computes_keys()) require_same_bits(a.k, b.k);
    if (shape.computes_values()) require_same_bits(a.v, b.v);
  }
}

TEST_CASE("rows of very different magnitudes in the emulated mma engine", "[mma][emulation]") {
  int const n = GENERATE(range(0, extremes));
  CAPTURE(n);
  auto const p     = extreme_problem(static_cast<Extreme>(n));
  using Layout     = Kokkos::LayoutRight;
  auto const query = tile_query(p.problem);
  check_extreme_forward(p.problem, [&](Problem<float> const& problem) {
    return emulate_forward<Layout>(problem, KA::Impl::choose_mma_tile<float>(query));
  });
  auto const tiles = backward_tiles(p.problem);
  for (int t = 0; t < tiles.count; ++t) {
    auto const& shape = KA::Impl::mma_backward_shapes<float>[tiles.tile[t].shape];
    require_extreme_gradients(emulate_backward<Layout>(p.problem, p.d_out, tiles.tile[t]), p, shape.computes_queries(),
                              shape.computes_keys(), shape.computes_values());
  }
}

TEST_CASE("infinities in the emulated mma engine", "[mma][emulation]") {
  check_infinities([](Problem<float> const& p) {
    return emulate_forward<Kokkos::LayoutRight>(p, KA::Impl::choose_mma_tile<float>(tile_query(p)));
  });
}

}  // namespace Test
