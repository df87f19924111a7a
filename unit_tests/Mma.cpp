// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Extremes.hpp"
#include "UserFunctors.hpp"

#include <KokkosAttention_MmaCopy.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

/// \file
/// What is particular to the mma engine: its tiles, the head dimensions that it pads, rows that cannot be copied 16
/// bytes at a time. Options are tested where those of the other engines are.

namespace Test {

using KA::Impl::choose_mma_backward_tiles;
using KA::Impl::choose_mma_tile;
using KA::Impl::choose_mma_tiles;
using KA::Impl::MmaBackwardTiles;
using KA::Impl::MmaTile;

#define MMA_TYPES double, float, KA::half_t, KA::bhalf_t

// TeamPolicy::scratch_size_max, less what alignment takes.
constexpr std::size_t h100_scratch = 224104, a100_scratch = 158568, old_kokkos_scratch = 40808;

/// Whether calls on the default space reach the engine.
bool device_has_mma() { return KA::Impl::device_has_mma(Space()); }

TEMPLATE_TEST_CASE("mma tiles", "[mma][tiles]", MMA_TYPES) {
  int const head_dim = GENERATE(1, 8, 31, 64, 65, 100, 128, 129, 200, 256);
  CAPTURE(head_dim);
  auto const choose  = [&](std::size_t scratch) { return choose_mma_tile<TestType>({head_dim, head_dim, scratch}); };
  MmaTile const tile = choose(h100_scratch);
  REQUIRE(tile.shape >= 0);
  KA::Impl::MmaShape const& shape = KA::Impl::mma_shapes<TestType>[tile.shape];
  REQUIRE(tile.scratch_bytes * shape.teams <= h100_scratch);
  REQUIRE(shape.head_columns >= head_dim);
  REQUIRE(tile.value_parts * shape.value_columns >= head_dim);
  REQUIRE((tile.value_parts - 1) * shape.value_columns < head_dim);
  REQUIRE(tile.queries == 16 * shape.row_blocks * tile.team_size);
  REQUIRE(tile.keys % 4 == 0);  // whose weights are dropped in quads
  // Where Kokkos has the team scratch of old, wider tiles do not fit.
  MmaTile const small = choose(old_kokkos_scratch);
  REQUIRE((small.shape >= 0) == (head_dim <= 64));
  REQUIRE(small.scratch_bytes <= old_kokkos_scratch);
}

TEMPLATE_TEST_CASE("mma backward tiles", "[mma][tiles]", MMA_TYPES) {
  int const head_dim = GENERATE(1, 8, 31, 64, 65, 100, 128, 129, 200, 256);
  bool const dq = GENERATE(false, true), dk = GENERATE(false, true), dv = GENERATE(false, true),
             dbias = GENERATE(false, true);
  CAPTURE(head_dim, dq, dk, dv, dbias);
  MmaBackwardTiles const tiles =
      choose_mma_backward_tiles<TestType>({head_dim, head_dim, h100_scratch}, dq, dk, dv, dbias);
  REQUIRE((tiles.count > 0) == (dq || dk || dv || dbias));
  REQUIRE((KA::Impl::mma_bias_tile<TestType>(tiles).shape >= 0) == dbias);
  bool has_dq = false, has_dk = false, has_dv = false;
  for (int n = 0; n < tiles.count; ++n) {
    auto const& tile  = tiles.tile[n];
    auto const& shape = KA::Impl::mma_backward_shapes<TestType>[tile.shape];
    REQUIRE(tile.scratch_bytes * shape.teams <= h100_scratch);
    REQUIRE(shape.head_columns >= head_dim);
    if (!shape.computes_bias()) REQUIRE(tile.parts * std::max(shape.first_columns, shape.second_columns) >= head_dim);
    REQUIRE(tile.columns % 8 == 0);
    REQUIRE(tile.rows == 16 * shape.row_blocks * tile.team_size / shape.sharing);
    REQUIRE((!shape.turns || (dq && dk && dv)));
    has_dq = has_dq || shape.computes_queries();
    has_dk = has_dk || shape.computes_keys();
    has_dv = has_dv || shape.computes_values();
  }
  REQUIRE((has_dq || !dq));
  REQUIRE((has_dk || !dk));
  REQUIRE((has_dv || !dv));
}

/// A length chooses a forward tile only where results do not depend on it.
TEMPLATE_TEST_CASE("mma tiles of short sequences have as many keys as others", "[mma][tiles]", MMA_TYPES) {
  int const head_dim        = GENERATE(1, 32, 33, 64, 65, 256);
  std::size_t const scratch = GENERATE(h100_scratch, a100_scratch, old_kokkos_scratch);
  CAPTURE(head_dim, scratch);
  MmaTile const others = choose_mma_tile<TestType>({head_dim, head_dim, scratch});
  for (KA::index_t const length : {0, 1, 32, 33, 64, 65, 128, 129, KA::Impl::shortest_wide_mma_tiles - 1}) {
    CAPTURE(length);
    MmaTile const tile = choose_mma_tile<TestType>({head_dim, head_dim, scratch, {length, length}});
    REQUIRE((tile.shape >= 0) == (others.shape >= 0));
    REQUIRE(tile.keys == others.keys);
    if (tile.shape >= 0) REQUIRE(tile.scratch_bytes <= scratch);
    if (scratch == h100_scratch && head_dim <= 32 && length <= 64) REQUIRE(tile.queries < others.queries);
    if (tile.shape == others.shape) continue;
    KA::Impl::MmaShape const& shape = KA::Impl::mma_shapes<TestType>[tile.shape];
    REQUIRE(shape.longest >= length);
    REQUIRE(tile.queries < others.queries);
  }
}

TEMPLATE_TEST_CASE("a sequence's mma tile is told by its own length", "[mma][tiles]", MMA_TYPES) {
  int const head_dim        = GENERATE(8, 64, 65, 256);
  std::size_t const scratch = GENERATE(h100_scratch, a100_scratch, old_kokkos_scratch);
  CAPTURE(head_dim, scratch);
  auto const choose = [&](KA::Impl::MmaLengths const& lengths) {
    return choose_mma_tiles<TestType>({head_dim, head_dim, scratch, lengths});
  };
  auto const packed = choose({0, 5000});
  REQUIRE(packed.count == choose({}).count);
  if (scratch == h100_scratch) REQUIRE(packed.count == (sizeof(TestType) == 2 && head_dim <= 64 ? 2 : 1));
  for (KA::index_t const length : {0, 1, 64, 511, 512, 5000}) {
    CAPTURE(length);
    auto const alone = choose({length, length});
    REQUIRE(alone.count == (packed.count > 0));
    KA::Impl::Sequence const sequence{0, 0, 0, length, 0, length / 2};
    int takers = 0;
    for (int n = 0; n < packed.count; ++n) {
      if (!packed.tile[n].takes(sequence)) continue;
      ++takers;
      REQUIRE(packed.tile[n].keys == alone.tile[0].keys);
    }
    REQUIRE(takers == (packed.count > 0));
    if (alone.count > 0) REQUIRE(alone.tile[0].takes(sequence));
  }
}

/// Kernels in turns add up in another order than others.
TEMPLATE_TEST_CASE("the kernels that take a sequence's gradients are told by its own lengths", "[mma][tiles]",
                   MMA_TYPES) {
  int const head_dim = GENERATE(8, 64, 128, 256);
  bool const all = GENERATE(false, true), bias = GENERATE(false, true);
  CAPTURE(head_dim, all, bias);
  auto const choose = [&](KA::Impl::MmaLengths const& lengths) {
    return choose_mma_backward_tiles<TestType>({head_dim, head_dim, h100_scratch, lengths, bias}, true, all, all, bias);
  };
  MmaBackwardTiles const packed = choose({0, 5000});
  for (int const length : {0, 1, 64, 65, 511, 512, 5000}) {
    MmaBackwardTiles const alone = choose({length, length});
    for (bool const of_queries : {true, false}) {
      KA::Impl::Sequence const sequence{0, 0, 0, of_queries ? length : length / 2, 0, of_queries ? length / 2 : length};
      for (int gradient = 0; gradient < (all ? 3 : 1); ++gradient) {
        CAPTURE(length, of_queries, gradient);
        auto const taken = [&](MmaBackwardTiles const& tiles) {
          std::vector<KA::Impl::MmaBackwardShape> shapes;
          for (int n = 0; n < tiles.count; ++n) {
            auto const& shape     = KA::Impl::mma_backward_shapes<TestType>[tiles.tile[n].shape];
            bool const computes[] = {shape.computes_queries(), shape.computes_keys(), shape.computes_values()};
            if (computes[gradient] && tiles.tile[n].takes(sequence)) shapes.push_back(shape);
          }
          REQUIRE(shapes.size() == 1);
          return shapes[0];
        };
        auto const a = taken(packed), b = taken(alone);
        REQUIRE(a.turns == b.turns);
        REQUIRE(a.columns == b.columns);
      }
    }
  }
}

TEST_CASE("packs of swapped rows have places of their own, and those of eight rows hit all banks", "[mma]") {
  using Number     = KA::bhalf_t;
  int const stride = GENERATE(64, 256);
  CAPTURE(stride);
  auto const pack_of = [&](int row, int column) {
    int const place = row * stride + (column ^ KA::Impl::swapped_columns<Number>(row, stride));
    REQUIRE(place % 8 == column % 8);
    return place / 8;
  };
  std::set<int> packs;
  for (int row = 0; row < 16; ++row)
    for (int column = 0; column < stride; column += 8) packs.insert(pack_of(row, column));
  REQUIRE(packs.size() == std::size_t(16 * stride / 8));
  REQUIRE(*packs.rbegin() == 16 * stride / 8 - 1);
  for (int first : {0, 8})
    for (int column = 0; column < stride; column += 8) {
      std::set<int> banks;  // of 16 bytes
      for (int row = first; row < first + 8; ++row) banks.insert(pack_of(row, column) % 8);
      REQUIRE(banks.size() == 8);
    }
  REQUIRE(KA::Impl::swapped_columns<Number>(3, stride + 8) == 0);
  REQUIRE(KA::Impl::swapped_columns<double>(3, stride) == 0);
}

TEMPLATE_TEST_CASE("plain calls have backward kernels of their own in 16 bits", "[mma][tiles]", MMA_TYPES) {
  int const head_dim = GENERATE(8, 64, 128, 256);
  CAPTURE(head_dim);
  for (bool const plain : {false, true}) {
    KA::Impl::MmaTileQuery query{head_dim, head_dim, h100_scratch, {600, 600}};
    query.plain      = plain;
    auto const tiles = choose_mma_backward_tiles<TestType>(query, true, true, true, false);
    REQUIRE(tiles.count > 0);
    REQUIRE(KA::Impl::mma_backward_shapes<TestType>[tiles.tile[0].shape].plain == (plain && sizeof(TestType) == 2));
  }
}

TEST_CASE("which backward calls are plain", "[mma]") {
  using T             = KA::bhalf_t;
  auto const is_plain = [](int head_dim, KA::Options<T, MemorySpace> const& options, auto const&... functors) {
    DeviceTensor<T, Kokkos::LayoutRight> const q("q", 1, 1, 5, head_dim), k("k", 1, 1, 5, head_dim),
        v("v", 1, 1, 5, head_dim), out("out", 1, 1, 5, head_dim);
    Kokkos::View<float***, MemorySpace> const lse("lse", 1, 1, 5);
    KA::Impl::ArgumentChecker const check("backward");
    return KA::Impl::checked_backward_arguments(Space(), check, out, q, k, v, out, lse, {}, options, functors...)
        .first.plain;
  };
  REQUIRE(is_plain(8, {}));
  REQUIRE(is_plain(8, {.causal = true, .window = {3, 0}}));
  REQUIRE(!is_plain(7, {}));
  REQUIRE(!is_plain(8, {.softcap = 2.}));
  REQUIRE(!is_plain(8, {.dropout = {.probability = 0.5}}));
  REQUIRE(!is_plain(8, {.mask = Kokkos::View<bool****, MemorySpace>("mask", 1, 1, 5, 5)}));
}

TEMPLATE_TEST_CASE("mma tiles where scratch is for fewer teams than wanted, or for none", "[mma][tiles]", MMA_TYPES) {
  for (std::size_t const scratch : {a100_scratch, old_kokkos_scratch, std::size_t(1000)}) {
    for (int const head_dim : {8, 64, 128, 256}) {
      CAPTURE(scratch, head_dim);
      MmaTile const tile = choose_mma_tile<TestType>({head_dim, head_dim, scratch});
      MmaBackwardTiles const tiles =
          choose_mma_backward_tiles<TestType>({head_dim, head_dim, scratch}, true, true, true, true);
      if (tile.shape >= 0) REQUIRE(tile.scratch_bytes <= scratch);
      for (int n = 0; n < tiles.count; ++n) REQUIRE(tiles.tile[n].scratch_bytes <= scratch);
      if (scratch == a100_scratch && head_dim <= 64) REQUIRE((tile.shape >= 0 && tiles.count > 0));
      if (scratch == a100_scratch && sizeof(TestType) == 2) REQUIRE((tile.shape >= 0 && tiles.count > 0));
      if (scratch == 1000) REQUIRE((tile.shape < 0 && tiles.count == 0));
      // The gradient of a bias is taken by the portable engine where its tile alone does not fit.
      bool const with_bias = KA::Impl::mma_bias_tile<TestType>(tiles).shape >= 0;
      REQUIRE((!with_bias || tiles.count > 1));
      if (sizeof(TestType) == 2) REQUIRE(with_bias == (tiles.count > 0));
    }
  }
}

TEMPLATE_TEST_CASE("mma tiles end at a head dimension of 256", "[mma][tiles]", MMA_TYPES) {
  bool const of_values = GENERATE(false, true);
  int const head_dim   = of_values ? 8 : 257;
  int const value_dim  = of_values ? 257 : 8;
  REQUIRE(choose_mma_tile<TestType>({head_dim, value_dim, h100_scratch}).shape < 0);
  REQUIRE(choose_mma_backward_tiles<TestType>({head_dim, value_dim, h100_scratch}, true, true, true, true).count == 0);
  // No values to sum: still a tile, for the LSE.
  REQUIRE(choose_mma_tile<TestType>({8, 0, h100_scratch}).value_parts == 1);
}

TEST_CASE("mma sequences end where positions of 32 bits do", "[mma][tiles]") {
  KA::index_t const longest = KA::Impl::longest_mma_sequence;
  KA::Impl::AttentionArguments<float> arguments{};
  arguments.q_len = arguments.k_len = longest;
  REQUIRE(KA::Impl::takes_lengths(arguments));
  arguments.k_len = longest + 1;
  REQUIRE(!KA::Impl::takes_lengths(arguments));
  arguments.q_len = longest + 1;
  arguments.k_len = 1;
  REQUIRE(!KA::Impl::takes_lengths(arguments));
}

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
  KA::Impl::mma_backward(space, backward, scores, mask, dropout, tiles, workspace.data(), most_teams);
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

/// Keys and values split ahead or in each tile's team.
Outputs<float> run_split(Problem<float> const& problem, bool ahead) {
  using Layout = Kokkos::LayoutRight;
  auto const q = to_device<Layout>(problem.q), k = to_device<Layout>(problem.k), v = to_device<Layout>(problem.v);
  auto const out = poisoned<float, Layout>(q.extent(0), q.extent(1), q.extent(2), v.extent(3));
  auto const lse = poisoned<float, Layout>(q.extent(0), q.extent(1), q.extent(2), 1);
  Space const space;
  if constexpr (KA::Impl::compiled_for_mma<Space>) {
    auto const options   = to_device<Layout>(problem.options);
    auto const arguments = KA::Impl::make_forward_arguments(
        q, k, v, out, Kokkos::subview(lse, Kokkos::ALL, Kokkos::ALL, Kokkos::ALL, 0), options);
    auto tiles                 = KA::Impl::mma_tiles(space, arguments);
    tiles.tile[0].splits_ahead = ahead;
    Kokkos::View<std::byte*, MemorySpace> const workspace("workspace",
                                                          KA::Impl::mma_forward_workspace(arguments, tiles));
    Kokkos::deep_copy(workspace, std::byte(0xff));  // as it may be
    KA::Impl::MmaForwardInstance<Space, float>::run(space, arguments, KA::Impl::make_scores(options),
                                                    KA::Impl::make_mask(options), {}, tiles, workspace.data());
  }
  return {to_host(out), to_host(lse)};
}

TEST_CASE("keys and values that are split ahead give the bits of those that teams split", "[mma]") {
  if (!device_has_mma()) SKIP("no device with matrix instructions");
  auto const [head_dim, value_dim] = GENERATE(table<int, int>({{20, 64}, {64, 64}, {100, 128}, {128, 72}, {256, 200}}));
  bool const causal                = GENERATE(false, true);
  CAPTURE(head_dim, value_dim, causal);
  Random random(206);
  auto problem           = random_problem<float>(random, {2, 4, 2, 200, 333, head_dim, value_dim});
  problem.options.causal = causal;
  auto const found = run_split(problem, true), expected = run_split(problem, false);
  require_same_bits(found.out, expected.out);
  require_same_bits(found.lse, expected.lse);
}

TEST_CASE("which calls split keys and values ahead", "[mma]") {
  Space const space;
  auto const splits = [&](Shape const& s, KA::Options<float, MemorySpace> const& options = {}) {
    DeviceTensor<float, Kokkos::LayoutRight> const q("q", s.batch, s.heads, s.q_len, s.head_dim),
        k("k", s.batch, s.kv_heads, s.k_len, s.head_dim), v("v", s.batch, s.kv_heads, s.k_len, s.value_dim),
        out("out", s.batch, s.heads, s.q_len, s.value_dim);
    auto const call  = KA::Impl::checked_forward_arguments(space, KA::Impl::ArgumentChecker("test"), q, k, v, out,
                                                           KA::Impl::NoLse{}, options);
    auto const tiles = choose_mma_tiles<float>({s.head_dim, s.value_dim, h100_scratch, {s.q_len, s.q_len}});
    bool const found = KA::Impl::splits_ahead(call.first, tiles);
    if (device_has_mma()) {
      std::size_t const bytes = KA::workspace_size(space, q, k, v, out, options);
      REQUIRE((bytes > 0) == found);
      REQUIRE((KA::describe(space, q, k, v, out, options).find("keys and values: split once") != std::string::npos) ==
              found);
      if (found) REQUIRE(bytes >= sizeof(float) * s.batch * s.kv_heads * s.k_len * (s.head_dim + s.value_dim));
    }
    return found;
  };
  REQUIRE(splits({1, 1, 1, 2048, 40, 64, 64}));
  REQUIRE(splits({1, 8, 1, 256, 40, 32, 64}));
  REQUIRE(splits({2, 2, 2, 2048, 40, 100, 128}));
  REQUIRE_FALSE(splits({1, 1, 1, 2047, 40, 64, 64}));
  REQUIRE_FALSE(splits({1, 32, 1, 64, 40, 64, 64}));                     // teams of few warps
  REQUIRE_FALSE(splits({1, 1, 1, 2048, 40, 64, 200}));                   // outputs in parts
  REQUIRE_FALSE(splits({1, 1, 1, 2048, 40, 28, 64}));                    // padded to more than twice the columns
  REQUIRE_FALSE(splits({1, 1, 1, 2048, 40, 64, 64}, {.softcap = 10.}));  // not plain
  REQUIRE_FALSE(splits({1, 1, 1, 2048, 40, 63, 64}));                    // rows that are not copied in packs
  KA::Impl::Tensor<float const> const shared{nullptr, {0, 640, 64, 1}};
  REQUIRE(KA::Impl::broadcasts(shared, 2, 1));
  REQUIRE_FALSE(KA::Impl::broadcasts(shared, 1, 2));
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

TEST_CASE("forward in float32 splits keys and values in the workspace that it is given", "[mma]") {
  if (!device_has_mma()) SKIP("no device with matrix instructions");
  bool const packed = GENERATE(false, true), scored = GENERATE(false, true);
  CAPTURE(packed, scored);
  Random random(207);
  auto problem           = random_problem<float>(random, {1, 16, 1, 260, 400, 64, 64});
  problem.options.causal = true;
  if (packed) {
    problem.options.q_offsets = host_offsets({0, 130, 260});
    problem.options.k_offsets = host_offsets({0, 180, 400});
  }
  std::size_t const bytes = sizeof(float) * 400 * 2 * (64 + 4) + 1024;
  auto const check        = [&](auto const&... functors) {
    auto const given = run_with_workspace(problem, bytes, functors...),
               none  = run_with_workspace(problem, 0, functors...),
               small = run_with_workspace(problem, 100, functors...);
    REQUIRE(given.second);
    REQUIRE_FALSE(small.second);
    for (auto const& found : {given, small}) {
      require_same_bits(found.first.out, none.first.out);
      require_same_bits(found.first.lse, none.first.lse);
    }
  };
  if (scored) return check(Ripple<float>());
  check();
  if (!packed) check_forward(problem);
}

TEMPLATE_TEST_CASE("scales of any sign", "[mma]", MMA_TYPES) {
  Random random(205);
  auto problem          = random_problem<TestType>(random, {1, 2, 2, 70, 150, 24, 24});
  problem.options.scale = GENERATE(-0.3, -0.25, 0., 0.5);
  if (GENERATE(false, true)) problem.options.causal = true;
  check_passes(random, problem);
}

TEST_CASE("a scale is a power of two times the rest of it", "[mma]") {
  double const infinity = std::numeric_limits<double>::infinity();
  double const factor = GENERATE_COPY(1., 0.125, 0.3, -0.25, -7., 1e300, 0x1p-1022, 0x1p-1030, 0., -infinity, infinity);
  CAPTURE(factor);
  KA::Impl::FactorParts const parts(factor);
  int exponent = 0;
  REQUIRE(std::frexp(parts.power, &exponent) == 0.5);
  REQUIRE(parts.power * parts.rest == factor);
  if (std::isnormal(factor)) {
    REQUIRE(std::abs(parts.rest) >= 1);
    REQUIRE(std::abs(parts.rest) < 2);
  }
  REQUIRE(parts.is_power() == (factor == parts.power));
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
