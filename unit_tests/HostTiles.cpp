// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include <KokkosAttention_HostKernels.hpp>
#include <KokkosAttention_HostTiles.hpp>
#include <KokkosAttention_HostTurns.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <vector>

/// \file
/// The tile tables of the host engine, for processors that this machine need not have, and the order of its work.

namespace Test {

using namespace KokkosAttention;
using Impl::choose_host_backward_tile;
using Impl::choose_host_tile;
using Impl::GradientOf;
using Impl::HostBackwardTile;
using Impl::HostTile;
using Impl::HostTileQuery;

constexpr HostTileQuery query(int element_bytes, int vector_bytes, bool pairs, int head_dim, index_t q_len,
                              index_t k_len) {
  return {.element_bytes  = element_bytes,
          .vector_bytes   = vector_bytes,
          .pairs          = pairs,
          .tile_registers = false,
          .head_dim       = head_dim,
          .value_dim      = head_dim,
          .group          = 1,
          .packed         = false,
          .q_len          = q_len,
          .k_len          = k_len};
}

TEST_CASE("host tiles of long sequences", "[tiles]") {
  constexpr HostTile single = choose_host_tile(query(4, 64, false, 64, 4096, 4096), 16, 16);
  STATIC_REQUIRE(single.queries == 128);
  STATIC_REQUIRE(single.vectors == 8);
  STATIC_REQUIRE(single.group == 4);
  STATIC_REQUIRE(single.keys == 64);
  constexpr HostTile twice = choose_host_tile(query(8, 32, false, 64, 4096, 4096), 16, 16);
  STATIC_REQUIRE(twice.vectors == 32);
  STATIC_REQUIRE(twice.group == 8);
  constexpr HostTile pairs = choose_host_tile(query(4, 64, true, 64, 4096, 4096), 16, 16);
  STATIC_REQUIRE(pairs.queries == 128);
  STATIC_REQUIRE(pairs.group == 2);
  STATIC_REQUIRE(pairs.keys == 128);
  STATIC_REQUIRE(pairs.block == 128);
  constexpr HostTile in_registers = [] {
    HostTileQuery q  = query(4, 64, true, 64, 4096, 4096);
    q.tile_registers = true;
    return choose_host_tile(q, 16, 16);
  }();
  STATIC_REQUIRE(in_registers.queries == 128);
  STATIC_REQUIRE(in_registers.group == 4);
  STATIC_REQUIRE(in_registers.keys == 256);
  STATIC_REQUIRE(in_registers.block == 32);
}

TEST_CASE("pairs of keys and values that many queries read are packed once", "[tiles]") {
  constexpr auto tile = [](bool pairs, index_t q_len, index_t k_len, int group, bool packed) {
    HostTileQuery q = query(4, 64, pairs, 40, q_len, k_len);
    q.group         = group;
    q.packed        = packed;
    return choose_host_tile(q, 16, 16);
  };
  STATIC_REQUIRE(tile(true, 2048, 300, 1, false).shared_tile_bytes != 0);
  STATIC_REQUIRE(tile(true, 512, 300, 4, false).shared_tile_bytes != 0);
  STATIC_REQUIRE(tile(true, 2047, 300, 1, false).shared_tile_bytes == 0);
  STATIC_REQUIRE(tile(true, 256, 5000, 8, false).shared_tile_bytes == 0);  // keys are split
  STATIC_REQUIRE(tile(true, 4096, 300, 1, true).shared_tile_bytes == 0);
  STATIC_REQUIRE(tile(false, 4096, 300, 1, false).shared_tile_bytes == 0);
  constexpr HostTile shares = tile(true, 2048, 300, 1, false), packs = tile(true, 2047, 300, 1, false);
  STATIC_REQUIRE(packs.queries == 256);
  STATIC_REQUIRE(shares.shared_key_bytes >= std::size_t(shares.keys) * 40 * 2);
  STATIC_REQUIRE(shares.shared_tile_bytes >= shares.shared_key_bytes + std::size_t(shares.keys) * 40 * 2);
  STATIC_REQUIRE(shares.score_offset < packs.score_offset);
}

TEST_CASE("host tiles shrink so that all threads get some, and to the queries there are", "[tiles]") {
  STATIC_REQUIRE(choose_host_tile(query(4, 64, false, 64, 512, 512), 1, 1).queries == 128);
  STATIC_REQUIRE(choose_host_tile(query(4, 64, false, 64, 512, 512), 1, 4).queries == 32);
  STATIC_REQUIRE(choose_host_tile(query(4, 64, false, 64, 512, 512), 1, 64).queries == 16);
  STATIC_REQUIRE(choose_host_tile(query(4, 64, false, 64, 17, 512), 1000, 4).queries == 32);
  STATIC_REQUIRE(choose_host_tile(query(8, 64, false, 64, 1, 512), 1000, 4).queries == 8);
  STATIC_REQUIRE(choose_host_tile(query(4, 64, false, 64, 0, 512), 1, 4).queries == 16);
}

TEST_CASE("the order of sums in host tiles depends on neither lengths nor threads", "[tiles]") {
  for (bool const pairs : {false, true})
    for (index_t const length : {1, 40, 100, 5000}) {
      HostTileQuery const q = query(4, 64, pairs, 48, length, length);
      REQUIRE(choose_host_tile(q, 1, 1).keys == choose_host_tile(q, 3, 100).keys);
      // Sums over keys in tiles of the same keys, whether a thread owns queries or keys; over queries alike.
      REQUIRE(choose_host_backward_tile(q, GradientOf::queries).other == Impl::host_keys(q));
      REQUIRE(choose_host_backward_tile(q, GradientOf::bias).other == Impl::host_keys(q));
      REQUIRE(choose_host_backward_tile(q, GradientOf::keys_and_values).other == Impl::host_queries(q));
      for (GradientOf const target : {GradientOf::keys_and_values, GradientOf::all}) {
        int const own = choose_host_backward_tile(q, target).own;
        REQUIRE((own == Impl::host_keys(q) || (length < own && own < Impl::host_keys(q))));
      }
    }
}

TEST_CASE("arrays of host tiles lie one after the other, aligned, and have room", "[tiles]") {
  bool const pairs    = GENERATE(false, true);
  int const head_dim  = GENERATE(1, 17, 64, 100, 1024);
  index_t const q_len = GENERATE(1, 33, 300), k_len = GENERATE(0, 5, 70, 500);
  HostTileQuery q  = query(4, 64, pairs, head_dim, q_len, k_len);
  q.tile_registers = pairs && GENERATE(false, true);
  CAPTURE(pairs, q.tile_registers, head_dim, q_len, k_len);
  HostTile const t        = choose_host_tile(q, 2, 2);
  std::size_t const lanes = t.queries, number = pairs ? 2 : 4;
  std::size_t const forward[][2] = {
      {t.key_offset, head_dim * lanes * number},
      {t.value_offset, std::size_t(t.keys) * head_dim * number},
      {t.score_offset, std::size_t(t.keys) * head_dim * number},
      {t.weight_offset, Kokkos::max(std::size_t(t.block) * t.group, std::size_t(t.keys)) * 64},
      {t.output_offset, pairs ? std::size_t(t.keys) * t.group * 32 : 0},
      {t.state_offset, head_dim * lanes * 4},
      {t.kept_offset, 5 * lanes * 4 + t.vectors},
      {t.scratch_bytes, lanes * t.keys / 4}};
  std::size_t before = 0;
  for (auto const& [offset, bytes] : forward) {
    REQUIRE(offset % 64 == 0);
    REQUIRE(offset >= before + bytes);
    before = offset;
  }
  for (GradientOf const target :
       {GradientOf::queries, GradientOf::keys_and_values, GradientOf::all, GradientOf::bias}) {
    HostBackwardTile const b = choose_host_backward_tile(q, target);
    REQUIRE(b.own == b.vectors * 16);
    REQUIRE(b.gradient_offset >= b.score_offset + std::size_t(b.other) * b.group * 64);
    REQUIRE(b.weight_offset >= b.gradient_offset + std::size_t(b.other) * b.group * 64);
    REQUIRE(b.weight_gradient_offset >= b.weight_offset + (pairs ? std::size_t(b.other) * b.group * 32 : 0));
    REQUIRE(b.first_sum_offset >= b.weight_gradient_offset + (pairs ? std::size_t(b.other) * b.group * 32 : 0));
    REQUIRE(b.second_offset >= std::size_t(head_dim) * b.own * number);
    REQUIRE(b.lse_offset >=
            b.first_sum_offset + std::size_t(target == GradientOf::bias ? b.other : head_dim) * b.own * 4);
    if (target == GradientOf::all)
      REQUIRE(b.scratch_bytes >= b.query_sum_offset + std::size_t(q_len) * head_dim * 4);
    else
      REQUIRE(b.scratch_bytes < 64u << 20);
  }
}

TEST_CASE("threads take several short items at a time, but end together", "[tiles]") {
  STATIC_REQUIRE(Impl::items_together(1, 1) == 1);
  STATIC_REQUIRE(Impl::items_together(1000, 16) == 1);
  STATIC_REQUIRE(Impl::items_together(4096, 16) == 4);
  STATIC_REQUIRE(Impl::items_together(index_t(1) << 40, 16) == 8);
}

TEST_CASE("each tile of keys has its turn after those before it", "[tiles]") {
  index_t const tiles = GENERATE(1, 2, 7), sequences = GENERATE(1, 3, 10), begun = GENERATE(1, 4, 16);
  CAPTURE(tiles, sequences, begun);
  std::vector<index_t> turns(sequences, 0);
  for (index_t n = 0; n < tiles * sequences; ++n) {
    Impl::HostTurn const turn = Impl::host_turn(n, tiles, sequences, begun);
    REQUIRE(turn.sequence / begun == n / (tiles * begun));  // those begun together
    REQUIRE(turn.tile == turns[turn.sequence]++);
  }
  for (index_t const count : turns) REQUIRE(count == tiles);
}

}  // namespace Test
