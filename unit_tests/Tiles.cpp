// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include <KokkosAttention_PortableBackwardTiles.hpp>
#include <KokkosAttention_PortableTiles.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>

/// \file
/// The tile table of the portable engine, for hardware that this machine need not have.

namespace Test {

using namespace KokkosAttention;
using Impl::choose_portable_tile;
using Impl::GradientOf;
using Impl::PortableBackwardTile;
using Impl::PortableTile;
using Impl::TileQuery;

constexpr TileQuery h100(int element_bytes, int head_dim, index_t q_len = 4096, index_t k_len = 4096) {
  return {.on_host       = false,
          .element_bytes = element_bytes,
          .block_rows    = 4,
          .block_columns = 4,
          .head_dim      = head_dim,
          .value_dim     = head_dim,
          .q_len         = q_len,
          .k_len         = k_len,
          .scratch_limit = {224000, 20u << 20}};
}

/// Kokkos before 5.2 keeps to what every CUDA device has.
constexpr TileQuery old_kokkos(TileQuery query) {
  query.scratch_limit[0] = 40936;
  return query;
}

constexpr TileQuery host(int element_bytes, int head_dim, index_t q_len = 4096, index_t k_len = 4096) {
  return {.on_host       = true,
          .element_bytes = element_bytes,
          .block_rows    = 8,
          .block_columns = 128 / element_bytes,
          .head_dim      = head_dim,
          .value_dim     = head_dim,
          .q_len         = q_len,
          .k_len         = k_len,
          .scratch_limit = {32u << 10, 20u << 20}};
}

TEST_CASE("tiles of an H100", "[tiles]") {
  constexpr PortableTile tile = choose_portable_tile(h100(4, 128));
  STATIC_REQUIRE(tile.queries == 128);
  STATIC_REQUIRE(tile.keys == 64);
  STATIC_REQUIRE(tile.scratch_level == 0);
  STATIC_REQUIRE(tile.team_size * tile.vector_length == 512);
  STATIC_REQUIRE(choose_portable_tile(h100(8, 128)).scratch_level == 0);
  STATIC_REQUIRE(choose_portable_tile(old_kokkos(h100(4, 64))).scratch_level == 0);
  // Head dimensions for which not even the smallest tile fits.
  STATIC_REQUIRE(choose_portable_tile(h100(8, 4096)).scratch_level == 1);
}

TEST_CASE("tiles fit what the execution space offers, at every head dimension", "[tiles]") {
  int const head_dim      = GENERATE(1, 3, 28, 32, 60, 64, 65, 124, 128, 256, 512, 1024, 4096, 65536);
  int const element_bytes = GENERATE(4, 8);
  CAPTURE(head_dim, element_bytes);
  for (TileQuery const& query :
       {h100(element_bytes, head_dim), old_kokkos(h100(element_bytes, head_dim)), host(element_bytes, head_dim)}) {
    PortableTile const tile = choose_portable_tile(query);
    REQUIRE(tile.scratch_bytes <= query.scratch_limit[tile.scratch_level]);
    REQUIRE(tile.queries % query.block_rows == 0);
    REQUIRE(tile.keys % query.block_columns == 0);
    REQUIRE(tile.padded_value_dim % query.block_columns == 0);
    REQUIRE(tile.team_size * tile.vector_length <= Impl::most_team_threads);
    REQUIRE(tile.padded_value_dim >= query.value_dim);
    REQUIRE(tile.query_stride >= head_dim);
    if (!query.on_host) {
      for (int const stride : {tile.query_stride, tile.key_stride, tile.value_stride, tile.score_stride}) {
        REQUIRE(stride % 4 == 0);
        REQUIRE(stride % 32 != 0);
      }
    }
    // The arrays do not overlap.
    REQUIRE(tile.key_value_offset >= tile.queries * tile.query_stride);
    REQUIRE(tile.score_offset >= tile.key_value_offset + head_dim * tile.key_stride);
    REQUIRE(tile.score_offset >= tile.key_value_offset + tile.keys * tile.value_stride);
    REQUIRE(tile.output_offset >= tile.score_offset + tile.queries * tile.score_stride);
    REQUIRE(tile.state_offset >= tile.output_offset + tile.queries * tile.value_stride);
    REQUIRE(tile.kept_offset >= tile.state_offset + 3 * tile.queries);
    REQUIRE(tile.scratch_bytes >=
            std::size_t(tile.kept_offset) * element_bytes + std::size_t(tile.queries * tile.keys / 4));
  }
}

TEST_CASE("lengths do not change how many keys a tile has, unless one tile holds them all", "[tiles]") {
  // The keys of a tile settle the order of a row's sums, which must not depend on what else is in a batch.
  int const head_dim = GENERATE(16, 64, 128, 500);
  for (index_t q_len : {0, 1, 5, 63, 64, 1000}) {
    REQUIRE(choose_portable_tile(h100(4, head_dim, q_len)).keys == choose_portable_tile(h100(4, head_dim)).keys);
    REQUIRE(choose_portable_tile(host(8, head_dim, q_len)).keys == choose_portable_tile(host(8, head_dim)).keys);
    for (index_t k_len : {0, 1, 5, 63, 64, 65, 1000}) {
      CAPTURE(head_dim, q_len, k_len);
      int const keys     = choose_portable_tile(h100(4, head_dim, q_len, k_len)).keys;
      int const all_keys = choose_portable_tile(h100(4, head_dim)).keys;
      REQUIRE((keys == all_keys || (k_len <= keys && keys < all_keys)));
    }
    REQUIRE(choose_portable_tile(h100(4, head_dim, q_len)).queries < std::max<index_t>(q_len, 1) + 4);
  }
}

TEST_CASE("backward tiles of an H100", "[tiles]") {
  for (GradientOf target : {GradientOf::queries, GradientOf::keys_and_values, GradientOf::bias}) {
    PortableBackwardTile const tile = Impl::choose_backward_tile(h100(4, 64), target);
    REQUIRE(tile.rows >= 64);
    REQUIRE(tile.columns == 64);
    REQUIRE(tile.scratch_level == 0);
    REQUIRE(Impl::choose_backward_tile(h100(8, 128), target).scratch_level == 0);
    REQUIRE(Impl::choose_backward_tile(old_kokkos(h100(4, 64)), target).scratch_level == 0);
    REQUIRE(Impl::choose_backward_tile(h100(8, 4096), target).scratch_level == 1);
  }
}

TEST_CASE("backward tiles fit, and their arrays do not overlap", "[tiles]") {
  int const head_dim      = GENERATE(1, 3, 28, 32, 60, 64, 65, 124, 128, 256, 512, 1024, 4096, 32768);
  int const element_bytes = GENERATE(4, 8);
  auto const target       = GENERATE(GradientOf::queries, GradientOf::keys_and_values, GradientOf::bias);
  CAPTURE(head_dim, element_bytes, int(target));
  for (TileQuery const& query :
       {h100(element_bytes, head_dim), old_kokkos(h100(element_bytes, head_dim)), host(element_bytes, head_dim)}) {
    PortableBackwardTile const tile = Impl::choose_backward_tile(query, target);
    bool const of_keys              = target == GradientOf::keys_and_values;
    REQUIRE(tile.scratch_bytes <= query.scratch_limit[tile.scratch_level]);
    REQUIRE(tile.rows % query.block_rows == 0);
    REQUIRE(tile.rows % 4 == 0);  // of keys, whose weights are dropped in quads
    REQUIRE(tile.columns % query.block_columns == 0);
    REQUIRE(tile.team_size * tile.vector_length <= Impl::most_team_threads);
    REQUIRE(tile.padded_first >= head_dim);
    REQUIRE(tile.padded_first % query.block_columns == 0);
    if (!query.on_host) {
      for (int const stride : {tile.first_stride, tile.second_stride, tile.transposed_stride, tile.first_sum_stride,
                               tile.second_sum_stride}) {
        REQUIRE(stride % 4 == 0);
        REQUIRE(stride % 32 != 0);
      }
    }
    int const queries = of_keys ? tile.columns : tile.rows;
    REQUIRE(tile.second_offset >= tile.rows * tile.first_stride);
    REQUIRE(tile.other_offset - tile.second_offset >= tile.rows * tile.second_stride);
    REQUIRE(tile.score_offset - tile.other_offset >= head_dim * tile.transposed_stride);
    if (target != GradientOf::bias)
      REQUIRE(tile.score_offset - tile.other_offset >= tile.columns * tile.first_sum_stride);
    REQUIRE(tile.gradient_offset - tile.score_offset >= tile.rows * tile.transposed_stride);
    REQUIRE(tile.first_sum_offset - tile.gradient_offset >= tile.rows * tile.transposed_stride);
    REQUIRE(tile.second_sum_offset - tile.first_sum_offset >= tile.rows * tile.first_sum_stride);
    if (of_keys) REQUIRE(tile.lse_offset - tile.second_sum_offset >= tile.rows * tile.second_sum_stride);
    REQUIRE(tile.delta_offset - tile.lse_offset >= queries);
    REQUIRE(tile.kept_offset - tile.delta_offset >= queries);
    REQUIRE(tile.scratch_bytes >=
            std::size_t(tile.kept_offset) * element_bytes + std::size_t(tile.rows * tile.columns / 4));
  }
}

TEST_CASE("lengths do not change how many columns a backward tile has, unless one tile holds them all", "[tiles]") {
  int const head_dim = GENERATE(16, 64, 128, 500);
  auto const target  = GENERATE(GradientOf::queries, GradientOf::keys_and_values, GradientOf::bias);
  for (index_t own : {0, 1, 5, 63, 64, 1000}) {
    for (index_t other : {0, 1, 5, 63, 64, 65, 1000}) {
      CAPTURE(head_dim, int(target), own, other);
      bool const of_keys = target == GradientOf::keys_and_values;
      int const columns =
          Impl::choose_backward_tile(of_keys ? h100(4, head_dim, other, own) : h100(4, head_dim, own, other), target)
              .columns;
      int const full_tile = Impl::choose_backward_tile(h100(4, head_dim), target).columns;
      REQUIRE((columns == full_tile || (other <= columns && columns < full_tile)));
    }
  }
}

}  // namespace Test
