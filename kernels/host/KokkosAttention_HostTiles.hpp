// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTTILES_HPP
#define KOKKOSATTENTION_HOSTTILES_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_HostSplit.hpp>

#include <Kokkos_Core.hpp>

#include <cstddef>

/// \file
/// Tile sizes of the host engine: a pure function of types and sizes.

namespace KokkosAttention::Impl {

/// What the choice of a tile depends on.
struct HostTileQuery {
  int element_bytes;  // of the accumulation type
  int vector_bytes;
  bool pairs;           // factors are packed as pairs of bfloat16
  bool tile_registers;  // for products of pairs
  int head_dim, value_dim;
  int group;  // query heads a key-value head
  bool packed;
  index_t q_len, k_len;  // make a tile smaller where it would be partly empty

  constexpr int lanes() const { return vector_bytes / element_bytes; }
};

/// A thread's tile in the forward pass and where its arrays lie in its scratch, in bytes: queries in the lanes of
/// vectors.
struct HostTile {
  int vectors = 0;  ///< of queries
  int group   = 0;  ///< vectors whose scores are in memory at a time
  int queries = 0, keys = 0;
  int block              = 0;  ///< keys of a tile whose scores are in memory at a time
  std::size_t key_offset = 0, value_offset = 0, score_offset = 0,
              weight_offset = 0;  // the queries come first
  std::size_t output_offset = 0, state_offset = 0, kept_offset = 0;
  std::size_t query_group_bytes = 0, output_group_bytes = 0;  // arrays of queries lie group by group
  std::size_t fold_offset   = 0;                              // where packed sequences may have their keys split
  std::size_t decode_offset = 0;                              // where keys may be split
  // Of a tile of keys, and of it and its values, as they lie in the call's workspace; 0: each item packs what it reads.
  std::size_t shared_key_bytes = 0, shared_tile_bytes = 0;
  std::size_t scratch_bytes = 0;
};

/// The same of the backward pass, for a thread that owns rows of one side, in lanes, and goes along the other. "First"
/// is what scores are products of, q and k; "second" is dO and v.
struct HostBackwardTile {
  int vectors = 0;         ///< of own rows
  int group   = 0;         ///< vectors whose scores are in memory at a time
  int own = 0, other = 0;  ///< rows
  // The own first rows come first; steps: those as a right factor.
  std::size_t second_offset = 0, step_offset = 0;
  std::size_t other_first_rows = 0, other_first_columns = 0, other_second_rows = 0, other_second_columns = 0;
  std::size_t score_offset = 0, gradient_offset = 0;
  std::size_t weight_offset = 0, weight_gradient_offset = 0, weight_row_offset = 0;  // as factors
  std::size_t first_sum_offset = 0, second_sum_offset = 0, lse_offset = 0, delta_offset = 0, kept_offset = 0;
  // Arrays of own rows lie group by group.
  std::size_t first_group_bytes = 0, second_group_bytes = 0, first_sum_group_bytes = 0, second_sum_group_bytes = 0;
  // Of a thread that computes all gradients of its sequence, those of queries; numbers of a row and of a head.
  std::size_t query_sum_offset    = 0;
  int query_sum_columns           = 0;
  std::ptrdiff_t query_sum_stride = 0;
  std::size_t scratch_bytes       = 0;
};

constexpr std::size_t round_up_to(std::size_t n, std::size_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

/// Takes arrays of rows out of scratch one after the other.
class HostScratch {
  HostTileQuery m_query;
  std::size_t m_bytes = 0;

 public:
  constexpr explicit HostScratch(HostTileQuery const& query) : m_query(query) {}
  constexpr std::size_t bytes() const { return m_bytes; }

  constexpr std::size_t take(std::size_t size) {
    std::size_t const begin = m_bytes;
    m_bytes += round_up_to(size, 64);
    return begin;
  }
  /// Products of pairs are computed in tiles of 16 rows.
  constexpr std::size_t rows(std::size_t n) const { return m_query.pairs ? round_up_to(n, 16) : n; }
  constexpr std::size_t steps(std::size_t n) const { return m_query.pairs ? round_up_to(n, 32) : n; }
  constexpr std::size_t operand_bytes() const { return m_query.pairs ? 2 : m_query.element_bytes; }

  /// Of a right factor, and of results.
  constexpr std::size_t right_bytes(std::size_t step_count, std::size_t lanes) const {
    return round_up_to(steps(step_count) * lanes * operand_bytes(), 64);
  }
  constexpr std::size_t result_bytes(std::size_t row_count, std::size_t lanes) const {
    return round_up_to(rows(row_count) * lanes * m_query.element_bytes, 64);
  }

  constexpr std::size_t take_left(std::size_t row_count, std::size_t step_count) {
    return take(rows(row_count) * steps(step_count) * operand_bytes());
  }
  constexpr std::size_t take_right(std::size_t step_count, std::size_t lanes) {
    return take(right_bytes(step_count, lanes));
  }
  /// Products, or sums of products.
  constexpr std::size_t take_result(std::size_t row_count, std::size_t lanes) {
    return take(result_bytes(row_count, lanes));
  }
};

/// Rows of a side that a tile has at most, and how many of them fill whole vectors.
constexpr int host_tile_lanes(HostTileQuery const& query, index_t length, int most) {
  index_t const rows = length < 1 ? 1 : length < most ? length : most;
  return static_cast<int>(round_up_to(rows, query.lanes()));
}

/// Keys of a tile of the backward pass, in which sums over keys are divided: the same in every kernel, whatever the
/// sizes.
constexpr int host_keys(HostTileQuery const& query) { return query.pairs ? 256 : 64; }
/// The same of queries.
constexpr int host_queries(HostTileQuery const& query) { return query.pairs ? 128 : 64; }

/// Sequences up to this length are fetched before their turn: longer ones leave the processor time to see what is
/// coming.
inline constexpr index_t host_short_length = 512;

/// Vectors whose scores are in memory at a time: so few that they stay in the first-level cache. Of pairs, as many as
/// make the steps of a vector of them.
constexpr int host_group(HostTileQuery const& query, int vectors) {
  int const most = (query.pairs ? 128 : 256) / query.vector_bytes;
  return vectors < most ? vectors : most;
}

/// Pairs of keys and values that so many queries read are packed once for all of them: packing takes a tenth of the
/// time of 256 queries, and what was packed has to come from memory again if there is much of it.
inline constexpr index_t host_fewest_sharing_queries = 2048;
constexpr bool host_shares_keys(HostTileQuery const& query) {
  return query.pairs && !query.packed && !host_splits_keys(query.q_len, query.k_len) &&
         query.q_len * query.group >= host_fewest_sharing_queries;
}

/// Keys whose scores are in memory at a time, by tile registers: the steps of one, so that scores, weights and what a
/// product reads share the first-level cache.
inline constexpr int host_block_keys = 32;

/// Queries enough to read keys and values seldom (and to pack them seldom), in groups of so few that their scores stay
/// in the first-level cache. With few queries in all, so few that all threads get some. \param matrices batch entries
/// times heads
constexpr HostTile choose_host_tile(HostTileQuery const& query, index_t matrices, int threads) {
  bool const shares = host_shares_keys(query);
  int most_queries  = query.pairs && !shares ? 256 : 128;
  while (most_queries > query.lanes() && matrices * ((query.q_len + most_queries - 1) / most_queries) < 4 * threads)
    most_queries /= 2;
  HostTile tile;
  tile.queries = host_tile_lanes(query, query.q_len, most_queries);
  tile.vectors = tile.queries / query.lanes();
  // Tile registers take less time for a product than the second-level cache for its factors and sums: what is read for
  // more queries at a time, and for more keys, is read less often. Scores become weights a few keys at a time.
  tile.keys             = query.tile_registers ? 256 : query.pairs ? 128 : 64;
  tile.group            = query.tile_registers ? Kokkos::min(4, tile.vectors) : host_group(query, tile.vectors);
  tile.block            = query.tile_registers ? host_block_keys : tile.keys;
  int const group_lanes = tile.group * query.lanes();

  int const groups = (tile.vectors + tile.group - 1) / tile.group;

  HostScratch scratch(query);
  tile.query_group_bytes  = scratch.right_bytes(query.head_dim, group_lanes);
  tile.output_group_bytes = scratch.result_bytes(query.value_dim, group_lanes);
  scratch.take(groups * tile.query_group_bytes);
  tile.key_offset   = scratch.take_left(shares ? 0 : tile.keys, query.head_dim);
  tile.value_offset = scratch.take_left(query.value_dim, shares ? 0 : tile.keys);
  // Of a vector that begins again, the scores of all keys.
  tile.score_offset = scratch.take(
      Kokkos::max(scratch.result_bytes(tile.block, group_lanes), scratch.result_bytes(tile.keys, query.lanes())));
  tile.weight_offset = scratch.take_right(query.pairs ? tile.keys : 0, group_lanes);
  tile.output_offset = scratch.take(groups * tile.output_group_bytes);
  tile.state_offset  = scratch.take(std::size_t(5) * tile.queries * query.element_bytes + tile.vectors);
  tile.kept_offset   = scratch.take(std::size_t(tile.queries) * (tile.keys / 4));
  if (query.k_len >= host_fewest_split_keys) {
    if (query.packed)
      tile.fold_offset = scratch.take(std::size_t(tile.queries) * (2 * query.value_dim + 1 + 3) * query.element_bytes);
    auto const padded = [&query](int n) { return round_up_to(n, query.lanes()); };
    tile.decode_offset =
        scratch.take(host_decode_queries * (padded(query.head_dim) + padded(query.value_dim) + padded(tile.keys) + 3) *
                     query.element_bytes);
  }
  tile.scratch_bytes = scratch.bytes();
  if (shares) {
    HostScratch shared(query);
    shared.take_left(tile.keys, query.head_dim);
    tile.shared_key_bytes  = shared.take_left(query.value_dim, tile.keys);
    tile.shared_tile_bytes = shared.bytes();
  }
  return tile;
}

constexpr HostBackwardTile choose_host_backward_tile(HostTileQuery const& query, GradientOf target) {
  bool const own_keys = own_side(target) == Side::keys;
  int const keys = host_keys(query), queries = host_queries(query);
  HostBackwardTile tile;
  tile.own              = host_tile_lanes(query, own_keys ? query.k_len : query.q_len, own_keys ? keys : queries);
  tile.vectors          = tile.own / query.lanes();
  tile.other            = own_keys ? queries : keys;
  tile.group            = host_group(query, tile.vectors);
  int const group_lanes = tile.group * query.lanes();

  int const groups = (tile.vectors + tile.group - 1) / tile.group;

  HostScratch scratch(query);
  tile.first_group_bytes      = scratch.right_bytes(query.head_dim, group_lanes);
  tile.second_group_bytes     = scratch.right_bytes(query.value_dim, group_lanes);
  tile.first_sum_group_bytes  = scratch.result_bytes(query.head_dim, group_lanes);
  tile.second_sum_group_bytes = scratch.result_bytes(query.value_dim, group_lanes);
  scratch.take(groups * tile.first_group_bytes);
  tile.second_offset          = scratch.take(groups * tile.second_group_bytes);
  tile.other_first_rows       = scratch.take_left(tile.other, query.head_dim);
  tile.other_first_columns    = scratch.take_left(query.pairs ? query.head_dim : 0, tile.other);
  tile.other_second_rows      = scratch.take_left(tile.other, query.value_dim);
  tile.other_second_columns   = scratch.take_left(query.pairs ? query.value_dim : 0, tile.other);
  tile.score_offset           = scratch.take_result(tile.other, group_lanes);
  tile.gradient_offset        = scratch.take_result(tile.other, group_lanes);
  tile.weight_offset          = scratch.take_right(query.pairs ? tile.other : 0, group_lanes);
  tile.weight_gradient_offset = scratch.take_right(query.pairs ? tile.other : 0, group_lanes);
  tile.first_sum_offset       = target == GradientOf::bias ? scratch.take_result(tile.other, tile.own)
                                                           : scratch.take(groups * tile.first_sum_group_bytes);
  tile.second_sum_offset      = scratch.take(own_keys ? groups * tile.second_sum_group_bytes : 0);
  int const tile_queries      = own_keys ? tile.other : tile.own;
  tile.lse_offset             = scratch.take(std::size_t(tile_queries) * query.element_bytes);
  tile.delta_offset           = scratch.take(std::size_t(tile_queries) * query.element_bytes);
  tile.kept_offset            = scratch.take(std::size_t(tile_queries) * (keys + 3) / 4);
  if (target == GradientOf::all) {
    int const padded_dim   = static_cast<int>(round_up_to(query.head_dim, query.lanes()));
    tile.step_offset       = scratch.take_right(tile.own, padded_dim);
    tile.weight_row_offset = scratch.take_left(query.pairs || tile.group < tile.vectors ? tile.other : 0, tile.own);
    tile.query_sum_columns = padded_dim;
    tile.query_sum_stride  = padded_dim * static_cast<std::ptrdiff_t>(scratch.rows(query.q_len));
    tile.query_sum_offset  = scratch.take_result(query.q_len, std::size_t(query.group) * padded_dim);
  }
  tile.scratch_bytes = scratch.bytes();
  return tile;
}

}  // namespace KokkosAttention::Impl

#endif
