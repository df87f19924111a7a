// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Random.hpp"

#include <KokkosAttention_Masks.hpp>
#include <KokkosAttention_TileWalk.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#include <algorithm>

/// \file
/// What masks say of tiles and ranges agrees with what they say of pairs.

namespace Test {

using namespace KokkosAttention;

/// Counts the pairs a mask lets through in a tile.
template <class M>
int allowed(M const& mask, Tile const& t) {
  int count = 0;
  for (index_t i = t.query_begin; i < t.query_end; ++i)
    for (index_t j = t.key_begin; j < t.key_end; ++j) count += mask(t.batch, t.head, i, j);
  return count;
}

template <class M>
void check_mask(M const& mask, Random& random, bool exact) {
  for (int n = 0; n < 200; ++n) {
    index_t const q = random.integer(0, 60), k = random.integer(0, 60);
    Tile const tile{0, 0, q, q + random.integer(1, 20), k, k + random.integer(1, 20)};
    int const pairs = (tile.query_end - tile.query_begin) * (tile.key_end - tile.key_begin);
    int const count = allowed(mask, tile);
    CAPTURE(tile.query_begin, tile.query_end, tile.key_begin, tile.key_end, count);
    switch (Impl::coverage(mask, tile)) {
      case Coverage::none:
        REQUIRE(count == 0);
        break;
      case Coverage::all:
        REQUIRE(count == pairs);
        break;
      case Coverage::some:
        REQUIRE((!exact || (count > 0 && count < pairs)));
        break;
    }
    KeyRange const range = Impl::key_range(mask, 0, 0, tile.query_begin, tile.query_end);
    for (index_t i = tile.query_begin; i < tile.query_end; ++i)
      for (index_t j = 0; j < 90; ++j)
        if (j < range.begin || j >= range.end) REQUIRE(!mask(0, 0, i, j));
    QueryRange const queries = Impl::query_range(mask, 0, 0, tile.key_begin, tile.key_end);
    for (index_t j = tile.key_begin; j < tile.key_end; ++j)
      for (index_t i = 0; i < 90; ++i)
        if (i < queries.begin || i >= queries.end) REQUIRE(!mask(0, 0, i, j));
  }
}

/// Which tiles of the other side a tile visits: exactly those with pairs, and whole ones are known to be so.
void check_walks(Impl::BandMask const& mask, Impl::Sequence const& sequence, int size) {
  auto const check = [&](Impl::TileWalk<int> const& walk, index_t length, auto const& tile_of) {
    for (int begin = 0; begin < length; begin += size) {
      int const end        = walk.end_of(begin, size);
      Tile const tile      = tile_of(begin, end);
      int const count      = allowed(mask, tile);
      bool const visits    = begin >= walk.first && begin < walk.end;
      int const pairs      = (tile.query_end - tile.query_begin) * (tile.key_end - tile.key_begin);
      Coverage const whole = count == pairs ? Coverage::all : Coverage::some;
      CAPTURE(tile.query_begin, tile.query_end, tile.key_begin, tile.key_end, count);
      REQUIRE(visits == (count > 0));
      if (visits) REQUIRE(walk.coverage(mask, tile, begin, end) == whole);
    }
  };
  constexpr int own_size = 16;
  for (index_t own = 0; own < sequence.q_len; own += own_size) {
    Tile const queries{0, 0, own, std::min(own + own_size, sequence.q_len), 0, 0};
    check(Impl::walk_over_keys<int>(mask, sequence, queries, size), sequence.k_len,
          [&](int begin, int end) { return Tile{0, 0, queries.query_begin, queries.query_end, begin, end}; });
  }
  for (index_t own = 0; own < sequence.k_len; own += own_size) {
    Tile const keys{0, 0, 0, 0, own, std::min(own + own_size, sequence.k_len)};
    check(Impl::walk_over_queries<int>(mask, sequence, keys, size), sequence.q_len,
          [&](int begin, int end) { return Tile{0, 0, begin, end, keys.key_begin, keys.key_end}; });
  }
}

TEST_CASE("causal and window masks", "[masks]") {
  int const seed = GENERATE(range(0, 30));
  Random random(seed);
  bool const causal   = random.chance(0.5);
  Window const window = {.left = random.integer(-1, 30), .right = random.integer(-1, 30)};
  index_t const q_len = random.integer(1, 80), k_len = random.integer(1, 80);
  Alignment const alignment = random.chance(0.5) ? Alignment::top_left : Alignment::bottom_right;
  CAPTURE(seed, causal, window.left, window.right, q_len, k_len);
  Impl::Sequence const sequence{0, 0, 0, q_len, 0, k_len};
  index_t const diagonal    = alignment == Alignment::bottom_right ? k_len - q_len : 0;
  Impl::BandMask const mask = Impl::make_band_mask(causal, window, alignment).in_sequence(sequence);
  for (index_t i = 0; i < q_len; ++i) {
    for (index_t j = 0; j < k_len; ++j) {
      index_t const distance = j - (i + diagonal);
      bool const expected    = !(causal && distance > 0) && !(window.left >= 0 && -distance > window.left) &&
                            !(window.right >= 0 && distance > window.right);
      REQUIRE(mask(0, 0, i, j) == expected);
    }
  }
  // A tile that an empty band crosses is reported as partly covered, which is no error.
  check_mask(mask, random, mask.lower <= mask.upper);
  for (int const size : {8, 32}) check_walks(mask, sequence, size);
}

TEST_CASE("masks combine", "[masks]") {
  Random random(5);
  Impl::BandMask const narrow = Impl::make_band_mask(false, {.left = 4, .right = 9}, Alignment::top_left);
  Impl::BandMask const causal{.upper = 3};
  check_mask(Impl::all_of(narrow, causal), random, false);
  check_mask(Impl::all_of(), random, true);
  REQUIRE(Impl::all_of()(0, 0, 5, 7));
  REQUIRE(Impl::all_of(narrow, causal)(0, 0, 5, 7));
  REQUIRE(!Impl::all_of(narrow, causal)(0, 0, 5, 9));
  REQUIRE(!Impl::all_of(narrow, causal)(0, 0, 5, 0));
}

TEST_CASE("windows near the limits of 64 bits do not overflow", "[masks]") {
  index_t const most        = std::numeric_limits<index_t>::max();
  Impl::BandMask const mask = Impl::make_band_mask(false, {.left = most, .right = most}, Alignment::top_left);
  index_t const far         = index_t(1) << 60;
  REQUIRE(mask(0, 0, far, 0));
  REQUIRE(mask(0, 0, 0, far));
  REQUIRE(mask.coverage({0, 0, far, far + 1, 0, 1}) == Coverage::all);
  REQUIRE(mask.key_range(0, 0, far, far + 1).begin < 0);
  REQUIRE(mask.key_range(0, 0, far, far + 1).end > far);
}

}  // namespace Test
