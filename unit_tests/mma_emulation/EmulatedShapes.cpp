// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "EmulatedPasses.hpp"

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>

/// \file
/// Every shape of the mma engine's kernels, on emulated teams.

namespace Test {

// Each with the kernel for plain calls and, as causal rows of values are of an odd length, the other one, if there is
// one; with two tiles of its own rows, or a part of one.

TEMPLATE_TEST_CASE("every forward shape of the mma engine, emulated", "[mma][emulation]", MMA_TYPES) {
  int const number  = GENERATE(range(0, KA::Impl::mma_shape_count<TestType>));
  bool const causal = GENERATE(false, true);
  CAPTURE(number, causal);
  auto const& shape  = KA::Impl::mma_shapes<TestType>[number];
  int const head_dim = shape.head_columns - (causal ? 24 : 0), value_dim = head_dim - causal;
  MmaTile const tile = KA::Impl::lay_out_mma_tile<TestType>({head_dim, value_dim, h100_scratch}, number);
  Random random(500 + number);
  auto problem = random_problem<TestType>(
      random, {1, 2, 1, tile.queries + (causal ? -7 : 9), 2 * tile.keys + 5, head_dim, value_dim});
  problem.options.causal    = causal;
  problem.options.alignment = KA::Alignment::top_left;
  Schedule const schedule{causal ? Order::last_ahead : Order::first_ahead};
  require_forward(emulate_forward<Kokkos::LayoutRight>(problem, tile, schedule), problem);
}

TEMPLATE_TEST_CASE("last tiles of any number of keys in the emulated mma engine", "[mma][emulation]", KA::half_t,
                   KA::bhalf_t) {
  int const head_dim = GENERATE(64, 128), sixths = GENERATE(1, 3, 5);
  CAPTURE(head_dim, sixths);
  auto const length  = KA::Impl::MmaLengths{1000, 1000};
  MmaTile const tile = KA::Impl::choose_mma_tile<TestType>({head_dim, head_dim, h100_scratch, length});
  REQUIRE(tile.keys % 6 == 0);
  Random random(549);
  auto const problem =
      random_problem<TestType>(random, {1, 1, 1, 40, tile.keys * (6 + sixths) / 6 - 1, head_dim, head_dim});
  require_forward(emulate_forward<Kokkos::LayoutRight>(problem, tile), problem);
}

TEMPLATE_TEST_CASE("outputs that the emulated mma engine computes in parts", "[mma][emulation]", MMA_TYPES) {
  Order const order = GENERATE(Order::first_ahead, Order::last_ahead);
  Random random(547);
  auto const problem = random_problem<TestType>(random, {1, 2, 1, 140, 50, 40, 200});
  MmaTile const tile = KA::Impl::choose_mma_tile<TestType>(tile_query(problem));
  REQUIRE(tile.value_parts > 1);
  require_forward(emulate_forward<Kokkos::LayoutRight>(problem, tile, Schedule{order, 5}), problem);
}

TEST_CASE("keys and values that are split ahead give the bits of others in the emulated mma engine",
          "[mma][emulation]") {
  int const number  = GENERATE(range(0, KA::Impl::mma_shape_count<float>));
  bool const causal = GENERATE(false, true);
  CAPTURE(number, causal);
  auto const& shape = KA::Impl::mma_shapes<float>[number];
  if (!KA::Impl::has_split_ahead_kernel(shape)) return;
  int const head_dim = shape.head_columns - (causal ? 24 : 0), value_dim = shape.value_columns - (causal ? 0 : 12);
  MmaTile tile = KA::Impl::lay_out_mma_tile<float>({head_dim, value_dim, h100_scratch}, number);
  Random random(548);
  auto problem           = random_problem<float>(random, {2, 2, 1, 30, 2 * tile.keys + 5, head_dim, value_dim});
  problem.options.causal = causal;
  auto const run         = [&](bool ahead, Order order) {
    tile.splits_ahead = ahead;
    return emulate_forward<Kokkos::LayoutRight>(problem, tile, Schedule{order});
  };
  auto const expected = run(false, Order::in_turns);
  for (Order const order : {Order::first_ahead, Order::last_ahead}) {
    auto const found = run(true, order);
    require_same_bits(found.out, expected.out);
    require_same_bits(found.lse, expected.lse);
  }
}

TEMPLATE_TEST_CASE("teams of few warps give the bits of others in the emulated mma engine", "[mma][emulation]",
                   MMA_TYPES) {
  int const length = GENERATE(30, 64), head_dim = GENERATE(24, 64);
  CAPTURE(length, head_dim);
  Random random(546);
  auto const problem = random_problem<TestType>(random, {1, 2, 1, length, length, head_dim, head_dim});
  auto query         = tile_query(problem);
  auto const others  = KA::Impl::choose_mma_tile<TestType>(query);
  query.lengths      = {length, length};
  auto const few     = KA::Impl::choose_mma_tile<TestType>(query);
  if (head_dim == 24) REQUIRE(few.team_size < others.team_size);
  auto const expected = emulate_forward<Kokkos::LayoutRight>(problem, others),
             found    = emulate_forward<Kokkos::LayoutRight>(problem, few);
  require_same_bits(found.out, expected.out);
  require_same_bits(found.lse, expected.lse);
}

TEMPLATE_TEST_CASE("every backward shape of the mma engine, emulated", "[mma][emulation]", MMA_TYPES) {
  int const number  = GENERATE(range(0, KA::Impl::mma_backward_shape_count<TestType>));
  bool const causal = GENERATE(false, true);
  CAPTURE(number, causal);
  auto const& shape  = KA::Impl::mma_backward_shapes<TestType>[number];
  int const head_dim = shape.head_columns - (causal ? 24 : 0), value_dim = head_dim - (shape.groups ? 8 : 1) * causal;
  MmaBackwardTile const tile =
      KA::Impl::lay_out_mma_backward_tile<TestType>({head_dim, value_dim, h100_scratch}, number);
  bool const of_queries = shape.own == KA::Impl::Side::queries;
  int const own = tile.rows + (causal ? -7 : 9), other = 2 * tile.columns + 5;
  Random random(520 + number);
  auto problem = random_problem<TestType>(
      random, {1, 2, 1, of_queries ? own : other, of_queries ? other : own, head_dim, value_dim});
  problem.options.causal    = causal;
  problem.options.alignment = of_queries ? KA::Alignment::top_left : KA::Alignment::bottom_right;
  if (shape.computes_bias()) problem.options.bias = random.tensor<TestType>(1, 1, problem.q_len(), problem.k_len());
  auto const d_out = random_d_out(random, problem);
  Schedule const schedule{causal ? Order::last_ahead : Order::first_ahead};
  require_backward(shape, emulate_backward<Kokkos::LayoutRight>(problem, d_out, tile, schedule), problem, d_out);
}

/// By kernels half of whose warps have gradients alone.
TEMPLATE_TEST_CASE("gradients through a score function in groups of the emulated mma engine", "[mma][emulation]",
                   KA::half_t, KA::bhalf_t) {
  int const number  = GENERATE(range(0, KA::Impl::mma_backward_shape_count<TestType>));
  bool const causal = GENERATE(false, true);
  CAPTURE(number, causal);
  auto const& shape = KA::Impl::mma_backward_shapes<TestType>[number];
  if (!shape.groups) return;
  int const head_dim = shape.head_columns - (causal ? 24 : 0);
  MmaBackwardTile const tile =
      KA::Impl::lay_out_mma_backward_tile<TestType>({head_dim, head_dim, h100_scratch}, number);
  Random random(551);
  auto problem =
      random_problem<TestType>(random, {2, 2, 1, 2 * tile.columns + 5, tile.rows + 9, head_dim, head_dim}, 0.7);
  problem.options.causal = causal;
  auto const d_out       = random_d_out(random, problem);
  Schedule const schedule{causal ? Order::last_ahead : Order::first_ahead};
  require_backward(shape, emulate_backward<Kokkos::LayoutRight>(problem, d_out, tile, schedule, Incline<float>()),
                   problem, d_out, InclineOnHost());
  require_backward(shape, emulate_backward<Kokkos::LayoutRight>(problem, d_out, tile, schedule, Quadratic<float>()),
                   problem, d_out, QuadraticOnHost());
}

TEST_CASE("queries and dO that are split ahead give the bits of others in the emulated mma engine",
          "[mma][emulation]") {
  int const number  = GENERATE(range(0, KA::Impl::mma_backward_shape_count<float>));
  bool const causal = GENERATE(false, true);
  CAPTURE(number, causal);
  auto const& shape = KA::Impl::mma_backward_shapes<float>[number];
  if (!KA::Impl::has_split_ahead_kernel(shape)) return;
  int const head_dim = shape.head_columns - (causal ? 24 : 0), value_dim = shape.head_columns - (causal ? 0 : 12);
  MmaBackwardTile tile = KA::Impl::lay_out_mma_backward_tile<float>({head_dim, value_dim, h100_scratch}, number);
  Random random(550);
  auto problem = random_problem<float>(random, {2, 2, 1, 2 * tile.columns + 5, tile.rows + 9, head_dim, value_dim});
  problem.options.causal = causal;
  auto const d_out       = random_d_out(random, problem);
  auto const run         = [&](bool ahead, Order order) {
    tile.splits_ahead = ahead;
    return emulate_backward<Kokkos::LayoutRight>(problem, d_out, tile, Schedule{order});
  };
  auto const expected = run(false, Order::in_turns);
  for (Order const order : {Order::first_ahead, Order::last_ahead}) {
    auto const found = run(true, order);
    require_same_bits(found.q, expected.q);
    require_same_bits(found.k, expected.k);
    require_same_bits(found.v, expected.v);
  }
}

}  // namespace Test
