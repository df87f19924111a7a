// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTDECODEENGINE_HPP
#define KOKKOSATTENTION_HOSTDECODEENGINE_HPP

#include <KokkosAttention_ForwardLoop.hpp>
#include <KokkosAttention_HostKeyRow.hpp>
#include <KokkosAttention_HostOperands.hpp>
#include <KokkosAttention_HostTiles.hpp>

#include <Kokkos_Core.hpp>

#include <cstddef>
#include <cstring>

/// \file
/// The tile operations of the host engine for very few queries, whose time is that of reading keys and values once from
/// memory: they are not copied, and their head dimension lies in the lanes of vectors.

namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT {

/// \tparam Stored type of the output, the accumulation type where it is a partial result
template <Scalar ScalarType, class Stored>
class HostDecodeEngine {
  using T      = accumulation_t<ScalarType>;
  using Vector = HostVector<T>;
  using Rows   = MatrixRows<ScalarType const>;

  // A group of keys, whose inner products are added up across lanes together.
  static constexpr int group = Vector::lanes;

  AttentionArguments<ScalarType> const& m_arguments;
  Tensor<Stored> m_out;
  Tensor<T> m_lse;
  HostTile const& m_tile;
  std::byte* m_scratch;
  Vector *m_query, *m_output, *m_score;
  SoftmaxState<T>* m_states;
  Sequence m_sequence = {};

 public:
  HostDecodeEngine(AttentionArguments<ScalarType> const& arguments, Tensor<Stored> const& out, Tensor<T> const& lse,
                   HostTile const& tile, std::byte* scratch)
      : m_arguments(arguments), m_out(out), m_lse(lse), m_tile(tile), m_scratch(scratch) {
    m_query  = reinterpret_cast<Vector*>(scratch + tile.decode_offset);
    m_output = m_query + host_decode_queries * vectors(arguments.head_dim);
    m_score  = m_output + host_decode_queries * vectors(arguments.value_dim);
    m_states = reinterpret_cast<SoftmaxState<T>*>(m_score + host_decode_queries * vectors(tile.keys));
  }

  void begin(Sequence const& sequence, Tile const& tile) {
    m_sequence = sequence;
    Rows const rows(m_arguments.q, sequence.entry, tile.head, sequence.q_begin + tile.query_begin, queries(tile),
                    m_arguments.head_dim);
    for (int i = 0; i < queries(tile); ++i) {
      for (int d = 0; d < vectors(rows.columns); ++d) m_query[i * vectors(rows.columns) + d] = part(rows, i, d);
      m_states[i] = {-Kokkos::Experimental::infinity_v<T>, T(0), T(0)};
    }
    std::memset(static_cast<void*>(m_output), 0, queries(tile) * vectors(m_arguments.value_dim) * sizeof(Vector));
  }

  void draw(Tile const& tile, WeightDropout<T> const& dropout) const { draw_on_host(tile, dropout, kept(tile)); }

  /// Keys and values are read where they lie.
  void load_keys(Tile const&) const {}
  void load_values(Tile const&) const {}

  void multiply_query_key(Tile const& tile) const {
    Rows const rows = rows_of(m_arguments.k, tile, m_arguments.head_dim);
    for (int first = 0; first < rows.rows; first += group) {
      fetch(rows, first + 2 * group);
      for (int i = 0; i < queries(tile); ++i) m_score[score_vector(i, first)] = products(rows, first, i);
    }
  }

  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void for_each_row(Tile const& tile, F const& f) const {
    for (int i = 0; i < queries(tile); ++i)
      f(HostKeyRow<T>(m_score + score_vector(i, 0), keys(tile), tile.query_begin + i, tile.key_begin, m_states[i],
                      kept(tile)));
  }

  void accumulate_output(Tile const& tile) const {
    Rows const rows     = rows_of(m_arguments.v, tile, m_arguments.value_dim);
    int const dim       = vectors(m_arguments.value_dim);
    constexpr int chunk = 8;
    for (int first = 0; first < rows.rows; first += group) {
      fetch(rows, first + 2 * group);
      int const last = Kokkos::min(first + group, rows.rows);
      for (int i = 0; i < queries(tile); ++i) {
        T const* const weight = reinterpret_cast<T const*>(m_score + score_vector(i, 0));
        Vector const rescale(first == 0 ? m_states[i].rescale : T(1));
        Vector* const output = m_output + i * dim;
        int d                = 0;
        for (; d + chunk <= dim; d += chunk) add_values<chunk>(rows, first, last, weight, rescale, d, output);
        for (; d < dim; ++d) add_values<1>(rows, first, last, weight, rescale, d, output);
      }
    }
  }

  void finish(Tile const& tile) const {
    int const dim = vectors(m_arguments.value_dim);
    for (int i = 0; i < queries(tile); ++i) {
      index_t const row = m_sequence.q_begin + tile.query_begin + i;
      // Nothing was summed where there was nothing to attend.
      store_row(m_output + i * dim, 1, Vector(m_states[i].normalisation()),
                MatrixRows<Stored>(m_out, m_sequence.entry, tile.head, row, 1, m_arguments.value_dim));
      if (m_lse.data != nullptr) m_lse(m_sequence.entry, tile.head, row, 0) = m_states[i].lse();
    }
  }

 private:
  static int queries(Tile const& tile) { return static_cast<int>(tile.query_end - tile.query_begin); }
  static int keys(Tile const& tile) { return static_cast<int>(tile.key_end - tile.key_begin); }
  static int vectors(int numbers) { return (numbers + Vector::lanes - 1) / Vector::lanes; }
  int score_vector(int query, int key) const { return query * vectors(m_tile.keys) + key / Vector::lanes; }

  Rows rows_of(Tensor<ScalarType const> const& tensor, Tile const& tile, int dim) const {
    return {tensor, m_sequence.entry, m_arguments.kv_head(tile.head), m_sequence.k_begin + tile.key_begin, keys(tile),
            dim};
  }
  KOKKOS_FORCEINLINE_FUNCTION KeptWeights kept(Tile const& tile) const {
    return {reinterpret_cast<unsigned char*>(m_scratch + m_tile.kept_offset), m_tile.keys / 4, tile.query_begin,
            tile.key_begin};
  }

  /// Vector d of row i, 0 beyond the columns.
  KOKKOS_FORCEINLINE_FUNCTION static Vector part(Rows const& rows, int i, int d) {
    int const first = d * Vector::lanes;
    if (rows.column_stride == 1 && first + Vector::lanes <= rows.columns) return load(&rows(i, first));
    T numbers[Vector::lanes] = {};
    for (int n = 0; n < Vector::lanes && first + n < rows.columns; ++n) numbers[n] = static_cast<T>(rows(i, first + n));
    return Vector::load(numbers);
  }

  /// Asks for a group of rows, also of the tile that follows; requests beyond an array's end are harmless.
  static void fetch(Rows const& rows, int first) {
    if (rows.column_stride != 1) return;
    constexpr int line = 64 / sizeof(ScalarType);
    for (int n = first; n < first + group; ++n)
      for (int d = 0; d < rows.columns; d += line) __builtin_prefetch(rows.data + n * rows.row_stride + d, 0, 3);
  }

  /// Scores of query i and a group of keys; lanes beyond the keys are -inf.
  Vector products(Rows const& rows, int first, int i) const {
    typename VectorTypes<T>::Numbers sums[group] = {};
    Vector const* const query                    = m_query + i * vectors(rows.columns);
    int const count                              = Kokkos::min(group, rows.rows - first);
    for (int d = 0; d < vectors(rows.columns); ++d) {
      if (count == group)
        for (int n = 0; n < group; ++n) sums[n] += query[d].numbers() * part(rows, first + n, d).numbers();
      else
        for (int n = 0; n < count; ++n) sums[n] += query[d].numbers() * part(rows, first + n, d).numbers();
    }
    transpose(sums);
    KOKKOSATTENTION_UNROLL
    for (int width = group / 2; width > 0; width /= 2)
      for (int n = 0; n < width; ++n) sums[n] += sums[n + width];
    T scores[Vector::lanes];
    (m_arguments.scale * Vector(sums[0])).store(scores);
    for (int n = count; n < group; ++n) scores[n] = -Kokkos::Experimental::infinity_v<T>;
    return Vector::load(scores);
  }

  /// `count` vectors of the output from vector d on.
  template <int count>
  KOKKOS_FORCEINLINE_FUNCTION static void add_values(Rows const& rows, int first, int last, T const* weight,
                                                     Vector rescale, int d, Vector* output) {
    typename VectorTypes<T>::Numbers sums[count];
    KOKKOSATTENTION_UNROLL
    for (int n = 0; n < count; ++n) sums[n] = output[d + n].numbers() * rescale.numbers();
    for (int j = first; j < last; ++j) {
      KOKKOSATTENTION_UNROLL
      for (int n = 0; n < count; ++n) sums[n] += weight[j] * part(rows, j, d + n).numbers();
    }
    KOKKOSATTENTION_UNROLL
    for (int n = 0; n < count; ++n) output[d + n] = sums[n];
  }
};

}  // namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT

#endif
