// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_PORTABLEGRADIENTROWS_HPP
#define KOKKOSATTENTION_PORTABLEGRADIENTROWS_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_Exponential.hpp>
#include <KokkosAttention_Loops.hpp>
#include <KokkosAttention_PortableDropout.hpp>
#include <KokkosAttention_PortableProduct.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// A row of scores and of their gradients in the backward pass: one query and many keys, or one key and many queries.

namespace KokkosAttention::Impl::inline KOKKOSATTENTION_VECTORS {

/// What the pairs of a tile have in common with their query, in scratch.
template <class T>
struct QueryStatistics {
  T const *lse, *delta;
  index_t query_begin;
};

template <class T, class Member, Side own>
class PortableGradientRow {
  Member const& m_member;
  T *m_scores, *m_gradients;
  int m_columns;
  index_t m_own, m_first;  // position of the row, and of its first column
  QueryStatistics<T> m_statistics;
  KeptWeights m_kept;

 public:
  using value_type = T;

  KOKKOS_FUNCTION PortableGradientRow(Member const& member, T* scores, T* gradients, int columns, index_t position,
                                      index_t first, QueryStatistics<T> const& statistics, KeptWeights const& kept)
      : m_member(member),
        m_scores(scores),
        m_gradients(gradients),
        m_columns(columns),
        m_own(position),
        m_first(first),
        m_statistics(statistics),
        m_kept(kept) {}

  KOKKOS_FORCEINLINE_FUNCTION T weight(index_t i, T score) const {
    return softmax_exponential(score - m_statistics.lse[i - m_statistics.query_begin]);
  }
  KOKKOS_FUNCTION T delta(index_t i) const { return m_statistics.delta[i - m_statistics.query_begin]; }
  KOKKOS_FUNCTION bool kept(index_t i, index_t j) const { return m_kept(i, j); }

  template <class F>
  KOKKOS_FUNCTION void update(F const& f) const {
    Kokkos::parallel_for(Kokkos::ThreadVectorRange(m_member, m_columns), [&](int c) { apply(f, c); });
  }

  /// The same; on hosts columns become the lanes of vectors.
  template <class F>
  KOKKOS_FUNCTION void update_lanes(F const& f) const {
    if constexpr (runs_on_host<typename Member::execution_space>) {
      KOKKOSATTENTION_LANES
      for (int c = 0; c < m_columns; ++c) apply(f, c);
    } else {
      update(f);
    }
  }

 private:
  template <class F>
  KOKKOS_FUNCTION void apply(F const& f, int c) const {
    if constexpr (own == Side::queries)
      f(m_own, m_first + c, m_scores[c], m_gradients[c]);
    else
      f(m_first + c, m_own, m_scores[c], m_gradients[c]);
  }
};

}  // namespace KokkosAttention::Impl::inline KOKKOSATTENTION_VECTORS

#endif
