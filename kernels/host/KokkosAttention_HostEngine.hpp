// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTENGINE_HPP
#define KOKKOSATTENTION_HOSTENGINE_HPP

#include <KokkosAttention_ForwardLoop.hpp>
#include <KokkosAttention_HostLanes.hpp>
#include <KokkosAttention_HostOperands.hpp>
#include <KokkosAttention_HostPrefetch.hpp>
#include <KokkosAttention_HostSharedKeys.hpp>
#include <KokkosAttention_HostTiles.hpp>

#include <Kokkos_Core.hpp>

#include <cstddef>
#include <cstring>

/// \file
/// The tile operations of the host engine: one thread a work item, queries in the lanes of vectors. Scores are K Q^T, a
/// row of vectors of queries for each key, and the output is accumulated as V^T P^T. Both products are computed for a
/// group of vectors at a time, with the softmax between them, so that scores stay in the first-level cache.

namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT {

/// \tparam Stored type of the output, the accumulation type where it is a partial result
template <Scalar ScalarType, class Stored>
class HostEngine {
  using Operands = HostOperands<ScalarType>;
  using T        = accumulation_t<ScalarType>;
  using Vector   = HostVector<T>;
  using Rows     = MatrixRows<ScalarType const>;

  AttentionArguments<ScalarType> const& m_arguments;
  Tensor<Stored> m_out;
  Tensor<T> m_lse;
  HostTile const& m_tile;
  HostSharedKeys const& m_shared;
  std::byte* m_scratch;
  mutable HostPrefetch m_prefetch;
  Vector* m_score;
  HostStates<T> m_states;
  typename Operands::Left m_key = {}, m_value = {};
  Sequence m_sequence = {};
  bool m_drops        = false;  // some weights, after the softmax
  bool m_streams      = false;  // reads each key for a few queries only
  bool m_is_first     = true;   // no tile of keys has been added to the output

 public:
  /// \param next what the thread reads after this
  HostEngine(AttentionArguments<ScalarType> const& arguments, Tensor<Stored> const& out, Tensor<T> const& lse,
             HostTile const& tile, HostSharedKeys const& shared, std::byte* scratch, HostPrefetch const& next = {})
      : m_arguments(arguments),
        m_out(out),
        m_lse(lse),
        m_tile(tile),
        m_shared(shared),
        m_scratch(scratch),
        m_prefetch(next) {
    m_score                = reinterpret_cast<Vector*>(scratch + tile.score_offset);
    m_states.maximum       = reinterpret_cast<Vector*>(scratch + tile.state_offset);
    m_states.sum           = m_states.maximum + tile.vectors;
    m_states.rescale       = m_states.sum + tile.vectors;
    m_states.first_maximum = m_states.rescale + tile.vectors;
    m_states.first_sum     = m_states.first_maximum + tile.vectors;
    m_states.progress      = reinterpret_cast<HostProgress*>(m_states.first_sum + tile.vectors);
  }

  void begin(Sequence const& sequence, Tile const& tile) {
    m_sequence = sequence;
    m_is_first = true;
    m_streams  = host_splits_keys(sequence.q_len, sequence.k_len);
    m_prefetch.divide(static_cast<int>((sequence.k_len + m_tile.keys - 1) / m_tile.keys) * prefetch_steps(tile));
    for (int first = 0; first < vectors(tile); first += m_tile.group) {
      int const query = first * Vector::lanes,
                count = Kokkos::min(group_size(tile, first) * Vector::lanes, queries(tile) - query);
      Operands::lanes(Rows(m_arguments.q, sequence.entry, tile.head, sequence.q_begin + tile.query_begin + query, count,
                           m_arguments.head_dim),
                      group_size(tile, first), query_group(first));
    }
    for (int v = 0; v < vectors(tile); ++v) {
      m_states.maximum[v] = Vector(-Kokkos::Experimental::infinity_v<T>);
      m_states.sum[v]     = Vector(T(0));
    }
  }

  void load_keys(Tile const& tile) {
    if constexpr (Operands::pairs)
      if (m_shared.data != nullptr) {
        m_key = Operands::packed_rows(m_shared.keys(m_sequence.entry, m_arguments.kv_head(tile.head), tile.key_begin),
                                      m_arguments.head_dim);
        return;
      }
    m_key = Operands::rows(rows_of(m_arguments.k, tile, m_arguments.head_dim), m_scratch + m_tile.key_offset);
  }

  /// Few queries wait for memory at each key; more of them find the keys in a cache.
  void prefetch(Tile const& next, bool exists) {
    if (!m_streams || !exists) return;
    m_prefetch = HostPrefetch();
    m_prefetch.add(rows_of(m_arguments.k, next, m_arguments.head_dim));
    m_prefetch.add(rows_of(m_arguments.v, next, m_arguments.value_dim));
    m_prefetch.divide(prefetch_steps(next));
  }

  void load_values(Tile const& tile) {
    if constexpr (Operands::pairs)
      if (m_shared.data != nullptr) {
        m_value = Operands::packed_columns(
            m_shared.values(m_sequence.entry, m_arguments.kv_head(tile.head), tile.key_begin), keys(tile));
        return;
      }
    m_value = Operands::columns(rows_of(m_arguments.v, tile, m_arguments.value_dim), m_scratch + m_tile.value_offset);
  }

  void draw(Tile const& tile, WeightDropout<T> const& dropout) {
    m_drops = true;
    draw_on_host(tile, dropout, kept(tile));
  }

  /// Put off until for_each_row.
  void multiply_query_key(Tile const&) const {}

  /// Each group of vectors goes through the part of the tile that has keys for it.
  template <class F, class KeysOf>
  KOKKOS_FORCEINLINE_FUNCTION void for_each_row(Tile const& tile, F const& f, KeysOf const& keys_of) const {
    for (int first = 0; first < vectors(tile); first += m_tile.group) {
      int const group = group_size(tile, first);
      Tile const part = part_of(tile, first, group, keys_of);
      if (keys(part) == 0) {
        if (m_is_first) std::memset(static_cast<void*>(output_group(first)), 0, m_tile.output_group_bytes);
        continue;
      }
      weigh(tile, part, first, group, f);
      accumulate(tile, part, first, group);
    }
  }

  /// Done by for_each_row.
  void accumulate_output(Tile const&) { m_is_first = false; }

  void finish(Tile const& tile) const {
    MatrixRows<Stored> const to(m_out, m_sequence.entry, tile.head, m_sequence.q_begin + tile.query_begin,
                                queries(tile), m_arguments.value_dim);
    if (m_lse.data != nullptr)
      for (int i = 0; i < queries(tile); ++i)
        m_lse(m_sequence.entry, tile.head, m_sequence.q_begin + tile.query_begin + i, 0) =
            SoftmaxState<T>{lane(m_states.maximum, i), lane(m_states.sum, i), T(0)}.lse();
    for (int v = 0; v < vectors(tile); ++v) {
      int const first           = v / m_tile.group * m_tile.group;
      HostStrides const strides = output_strides(group_size(tile, first));
      store_lanes(output_group(first) + strides(0, v - first), strides.row, normalisation(m_states.sum[v]),
                  v * Vector::lanes, to);
    }
  }

 private:
  static int queries(Tile const& tile) { return static_cast<int>(tile.query_end - tile.query_begin); }
  static int keys(Tile const& tile) { return static_cast<int>(tile.key_end - tile.key_begin); }
  static int vectors(Tile const& tile) { return (queries(tile) + Vector::lanes - 1) / Vector::lanes; }
  /// Vectors of the group that begins with vector `first`.
  int group_size(Tile const& tile, int first) const { return Kokkos::min(m_tile.group, vectors(tile) - first); }
  std::byte* query_group(int first) const { return m_scratch + first / m_tile.group * m_tile.query_group_bytes; }
  Vector* output_group(int first) const {
    return reinterpret_cast<Vector*>(m_scratch + m_tile.output_offset +
                                     first / m_tile.group * m_tile.output_group_bytes);
  }
  HostStrides output_strides(int group) const { return Operands::strides(m_arguments.value_dim, group); }
  static T lane(Vector const* vectors, int i) { return reinterpret_cast<T const*>(vectors)[i]; }

  Rows rows_of(Tensor<ScalarType const> const& tensor, Tile const& tile, int dim) const {
    return {tensor, m_sequence.entry, m_arguments.kv_head(tile.head), m_sequence.k_begin + tile.key_begin, keys(tile),
            dim};
  }

  /// Queries and keys of the group that begins with vector `first`; the keys that its queries may attend.
  template <class KeysOf>
  static Tile part_of(Tile const& tile, int first, int group, KeysOf const& keys_of) {
    Tile part             = tile;
    part.query_begin      = tile.query_begin + first * Vector::lanes;
    part.query_end        = Kokkos::min(part.query_begin + group * Vector::lanes, tile.query_end);
    KeyRange const range  = keys_of(part.query_begin, part.query_end);
    index_t const skipped = Kokkos::max(range.begin - tile.key_begin, index_t(0));
    part.key_begin = Kokkos::min(tile.key_begin + skipped / Operands::part_steps * Operands::part_steps, tile.key_end);
    part.key_end   = Kokkos::max(part.key_begin, Kokkos::min(range.end, tile.key_end));
    return part;
  }
  static int first_key(Tile const& tile, Tile const& part) { return static_cast<int>(part.key_begin - tile.key_begin); }

  /// The weights of a group of vectors, block by block of the part's keys. Vectors that are spoilt by then begin again,
  /// with all of the part at once: whether a vector does depends on no other one.
  template <class F>
  void weigh(Tile const& tile, Tile const& part, int first, int group, F const& f) const {
    for (int v = first; v < first + group; ++v) m_states.begin_tile(v);
    for (Tile block = part; block.key_begin < part.key_end; block.key_begin = block.key_end) {
      block.key_end = Kokkos::min(block.key_begin + m_tile.block, part.key_end);
      weigh_block(tile, part, block, first, 0, group, f);
    }
    if constexpr (Operands::tile_registers)
      for (int v = 0; v < group; ++v)
        if (m_states.progress[first + v] == HostProgress::spoilt) {
          m_states.begin_tile_again(first + v);
          weigh_block(tile, part, part, first, v, v + 1, f);
        }
  }

  /// Of vectors [v_begin, v_end) of the group that begins with vector `first`.
  template <class F>
  void weigh_block(Tile const& tile, Tile const& part, Tile const& block, int first, int v_begin, int v_end,
                   F const& f) const {
    int const count           = v_end - v_begin;
    HostStrides const strides = Operands::strides(keys(block), count);
    auto const of_queries     = Operands::packed_lanes(query_group(first), m_arguments.head_dim, count);
    Operands::product(keys(block), count, m_arguments.head_dim, m_key.from_row(first_key(tile, block)),
                      of_queries.from_column(v_begin), HostStore<T>{m_score, strides}, m_prefetch);
    std::byte* const weights =
        Operands::weight_place(v_begin, first_key(part, block), m_tile.keys, m_scratch + m_tile.weight_offset);
    for (int v = 0; v < count; ++v) {
      int const vector = first + v_begin + v, query = vector * Vector::lanes;
      if (m_states.progress[vector] == HostProgress::spoilt) continue;
      f(HostLanes<T, Operands>(m_score + strides(0, v), strides.row, keys(block), v,
                               Kokkos::min(Vector::lanes, queries(tile) - query), tile.query_begin + query,
                               block.key_begin, m_arguments.scale, Operands::weight_writer(v, m_tile.keys, weights),
                               m_drops, m_states.from(first + v_begin), kept(tile)));
    }
    Operands::finish_weights(m_score, strides, keys(block), count, m_tile.keys, m_drops, weights);
  }

  void accumulate(Tile const& tile, Tile const& part, int first, int group) const {
    Vector* const output      = output_group(first);
    HostStrides const strides = output_strides(group);
    auto const values         = Operands::from_step(m_value, first_key(tile, part));
    auto const weights =
        Operands::weights(m_score, Operands::strides(keys(part), group), m_tile.keys, m_scratch + m_tile.weight_offset);
    if (m_is_first)
      return Operands::product(m_arguments.value_dim, group, keys(part), values, weights, HostStore<T>{output, strides},
                               m_prefetch);
    for (int v = 0; v < group; ++v) {
      Vector const rescale = m_states.rescale[first + v];
      if (all_are_one(rescale)) continue;
      for (int d = 0; d < m_arguments.value_dim; ++d) output[strides(d, v)] *= rescale;
    }
    Operands::product(m_arguments.value_dim, group, keys(part), values, weights, HostAdd<T>{output, strides},
                      m_prefetch);
  }

  /// Steps of the prefetch in a tile of queries and one of keys.
  int prefetch_steps(Tile const& tile) const {
    int steps = 0;
    for (int first = 0; first < vectors(tile); first += m_tile.group)
      steps += Operands::blocks(m_tile.keys, group_size(tile, first)) +
               Operands::blocks(m_arguments.value_dim, group_size(tile, first));
    return steps;
  }

  KOKKOS_FORCEINLINE_FUNCTION KeptWeights kept(Tile const& tile) const {
    return {reinterpret_cast<unsigned char*>(m_scratch + m_tile.kept_offset), m_tile.keys / 4, tile.query_begin,
            tile.key_begin};
  }
};

}  // namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT

#endif
