// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTENGINE_HPP
#define KOKKOSATTENTION_HOSTENGINE_HPP

#include <KokkosAttention_ForwardLoop.hpp>
#include <KokkosAttention_HostLanes.hpp>
#include <KokkosAttention_HostOperands.hpp>
#include <KokkosAttention_HostTiles.hpp>

#include <Kokkos_Core.hpp>

#include <cstddef>

/// \file
/// The tile operations of the host engine: one thread a work item, queries in the lanes of vectors. Scores are
/// K Q^T, a row of vectors of queries for each key, and the output is accumulated as V^T P^T.

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
  std::byte* m_scratch;
  Vector *m_score, *m_output;
  HostStates<T> m_states;
  typename Operands::Right m_query = {};
  typename Operands::Left m_key = {}, m_value = {};
  Sequence m_sequence = {};
  bool m_drops        = false;  // some weights, after the softmax

 public:
  HostEngine(AttentionArguments<ScalarType> const& arguments, Tensor<Stored> const& out, Tensor<T> const& lse,
             HostTile const& tile, std::byte* scratch)
      : m_arguments(arguments), m_out(out), m_lse(lse), m_tile(tile), m_scratch(scratch) {
    m_score          = reinterpret_cast<Vector*>(scratch + tile.score_offset);
    m_output         = reinterpret_cast<Vector*>(scratch + tile.output_offset);
    m_states.maximum = reinterpret_cast<Vector*>(scratch + tile.state_offset);
    m_states.sum     = m_states.maximum + tile.vectors;
    m_states.rescale = m_states.sum + tile.vectors;
  }

  void begin(Sequence const& sequence, Tile const& tile) {
    m_sequence = sequence;
    m_query    = Operands::lanes(Rows(m_arguments.q, sequence.entry, tile.head, sequence.q_begin + tile.query_begin,
                                      queries(tile), m_arguments.head_dim),
                                 vectors(tile), m_scratch);
    for (int v = 0; v < vectors(tile); ++v) {
      m_states.maximum[v] = Vector(-Kokkos::Experimental::infinity_v<T>);
      m_states.sum[v]     = Vector(T(0));
    }
    for (int n = 0; n < m_arguments.value_dim * vectors(tile); ++n) m_output[n] = Vector(T(0));
  }

  void load_keys(Tile const& tile) {
    m_key = Operands::rows(rows_of(m_arguments.k, tile, m_arguments.head_dim), m_scratch + m_tile.key_offset);
  }

  void load_values(Tile const& tile) {
    m_value = Operands::columns(rows_of(m_arguments.v, tile, m_arguments.value_dim), m_scratch + m_tile.value_offset);
  }

  void draw(Tile const& tile, WeightDropout<T> const& dropout) {
    m_drops = true;
    draw_on_host(tile, dropout, kept(tile));
  }

  void multiply_query_key(Tile const& tile) const {
    Operands::product(keys(tile), vectors(tile), m_arguments.head_dim, m_key, m_query,
                      HostStore<T>{m_score, vectors(tile)});
  }

  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void for_each_row(Tile const& tile, F const& f) const {
    for (int v = 0; v < vectors(tile); ++v) {
      int const first = v * Vector::lanes;
      f(HostLanes<T, Operands>(
          m_score, vectors(tile), keys(tile), v, Kokkos::min(Vector::lanes, queries(tile) - first),
          tile.query_begin + first, tile.key_begin, m_arguments.scale,
          Operands::weight_writer(m_score, vectors(tile), m_drops, m_scratch + m_tile.weight_offset), m_states,
          kept(tile)));
    }
  }

  void accumulate_output(Tile const& tile) const {
    int const stride = vectors(tile);
    for (int v = 0; v < stride; ++v) {
      Vector const rescale = m_states.rescale[v];
      if (all_are_one(rescale)) continue;
      for (int d = 0; d < m_arguments.value_dim; ++d) m_output[d * stride + v] *= rescale;
    }
    std::byte* const packed = m_scratch + m_tile.weight_offset;
    Operands::product(m_arguments.value_dim, stride, keys(tile), m_value,
                      m_drops ? Operands::weights(m_score, keys(tile), stride, packed)
                              : Operands::written_weights(keys(tile), stride, m_score, packed),
                      HostAdd<T>{m_output, stride});
  }

  void finish(Tile const& tile) const {
    MatrixRows<Stored> const to(m_out, m_sequence.entry, tile.head, m_sequence.q_begin + tile.query_begin,
                                queries(tile), m_arguments.value_dim);
    for (int v = 0; v < vectors(tile); ++v) {
      T normalisation[Vector::lanes];
      for (int l = 0; l < Vector::lanes; ++l) {
        SoftmaxState<T> const state{lane(m_states.maximum, v, l), lane(m_states.sum, v, l), T(0)};
        normalisation[l] = state.normalisation();
        int const i      = v * Vector::lanes + l;
        if (m_lse.data != nullptr && i < queries(tile))
          m_lse(m_sequence.entry, tile.head, m_sequence.q_begin + tile.query_begin + i, 0) = state.lse();
      }
      store_lanes(m_output + v, vectors(tile), Vector::load(normalisation), v * Vector::lanes, to);
    }
  }

 private:
  static int queries(Tile const& tile) { return static_cast<int>(tile.query_end - tile.query_begin); }
  static int keys(Tile const& tile) { return static_cast<int>(tile.key_end - tile.key_begin); }
  static int vectors(Tile const& tile) { return (queries(tile) + Vector::lanes - 1) / Vector::lanes; }
  static T lane(Vector const* vectors, int v, int l) { return reinterpret_cast<T const*>(vectors + v)[l]; }

  Rows rows_of(Tensor<ScalarType const> const& tensor, Tile const& tile, int dim) const {
    return {tensor, m_sequence.entry, m_arguments.kv_head(tile.head), m_sequence.k_begin + tile.key_begin, keys(tile),
            dim};
  }
  KOKKOS_FORCEINLINE_FUNCTION KeptWeights kept(Tile const& tile) const {
    return {reinterpret_cast<unsigned char*>(m_scratch + m_tile.kept_offset), m_tile.keys / 4, tile.query_begin,
            tile.key_begin};
  }
};

}  // namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT

#endif
