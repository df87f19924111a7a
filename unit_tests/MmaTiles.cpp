// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Forward.hpp"
#include "UserFunctors.hpp"

#include <KokkosAttention_MmaCopy.hpp>
#include <KokkosAttention_MmaTurnArrays.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <vector>

/// \file
/// What is settled before the mma engine's kernels run: their tiles, places in scratch, and which kernels take a call.
/// It needs no GPU.

namespace Test {

using KA::Impl::choose_mma_backward_tiles;
using KA::Impl::choose_mma_tile;
using KA::Impl::choose_mma_tiles;
using KA::Impl::MmaBackwardTiles;
using KA::Impl::MmaTile;

#define MMA_TYPES double, float, KA::half_t, KA::bhalf_t

// TeamPolicy::scratch_size_max, less what alignment takes.
constexpr std::size_t h100_scratch = 224104, a100_scratch = 158568, old_kokkos_scratch = 40808;

/// Whether so many teams fit on a multiprocessor of an H100, which has 228 KiB for them. Each needs 1 KiB for CUDA,
/// what Kokkos reduces in, and what alignment takes.
bool h100_holds(auto const& tile, int teams) {
  return teams * (tile.scratch_bytes + 1024 + 8 * (tile.team_size + 3) + 128) <= 228 * 1024;
}

TEMPLATE_TEST_CASE("mma tiles", "[mma][tiles]", MMA_TYPES) {
  int const head_dim = GENERATE(1, 8, 31, 64, 65, 100, 128, 129, 200, 256);
  CAPTURE(head_dim);
  auto const choose  = [&](std::size_t scratch) { return choose_mma_tile<TestType>({head_dim, head_dim, scratch}); };
  MmaTile const tile = choose(h100_scratch);
  REQUIRE(tile.shape >= 0);
  KA::Impl::MmaShape const& shape = KA::Impl::mma_shapes<TestType>[tile.shape];
  REQUIRE(h100_holds(tile, shape.teams));
  REQUIRE(shape.head_columns >= head_dim);
  REQUIRE(tile.value_parts * shape.value_columns >= head_dim);
  REQUIRE((tile.value_parts - 1) * shape.value_columns < head_dim);
  REQUIRE(tile.queries == 16 * shape.row_blocks * tile.team_size);
  REQUIRE(tile.keys % 4 == 0);  // whose weights are dropped in quads
  // A bias is copied ahead where there is room beside the rest, and never for another tile.
  for (KA::index_t const length : {64, 500, 4000})
    for (std::size_t const scratch : {h100_scratch, a100_scratch, std::size_t(101376)}) {
      KA::Impl::MmaTileQuery query{head_dim, head_dim, scratch, {length, length}};
      MmaTile const without = choose_mma_tile<TestType>(query);
      query.adds_bias       = true;
      MmaTile const with    = choose_mma_tile<TestType>(query);
      REQUIRE(with.shape == without.shape);
      REQUIRE(with.copies_bias == (with.scratch_bytes > without.scratch_bytes));
      if (with.copies_bias) REQUIRE(with.scratch_bytes <= scratch);
      if (scratch == h100_scratch && length == 4000) REQUIRE(with.copies_bias == (sizeof(TestType) == 2));
    }
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
    REQUIRE(h100_holds(tile, shape.teams));
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

TEST_CASE("two teams share a multiprocessor's scratch, of which little is kept back", "[mma][tiles]") {
  KA::Impl::MmaTileQuery query{64, 64, h100_scratch, {600, 600}};
  REQUIRE(query.scratch_limit_of(1) == h100_scratch);
  REQUIRE(query.scratch_limit_of(2) > h100_scratch / 2);
  // Gradients in float64 take more than half of one team's.
  auto const tiles = choose_mma_backward_tiles<double>(query, true, true, true, false);
  REQUIRE(tiles.count == 1);
  auto const& shape = KA::Impl::mma_backward_shapes<double>[tiles.tile[0].shape];
  REQUIRE((shape.turns && shape.teams == 2));
  REQUIRE(h100_holds(tiles.tile[0], 2));
  query.scratch_limit = 1000;
  REQUIRE(query.scratch_limit_of(2) <= 1000);
  REQUIRE(query.scratch_limit_of(32) == 0);
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

TEMPLATE_TEST_CASE("which calls have backward kernels in groups, in 16 bits", "[mma][tiles]", MMA_TYPES) {
  int const head_dim = GENERATE(8, 64, 128, 256);
  bool const single = GENERATE(false, true), plain = GENERATE(false, true);
  CAPTURE(head_dim, single, plain);
  KA::Impl::MmaTileQuery query{head_dim, head_dim, h100_scratch, {600, 600}};
  query.single     = single;
  query.plain      = plain;
  auto const tiles = choose_mma_backward_tiles<TestType>(query, true, true, true, false);
  REQUIRE(tiles.count > 0);
  bool const in_groups = head_dim <= 64 ? plain : head_dim == 256 && single;
  REQUIRE(KA::Impl::mma_backward_shapes<TestType>[tiles.tile[0].shape].groups == (in_groups && sizeof(TestType) == 2));
}

TEST_CASE("which backward calls are plain, or have a single option", "[mma]") {
  using T            = KA::bhalf_t;
  auto const kind_of = [](int head_dim, KA::Options<T, MemorySpace> const& options, auto const&... functors) {
    DeviceTensor<T, Kokkos::LayoutRight> const q("q", 1, 1, 5, head_dim), k("k", 1, 1, 5, head_dim),
        v("v", 1, 1, 5, head_dim), out("out", 1, 1, 5, head_dim);
    Kokkos::View<float***, MemorySpace> const lse("lse", 1, 1, 5);
    KA::Impl::ArgumentChecker const check("backward");
    auto const arguments =
        KA::Impl::checked_backward_arguments(Space(), check, out, q, k, v, out, lse, {}, options, functors...).first;
    return std::pair(arguments.single, arguments.plain);
  };
  auto const is_plain    = [&](auto const&... of) { return kind_of(of...) == std::pair(true, true); };
  auto const is_single   = [&](auto const&... of) { return kind_of(of...) == std::pair(true, false); };
  auto const has_several = [&](auto const&... of) { return kind_of(of...) == std::pair(false, false); };
  using Options          = KA::Options<T, MemorySpace>;
  REQUIRE(is_plain(8, Options{}));
  REQUIRE(is_plain(8, Options{.causal = true, .window = {3, 0}}));
  REQUIRE(has_several(7, Options{}));
  Kokkos::View<float*, MemorySpace> const slopes("slopes", 1);
  REQUIRE(is_plain(8, Options{.alibi_slopes = slopes}));
  REQUIRE(has_several(8, Options{.alibi_slopes = slopes}, Incline<float>()));
  Kokkos::View<T****, MemorySpace> const bias("bias", 1, 1, 5, 5);
  REQUIRE(is_single(8, Options{.bias = bias}));
  REQUIRE(has_several(8, Options{.bias = bias, .alibi_slopes = slopes}));
  REQUIRE(is_single(8, Options{.softcap = 2.}));
  REQUIRE(has_several(8, Options{.dropout = {.probability = 0.5}}));
  Kokkos::View<bool****, MemorySpace> const mask("mask", 1, 1, 5, 5);
  REQUIRE(is_single(8, Options{.mask = mask}));
  REQUIRE(has_several(8, Options{.mask = mask}, Checkerboard()));
  REQUIRE(is_plain(8, Options{}, Checkerboard()));
  REQUIRE(is_plain(8, Options{}, Incline<float>(), Checkerboard()));
  REQUIRE(has_several(8, Options{.softcap = 2.}, Incline<float>()));
  REQUIRE(is_plain(8, Options{}, Incline<float>(), Quadratic<float>()));
}

TEST_CASE("which calls have kernels for their one option", "[mma]") {
  using T = KA::bhalf_t;
  using KA::Impl::OptionInUse;
  auto const in_use = [](int head_dim, KA::Options<T, MemorySpace> const& options) {
    DeviceTensor<T, Kokkos::LayoutRight> const q("q", 1, 1, 5, head_dim);
    return KA::Impl::option_in_use(KA::Impl::make_forward_arguments(q, q, q, q, KA::Impl::NoLse(), options),
                                   KA::Impl::make_scores(options), KA::Impl::make_mask(options),
                                   KA::Impl::WeightDropout<float>(options.dropout));
  };
  Kokkos::View<float*, MemorySpace> const slopes("slopes", 1);
  Kokkos::View<T****, MemorySpace> const bias("bias", 1, 1, 5, 5);
  Kokkos::View<bool****, MemorySpace> const mask("mask", 1, 1, 5, 5);
  KA::Dropout const dropout{.probability = 0.5};
  REQUIRE(in_use(8, {}) == OptionInUse::none);
  REQUIRE(in_use(8, {.causal = true, .window = {3, 0}}) == OptionInUse::none);
  REQUIRE(in_use(8, {.softcap = 2.}) == OptionInUse::softcap);
  REQUIRE(in_use(8, {.causal = true, .bias = bias}) == OptionInUse::bias);
  REQUIRE(in_use(8, {.alibi_slopes = slopes}) == OptionInUse::alibi);
  REQUIRE(in_use(8, {.dropout = dropout}) == OptionInUse::dropout);
  REQUIRE(in_use(8, {.mask = mask}) == OptionInUse::mask);
  REQUIRE(in_use(8, {.mask = mask, .bias = bias}) == OptionInUse::several);
  REQUIRE(in_use(8, {.softcap = 2., .bias = bias}) == OptionInUse::several);
  REQUIRE(in_use(8, {.alibi_slopes = slopes, .dropout = dropout}) == OptionInUse::several);
  REQUIRE(in_use(7, {}) == OptionInUse::several);
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
    if (KA::Impl::device_has_mma(space)) {
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
  REQUIRE_FALSE(splits({1, 32, 1, 64, 40, 64, 64}));    // teams of few warps
  REQUIRE_FALSE(splits({1, 1, 1, 2048, 40, 64, 200}));  // outputs in parts
  REQUIRE_FALSE(splits({1, 1, 1, 2048, 40, 28, 64}));   // padded to more than twice the columns
  REQUIRE(splits({1, 1, 1, 2048, 40, 64, 64}, {.softcap = 10.}));
  REQUIRE_FALSE(splits({1, 1, 1, 2048, 40, 64, 64}, {.softcap = 10., .dropout = {.probability = 0.1}}));
  REQUIRE_FALSE(splits({1, 1, 1, 2048, 40, 63, 64}));  // rows that are not copied in packs
  KA::Impl::Tensor<float const> const shared{nullptr, {0, 640, 64, 1}};
  REQUIRE(KA::Impl::broadcasts(shared, 2, 1));
  REQUIRE_FALSE(KA::Impl::broadcasts(shared, 1, 2));
}

/// As measured on a GPU with 132 multiprocessors.
TEST_CASE("heads whose tiles of keys are begun in turns have room in a cache", "[mma][tiles]") {
  auto const heads = [](int length, int head_dim, int tile, KA::index_t cache) {
    KA::index_t const head_bytes = length * head_dim * KA::index_t(8);
    return KA::Impl::heads_in_cache(132, length / tile, 16384 / length * (2048 / head_dim), head_bytes, cache * 2 / 3);
  };
  KA::index_t const cache = GENERATE(50, 60) * (KA::index_t(1) << 20);
  CAPTURE(cache);
  REQUIRE(heads(1024, 64, 128, cache) == 64);
  REQUIRE(heads(4096, 64, 128, cache) == 16);
  REQUIRE(heads(16384, 64, 128, cache) == 4);
  REQUIRE(heads(1024, 128, 128, cache) == 32);
  REQUIRE(heads(4096, 128, 128, cache) == 8);
  REQUIRE(heads(16384, 128, 128, cache) == 2);
  REQUIRE(heads(1024, 256, 64, cache) == 16);
  REQUIRE(heads(4096, 256, 64, cache) == 4);
  REQUIRE(heads(16384, 256, 64, cache) == 1);
  // Enough for all teams, whatever the cache, and no more than there are.
  REQUIRE(KA::Impl::heads_in_cache(132, 8, 1000, 1000, 1000) == 17);
  REQUIRE(KA::Impl::heads_in_cache(132, 8, 5, 1000, 1000000) == 5);
  REQUIRE(KA::Impl::heads_in_cache(132, 0, 5, 1000, 1000000) == 1);
  REQUIRE(KA::Impl::heads_in_cache(132, 8, 0, 0, 1000000) == 1);
}

TEST_CASE("which calls split queries and dO ahead", "[mma]") {
  Space const space;
  auto const splits = [&](Shape const& s, bool wants_keys = true, KA::Options<float, MemorySpace> const& options = {},
                          auto const&... functors) {
    auto const array = [](int b, int h, KA::index_t l, int d) {
      return DeviceTensor<float, Kokkos::LayoutRight>("array", b, h, l, d);
    };
    auto const q = array(s.batch, s.heads, s.q_len, s.head_dim), k = array(s.batch, s.kv_heads, s.k_len, s.head_dim),
               v     = array(s.batch, s.kv_heads, s.k_len, s.value_dim),
               out   = array(s.batch, s.heads, s.q_len, s.value_dim),
               d_out = array(s.batch, s.heads, s.q_len, s.value_dim), dq = array(s.batch, s.heads, s.q_len, s.head_dim);
    Kokkos::View<float***, MemorySpace> const lse("lse", s.batch, s.heads, s.q_len);
    KA::Gradients<float, MemorySpace> gradients{.q = dq};
    if (wants_keys) {
      gradients.k = array(s.batch, s.kv_heads, s.k_len, s.head_dim);
      gradients.v = array(s.batch, s.kv_heads, s.k_len, s.value_dim);
    }
    auto const call  = KA::Impl::checked_backward_arguments(space, KA::Impl::ArgumentChecker("test"), d_out, q, k, v,
                                                            out, lse, gradients, options, functors...);
    auto const tiles = choose_mma_backward_tiles<float>({s.head_dim, s.value_dim, h100_scratch, {s.k_len, s.k_len}},
                                                        true, wants_keys, wants_keys, false);
    REQUIRE(tiles.count > 0);
    bool const found = KA::Impl::splits_ahead(call.first, tiles.tile[0]);
    if (KA::Impl::device_has_mma(space)) {
      std::size_t const bytes = KA::workspace_size(space, d_out, q, k, v, out, lse, gradients, options, functors...);
      REQUIRE((bytes >= sizeof(float) * s.batch * s.heads * s.q_len * (s.head_dim + s.value_dim)) == found);
      REQUIRE((KA::describe(space, d_out, q, k, v, out, lse, gradients, options, functors...)
                   .find("queries and d_out: split once") != std::string::npos) == found);
    }
    return found;
  };
  REQUIRE(splits({1, 1, 1, 40, 2048, 64, 64}));
  REQUIRE(splits({2, 4, 2, 40, 1024, 100, 128}));
  REQUIRE_FALSE(splits({1, 1, 1, 40, 2047, 64, 64}));
  REQUIRE_FALSE(splits({1, 1, 1, 40, 1023, 128, 128}));
  REQUIRE_FALSE(splits({1, 1, 1, 40, 2048, 64, 64}, false));                   // no kernel of five products
  REQUIRE_FALSE(splits({1, 1, 1, 40, 2048, 64, 132}));                         // nor here
  REQUIRE_FALSE(splits({1, 1, 1, 40, 2048, 64, 28}));                          // padded to more than twice the columns
  REQUIRE_FALSE(splits({1, 1, 1, 40, 2048, 64, 64}, true, {.softcap = 10.}));  // not plain
  REQUIRE_FALSE(splits({1, 1, 1, 40, 2048, 63, 64}));                          // rows that are not copied in packs
  REQUIRE(splits({1, 1, 1, 40, 2048, 64, 64}, true, {}, Checkerboard()));
  REQUIRE_FALSE(splits({1, 1, 1, 40, 2048, 64, 64}, true, {}, Incline<float>()));
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

}  // namespace Test
