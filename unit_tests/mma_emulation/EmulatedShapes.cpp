// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "EmulatedKernels.hpp"
#include "../Extremes.hpp"

#include <KokkosAttention_MmaBackwardTiles.hpp>
#include <KokkosAttention_MmaQueryTurns.hpp>
#include <KokkosAttention_MmaTiles.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

/// \file
/// The mma engine's kernels, every shape of them, on emulated teams: what a GPU computes, where there is none.

namespace Test {

using KA::Impl::MmaBackwardTile;
using KA::Impl::MmaTile;
using WarpEmulation::Order;

#define MMA_TYPES double, float, KA::half_t, KA::bhalf_t

// TeamPolicy::scratch_size_max on an H100, less what alignment takes.
constexpr std::size_t h100_scratch = 224104;

template <class T>
KA::Impl::MmaTileQuery tile_query(Problem<T> const& p) {
  return {p.head_dim(), p.value_dim(), h100_scratch};
}

/// A workspace as it may be.
inline Kokkos::View<std::byte*, Kokkos::HostSpace> used_workspace(KA::Impl::WorkspaceCarver const& count) {
  Kokkos::View<std::byte*, Kokkos::HostSpace> const workspace("workspace", count.bytes());
  std::fill_n(workspace.data(), workspace.size(), std::byte(0xff));
  return workspace;
}

/// What wrote where it should not is found by the NaN around results.
template <class Layout, class T>
Outputs<T> emulate_forward(Problem<T> const& p, std::vector<MmaTile> const& tiles, Schedule const& schedule = {}) {
  auto const q = to_device<Layout>(p.q), k = to_device<Layout>(p.k), v = to_device<Layout>(p.v),
             out       = poisoned<T, Layout>(p.batch(), p.heads(), p.q_len(), p.value_dim());
  auto const lse4      = poisoned<KA::accumulation_t<T>, Layout>(p.batch(), p.heads(), p.q_len(), 1);
  auto const lse       = Kokkos::subview(lse4, Kokkos::ALL, Kokkos::ALL, Kokkos::ALL, 0);
  auto const arguments = KA::Impl::make_forward_arguments(q, k, v, out, lse, p.options);
  for (MmaTile const& tile : tiles) EmulatedKernels<T>::forward(arguments, p.options, tile, schedule);
  require_gaps_untouched(out);
  return {to_host(out), to_host(lse4)};
}
template <class Layout, class T>
Outputs<T> emulate_forward(Problem<T> const& p, MmaTile const& tile, Schedule const& schedule = {}) {
  return emulate_forward<Layout>(p, std::vector{tile}, schedule);
}

using KA::Impl::MmaLengths;

/// Lengths for which kernels are chosen: those of teams of few warps, others for short sequences, and those in turns.
template <class T>
std::array<MmaLengths, 3> all_lengths(Problem<T> const& p) {
  KA::index_t const limit = KA::Impl::shortest_mma_turns<T>(tile_query(p));
  return {{{0, Kokkos::min(limit - 1, KA::index_t(64))}, {0, limit - 1}, {limit, KA::Impl::longest_mma_sequence}}};
}

/// The kernels that compute a problem's gradients on an H100 as if its sequences were of some lengths. All take it.
template <class T>
KA::Impl::MmaBackwardTiles backward_tiles(Problem<T> const& p, MmaLengths const& lengths, bool plain = false) {
  auto query    = tile_query(p);
  query.lengths = lengths;
  query.plain   = plain;
  auto tiles    = KA::Impl::choose_mma_backward_tiles<T>(query, true, true, true, p.options.bias.data() != nullptr);
  for (int n = 0; n < tiles.count; ++n) tiles.tile[n].lengths = {};
  return tiles;
}
template <class T>
KA::Impl::MmaBackwardTiles backward_tiles(Problem<T> const& p, bool plain = false) {
  return backward_tiles(p, all_lengths(p)[2], plain);
}

/// \param taken as kernels take them, see MmaStatistics
template <class T>
void emulate_gradients_of_sides(KA::Impl::BackwardArguments<T> const& arguments,
                                KA::Impl::BackwardArguments<T> const& taken,
                                KA::Impl::Tensor<KA::accumulation_t<T> const> const& delta, Problem<T> const& p,
                                MmaBackwardTile const& tile, Schedule const& schedule) {
  bool const in_turns = KA::Impl::mma_backward_shapes<T>[tile.shape].turns;
  KA::Impl::WorkspaceCarver count(nullptr);
  KA::Impl::MmaTurnArrays<T>(count, arguments, tile);
  auto const workspace = used_workspace(count);
  KA::Impl::WorkspaceCarver carver(workspace.data());
  KA::Impl::MmaTurnArrays<T> turns(carver, arguments, tile);
  turns.heads_in_turns = 3;
  if (in_turns) KA::Impl::begin_turns(Space(), arguments, turns);
  Kokkos::fence();
  EmulatedKernels<T>::backward({taken, delta, tile, turns}, p.options, schedule);
  if (in_turns) KA::Impl::end_turns(Space(), arguments, turns);
  Kokkos::fence();
}

template <class T>
void emulate_bias_gradient(KA::Impl::BackwardArguments<T> const& arguments,
                           KA::Impl::Tensor<KA::accumulation_t<T> const> const& delta, Problem<T> const& p,
                           MmaBackwardTile const& tile, Schedule const& schedule) {
  using Arrays = KA::Impl::BackwardArrays<KA::accumulation_t<T>>;
  KA::Impl::BiasGradientPlan const plan(arguments, tile.rows, tile.columns);
  KA::Impl::WorkspaceCarver count(nullptr);
  Arrays(count, arguments, plan);
  auto const workspace = used_workspace(count);
  KA::Impl::WorkspaceCarver carver(workspace.data());
  Arrays const arrays(carver, arguments, plan);
  KA::Impl::clear_bias_gradient(Space(), arguments, plan);
  Kokkos::fence();
  EmulatedKernels<T>::bias_gradient({arguments, delta, tile}, plan, arrays, p.options, schedule);
  KA::Impl::add_bias_gradient_parts(Space(), arguments, plan, arrays.partial, arrays.part_stride);
  Kokkos::fence();
}

/// The gradients that tiles' kernels compute, one after the other; the others are NaN.
template <class Layout, class T>
GradientResult<T> emulate_backward(Problem<T> const& p, HostTensor<T> const& d_out_on_host,
                                   std::vector<MmaBackwardTile> const& tiles, Schedule const& schedule = {}) {
  using Accumulation = KA::accumulation_t<T>;
  auto const forward = run_forward(p);
  auto const q = to_device<Layout>(p.q), k = to_device<Layout>(p.k), v = to_device<Layout>(p.v),
             out = to_device<Layout>(forward.out), d_out = to_device<Layout>(d_out_on_host);
  auto const lse4 = to_device<Layout>(forward.lse);
  auto const lse  = Kokkos::subview(lse4, Kokkos::ALL, Kokkos::ALL, Kokkos::ALL, 0);
  auto const like = [](auto const& t) {
    return poisoned<T, Layout>(t.extent(0), t.extent(1), t.extent(2), t.extent(3));
  };
  auto const dq = like(p.q), dk = like(p.k), dv = like(p.v), dbias = like(p.options.bias);
  auto const delta         = poisoned<Accumulation, Kokkos::LayoutRight>(p.batch(), p.heads(), p.q_len(), 1);
  auto const delta_of_call = KA::Impl::make_tensor<Accumulation>(delta);
  for (MmaBackwardTile const& tile : tiles) {
    auto const& shape    = KA::Impl::mma_backward_shapes<T>[tile.shape];
    auto const arguments = KA::Impl::make_backward_arguments(
        d_out, q, k, v, out, lse,
        shape.computes_bias() ? KA::Gradients<T, MemorySpace>{.bias = dbias}
                              : KA::Gradients<T, MemorySpace>{.q = dq, .k = dk, .v = dv},
        p.options);
    KA::Impl::WorkspaceCarver count(nullptr);
    KA::Impl::MmaStatistics<T>(count, arguments);
    auto const workspace = used_workspace(count);
    KA::Impl::WorkspaceCarver carver(workspace.data());
    KA::Impl::MmaStatistics<T> const statistics(carver, arguments);
    KA::Impl::compute_statistics(Space(), arguments, delta_of_call, statistics);
    Kokkos::fence();
    auto const taken  = statistics.arguments(arguments);
    auto const deltas = statistics.deltas(delta_of_call.read_only());
    if (shape.computes_bias())
      emulate_bias_gradient(taken, deltas, p, tile, schedule);
    else
      emulate_gradients_of_sides(arguments, taken, deltas, p, tile, schedule);
    if (shape.computes_queries()) require_gaps_untouched(dq);
    if (shape.computes_keys()) require_gaps_untouched(dk);
    if (shape.computes_values()) require_gaps_untouched(dv);
    if (shape.computes_bias()) require_gaps_untouched(dbias);
  }
  return {to_host(dq), to_host(dk), to_host(dv), to_host(dbias)};
}

template <class Layout, class T>
GradientResult<T> emulate_backward(Problem<T> const& p, HostTensor<T> const& d_out, MmaBackwardTile const& tile,
                                   Schedule const& schedule = {}) {
  return emulate_backward<Layout>(p, d_out, std::vector{tile}, schedule);
}

template <class T>
void require_forward(Outputs<T> const& found, Problem<T> const& problem) {
  auto const expected = reference(problem);
  auto const rival    = unfused(problem);
  require_accurate<T>(errors(found.out, expected.out), errors(rival.out, expected.out), expected);
  require_lse<T>(found.lse, expected, rival.lse);
}

/// The gradients that a shape computes.
template <class T>
void require_backward(KA::Impl::MmaBackwardShape const& shape, GradientResult<T> const& found,
                      Problem<T> const& problem, HostTensor<T> const& d_out) {
  auto const expected   = attention_gradients<wide_t<T>>(problem, d_out);
  auto const rival      = attention_gradients<KA::accumulation_t<T>>(problem, d_out, Stored<T>{});
  auto const& magnitude = expected.magnitude;
  if (shape.computes_queries()) require_gradient("dq", found.q, expected.q, rival.q, magnitude.q);
  if (shape.computes_keys()) require_gradient("dk", found.k, expected.k, rival.k, magnitude.k);
  if (shape.computes_values()) require_gradient("dv", found.v, expected.v, rival.v, magnitude.v);
  if (shape.computes_bias()) require_gradient("dbias", found.bias, expected.bias, rival.bias, magnitude.bias);
}

/// Both passes with the tiles that an H100 would take for sequences of some lengths.
/// \param expected the problem that the results are to solve
template <class Layout = Kokkos::LayoutRight, class T>
void check_emulated_passes(Random& random, Problem<T> const& problem, Problem<T> const& expected) {
  auto const d_out = random_d_out(random, problem);
  for (MmaLengths const& lengths : all_lengths(problem)) {
    CAPTURE(lengths.longest);
    auto query    = tile_query(problem);
    query.lengths = lengths;
    require_forward(emulate_forward<Layout>(problem, KA::Impl::choose_mma_tile<T>(query)), expected);
    auto const tiles = backward_tiles(problem, lengths);
    REQUIRE(tiles.count > 0);
    for (int n = 0; n < tiles.count; ++n)
      require_backward(KA::Impl::mma_backward_shapes<T>[tiles.tile[n].shape],
                       emulate_backward<Layout>(problem, d_out, tiles.tile[n]), expected, d_out);
  }
}

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
  int const head_dim = shape.head_columns - (causal ? 24 : 0), value_dim = head_dim - (shape.plain ? 8 : 1) * causal;
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
  auto const tiles       = backward_tiles(problem, plain);
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
