// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTGRADIENTLANES_HPP
#define KOKKOSATTENTION_HOSTGRADIENTLANES_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_HostBias.hpp>
#include <KokkosAttention_HostLaneRanges.hpp>
#include <KokkosAttention_HostVector.hpp>
#include <KokkosAttention_PortableDropout.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// Rows of scores and of their gradients in the host engine: a row of the thread's own side in each lane.

namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT {

/// A vector of a tile, with a vector of each number that goes along: one for each row of the other side.
template <class T>
struct HostGradientTile {
  HostVector<T>*scores, *gradients;
  index_t stride;  // in vectors
  int others;
  index_t first_other;
  T factor;  // that the scores have still to be multiplied by
};

/// LSE (+inf where there is nothing to attend) and rowsum(dO O) of the tile's queries.
template <class T>
struct HostStatistics {
  T const *lse, *delta;
  index_t query_begin;
};

/// The positions of the rows in the lanes of a vector.
struct HostLaneRows {
  index_t first;
};

/// Takes the weights of a vector, and their gradients, to where products read them.
template <class Operands, GradientOf target>
struct HostGradientWriter {
  static constexpr bool active = Operands::pairs && target != GradientOf::bias;
  using Vector                 = typename Operands::Vector;

  typename Operands::WeightWriter weights, gradients;
  typename Operands::WeightRowWriter gradient_rows;
  int vector;  // of the tile

  /// Of rows r and r + 1 of the other side.
  KOKKOS_FORCEINLINE_FUNCTION void set(int r, Vector const (&weight)[2], Vector const (&gradient)[2]) const {
    if constexpr (target != GradientOf::queries) weights.set(r, weight[0], weight[1]);
    gradients.set(r, gradient[0], gradient[1]);
    if constexpr (target == GradientOf::all)
      for (int n = 0; n < 2; ++n) gradient_rows.set(r + n, vector, gradient[n]);
  }
  KOKKOS_FORCEINLINE_FUNCTION void set_last(int r, Vector weight, Vector gradient) const {
    if constexpr (target != GradientOf::queries) weights.set_last(r, weight);
    gradients.set_last(r, gradient);
    if constexpr (target == GradientOf::all) gradient_rows.set(r, vector, gradient);
  }
};

template <class T, Side own, class Writer>
class HostGradientLanes {
  using Vector = HostVector<T>;

  HostGradientTile<T> m_tile;
  Writer m_writer;
  mutable T m_factor;
  index_t m_first;  // position of the first lane's row
  int m_rows;       // how many lanes have one
  HostStatistics<T> m_statistics;
  KeptWeights m_kept;

 public:
  using value_type = T;

  static constexpr bool takes_masks_apart = true;

  KOKKOS_FORCEINLINE_FUNCTION
  HostGradientLanes(HostGradientTile<T> const& tile, Writer const& writer, index_t first, int rows,
                    HostStatistics<T> const& statistics, KeptWeights const& kept)
      : m_tile(tile),
        m_writer(writer),
        m_factor(tile.factor),
        m_first(first),
        m_rows(rows),
        m_statistics(statistics),
        m_kept(kept) {}

  KOKKOS_FORCEINLINE_FUNCTION T delta(index_t i) const { return m_statistics.delta[i - m_statistics.query_begin]; }
  KOKKOS_FORCEINLINE_FUNCTION Vector weight(index_t i, Vector score) const {
    return softmax_exponential(score - m_statistics.lse[i - m_statistics.query_begin]);
  }
  KOKKOS_FORCEINLINE_FUNCTION Vector weight(HostLaneRows i, Vector score) const {
    return softmax_exponential(score - Vector::load(m_statistics.lse + (i.first - m_statistics.query_begin)));
  }
  KOKKOS_FORCEINLINE_FUNCTION Vector delta(HostLaneRows i) const {
    return Vector::load(m_statistics.delta + (i.first - m_statistics.query_begin));
  }
  KOKKOS_FORCEINLINE_FUNCTION bool kept(index_t i, index_t j) const { return m_kept(i, j); }

  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void update(F const& f) const {
    if (m_factor != T(1)) multiply_by_factor();
    for (int r = 0; r < m_tile.others; ++r) {
      T* const score      = reinterpret_cast<T*>(m_tile.scores + r * m_tile.stride);
      T* const gradient   = reinterpret_cast<T*>(m_tile.gradients + r * m_tile.stride);
      index_t const other = m_tile.first_other + r;
      if (m_rows == Vector::lanes) {
        KOKKOSATTENTION_LANES
        for (int l = 0; l < Vector::lanes; ++l) apply(f, m_first + l, other, score[l], gradient[l]);
      } else {
        for (int l = 0; l < m_rows; ++l) apply(f, m_first + l, other, score[l], gradient[l]);
      }
    }
  }

  /// Drops pairs that are not in keys_of(i), and so not in queries_of(j).
  template <class KeysOf, class QueriesOf>
  void keep(KeysOf const& keys_of, QueriesOf const& queries_of) const {
    auto const range_of = [&](int l) {
      if constexpr (own == Side::queries)
        return keys_of(m_first + l);
      else
        return queries_of(m_first + l);
    };
    HostLaneRanges<T> const ranges(range_of, m_rows, m_tile.first_other, m_tile.others);
    constexpr T infinity = Kokkos::Experimental::infinity_v<T>;
    T const dropped      = m_factor < T(0) ? infinity : -infinity;
    ranges.for_each_cut_row([&](int r) {
      Vector &score = m_tile.scores[r * m_tile.stride], &gradient = m_tile.gradients[r * m_tile.stride];
      score    = ranges.held(r, score, dropped);
      gradient = ranges.held(r, gradient, T(0));
    });
  }

  /// Adds the bias of batch entry b and head h to the scores.
  template <class ScalarType>
  void add(Tensor<ScalarType const> const& bias, int b, int h) const {
    HostBiasPart<ScalarType> part;
    if constexpr (own == Side::queries)
      part = {&bias(b, h, m_first, m_tile.first_other), bias.stride[2], bias.stride[3]};
    else
      part = {&bias(b, h, m_tile.first_other, m_first), bias.stride[3], bias.stride[2]};
    add_bias(part, m_rows, m_tile.others, m_factor, m_tile.scores, m_tile.stride);
    m_factor = T(1);
  }

  /// The same, with vectors for the numbers that differ from lane to lane. Also for lanes without a row.
  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void update_lanes(F const& f) const {
    for (int r = 0; r < m_tile.others; ++r) {
      Vector score    = m_factor * m_tile.scores[r * m_tile.stride];
      Vector gradient = m_tile.gradients[r * m_tile.stride];
      apply(f, HostLaneRows{m_first}, m_tile.first_other + r, score, gradient);
      m_tile.scores[r * m_tile.stride]    = score;
      m_tile.gradients[r * m_tile.stride] = gradient;
    }
    m_factor = T(1);
  }

  /// The same, for the products: scores and gradients are not in their places afterwards.
  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void store_lanes(F const& f) const requires Writer::active {
    // Copies, as members would be read again after each store.
    auto const tile     = m_tile;
    auto const writer   = m_writer;
    T const factor      = m_factor;
    auto const apply_to = [&](int r, Vector& score, Vector& gradient) {
      score    = factor * tile.scores[r * tile.stride];
      gradient = tile.gradients[r * tile.stride];
      apply(f, HostLaneRows{m_first}, tile.first_other + r, score, gradient);
    };
    int r = 0;
    for (; r + 2 <= tile.others; r += 2) {
      Vector score[2], gradient[2];
      KOKKOSATTENTION_UNROLL
      for (int n = 0; n < 2; ++n) apply_to(r + n, score[n], gradient[n]);
      writer.set(r, score, gradient);
    }
    if (r < tile.others) {
      Vector score, gradient;
      apply_to(r, score, gradient);
      writer.set_last(r, score, gradient);
    }
  }

 private:
  template <class F, class Own, class Number>
  KOKKOS_FORCEINLINE_FUNCTION static void apply(F const& f, Own own_row, index_t other_row, Number& score,
                                                Number& gradient) {
    if constexpr (own == Side::queries)
      f(own_row, other_row, score, gradient);
    else
      f(other_row, own_row, score, gradient);
  }

  KOKKOS_FORCEINLINE_FUNCTION void multiply_by_factor() const {
    for (int r = 0; r < m_tile.others; ++r)
      m_tile.scores[r * m_tile.stride] = m_factor * m_tile.scores[r * m_tile.stride];
    m_factor = T(1);
  }
};

}  // namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT

#endif
