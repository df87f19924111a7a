// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTENGINE_HPP
#define KOKKOSATTENTION_HOSTENGINE_HPP

#include <KokkosAttention_ForwardLoop.hpp>
#include <KokkosAttention_HostConversion.hpp>
#include <KokkosAttention_HostLanes.hpp>
#include <KokkosAttention_HostProduct.hpp>
#include <KokkosAttention_HostTiles.hpp>
#include <KokkosAttention_PortableLoad.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The tile operations of the host engine, of one thread. Queries lie in the lanes of vectors: scores are K Q^T, keys
/// by queries, and the output is accumulated as V^T P, so that keys and values are read as they lie, number by number,
/// and nothing but the queries and the output is ever transposed.

namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT {

template <Scalar ScalarType>
class HostEngine {
  using T      = accumulation_t<ScalarType>;
  using Vector = HostVector<T>;
  using Rows   = MatrixRows<ScalarType const>;

  ForwardArguments<ScalarType> const& m_arguments;
  HostTile const& m_tile;
  Vector *m_query, *m_score, *m_output;
  T *m_key, *m_value;
  HostStates<T> m_states;
  unsigned char* m_kept;
  Sequence m_sequence = {};

 public:
  HostEngine(ForwardArguments<ScalarType> const& arguments, HostTile const& tile, std::byte* scratch)
      : m_arguments(arguments), m_tile(tile) {
    m_query          = reinterpret_cast<Vector*>(scratch);
    m_key            = reinterpret_cast<T*>(scratch + tile.key_offset);
    m_value          = reinterpret_cast<T*>(scratch + tile.value_offset);
    m_score          = reinterpret_cast<Vector*>(scratch + tile.score_offset);
    m_output         = reinterpret_cast<Vector*>(scratch + tile.output_offset);
    m_states.maximum = reinterpret_cast<Vector*>(scratch + tile.state_offset);
    m_states.sum     = m_states.maximum + tile.vectors;
    m_states.rescale = m_states.sum + tile.vectors;
    m_kept           = reinterpret_cast<unsigned char*>(scratch + tile.kept_offset);
  }

  void begin(Sequence const& sequence, Tile const& tile) {
    m_sequence = sequence;
    Rows const rows(m_arguments.q, sequence.entry, tile.head, sequence.q_begin + tile.query_begin, queries(tile),
                    m_arguments.head_dim);
    T* const query = reinterpret_cast<T*>(m_query);
    int const used = vectors(tile) * HostVector<T>::lanes;
    for (int d = 0; d < m_arguments.head_dim; ++d) {
      for (int i = 0; i < rows.rows; ++i) query[d * m_tile.queries + i] = static_cast<T>(rows(i, d));
      for (int i = rows.rows; i < used; ++i) query[d * m_tile.queries + i] = 0;
    }
    for (int v = 0; v < vectors(tile); ++v) {
      m_states.maximum[v] = Vector(-Kokkos::Experimental::infinity_v<T>);
      m_states.sum[v]     = Vector(T(0));
    }
    for (int d = 0; d < m_arguments.value_dim; ++d)
      for (int v = 0; v < vectors(tile); ++v) m_output[d * m_tile.vectors + v] = Vector(T(0));
  }

  void load_keys(Tile const& tile) const {
    copy(Rows(m_arguments.k, m_sequence.entry, m_arguments.kv_head(tile.head), m_sequence.k_begin + tile.key_begin,
              keys(tile), m_arguments.head_dim),
         m_key);
  }

  void load_values(Tile const& tile) const {
    copy(Rows(m_arguments.v, m_sequence.entry, m_arguments.kv_head(tile.head), m_sequence.k_begin + tile.key_begin,
              keys(tile), m_arguments.value_dim),
         m_value);
  }

  void draw(Tile const& tile, WeightDropout<T> const& dropout) const {
    KeptWeights const to = kept(tile);
    int const quads      = (keys(tile) + 3) / 4;
    for (int i = 0; i < queries(tile); ++i)
      for (int q = 0; q < quads; ++q)
        to.quads[i * to.stride + q] = static_cast<unsigned char>(
            dropout.kept_quad(tile.batch, tile.head, tile.query_begin + i, tile.key_begin / 4 + q));
  }

  void multiply_query_key(Tile const& tile) const {
    multiply(keys(tile), vectors(tile), m_arguments.head_dim, HostLeft<T>{m_key, m_arguments.head_dim, 1},
             HostRight<T>{m_query, m_tile.vectors}, HostStore<T>{m_score, m_tile.vectors, m_arguments.scale});
  }

  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void for_each_row(Tile const& tile, F const& f) const {
    for (int v = 0; v < vectors(tile); ++v) {
      int const first = v * HostVector<T>::lanes;
      f(HostLanes<T>(m_score, m_tile.vectors, keys(tile), v, Kokkos::min(HostVector<T>::lanes, queries(tile) - first),
                     tile.query_begin + first, tile.key_begin, m_states, kept(tile)));
    }
  }

  void accumulate_output(Tile const& tile) const {
    multiply(m_arguments.value_dim, vectors(tile), keys(tile), HostLeft<T>{m_value, 1, m_arguments.value_dim},
             HostRight<T>{m_score, m_tile.vectors}, HostRescaleAndAdd<T>{m_output, m_tile.vectors, m_states.rescale});
  }

  void finish(Tile const& tile) const {
    auto const& lse       = m_arguments.lse;
    T const* const output = reinterpret_cast<T const*>(m_output);
    MatrixRows<ScalarType> const to(m_arguments.out, m_sequence.entry, tile.head, m_sequence.q_begin + tile.query_begin,
                                    queries(tile), m_arguments.value_dim);
    for (int i = 0; i < queries(tile); ++i) {
      SoftmaxState<T> const state{lane(m_states.maximum, i), lane(m_states.sum, i), T(0)};
      T const normalisation = state.normalisation();
      for (int d = 0; d < m_arguments.value_dim; ++d)
        to(i, d) = static_cast<ScalarType>(
            // Nothing was accumulated where there was nothing to attend.
            normalisation == T(0) ? T(0) : normalisation * output[d * m_tile.queries + i]);
      if (lse.data != nullptr)
        lse(m_sequence.entry, tile.head, m_sequence.q_begin + tile.query_begin + i, 0) = state.lse();
    }
  }

 private:
  static int queries(Tile const& tile) { return static_cast<int>(tile.query_end - tile.query_begin); }
  static int keys(Tile const& tile) { return static_cast<int>(tile.key_end - tile.key_begin); }
  static int vectors(Tile const& tile) { return (queries(tile) + HostVector<T>::lanes - 1) / HostVector<T>::lanes; }
  static T lane(Vector const* vectors, int i) { return reinterpret_cast<T const*>(vectors)[i]; }

  KOKKOS_FORCEINLINE_FUNCTION KeptWeights kept(Tile const& tile) const {
    return {m_kept, m_tile.keys / 4, tile.query_begin, tile.key_begin};
  }

  static void copy(Rows const& rows, T* to) {
    if (rows.column_stride == 1) {
      for (int i = 0; i < rows.rows; ++i) convert(rows.data + i * rows.row_stride, rows.columns, to + i * rows.columns);
    } else {
      for (int i = 0; i < rows.rows; ++i)
        for (int d = 0; d < rows.columns; ++d) to[i * rows.columns + d] = static_cast<T>(rows(i, d));
    }
  }
};

}  // namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT

#endif
