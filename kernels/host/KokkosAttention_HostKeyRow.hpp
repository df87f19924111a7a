// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTKEYROW_HPP
#define KOKKOSATTENTION_HOSTKEYROW_HPP

#include <KokkosAttention_HostVector.hpp>
#include <KokkosAttention_PortableDropout.hpp>
#include <KokkosAttention_Softmax.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The scores of one query in the host engine, with keys in the lanes of vectors.

namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT {

template <class T>
class HostKeyRow {
  using Vector = HostVector<T>;

  Vector* m_scores;  // lanes beyond the keys are -inf
  int m_keys;
  index_t m_query, m_first_key;
  SoftmaxState<T>& m_state;
  KeptWeights m_kept;

 public:
  using value_type = T;

  KOKKOS_FORCEINLINE_FUNCTION HostKeyRow(Vector* scores, int keys, index_t query, index_t first_key,
                                         SoftmaxState<T>& state, KeptWeights const& kept)
      : m_scores(scores), m_keys(keys), m_query(query), m_first_key(first_key), m_state(state), m_kept(kept) {}

  KOKKOS_FORCEINLINE_FUNCTION SoftmaxState<T> state() const { return m_state; }
  KOKKOS_FORCEINLINE_FUNCTION void set_state(SoftmaxState<T> const& state) const { m_state = state; }
  KOKKOS_FORCEINLINE_FUNCTION bool kept(index_t i, index_t j) const { return m_kept(i, j); }

  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void transform(F const& f) const {
    T* const score = reinterpret_cast<T*>(m_scores);
    for (int j = 0; j < m_keys; ++j) score[j] = f(m_query, m_first_key + j, score[j]);
  }

  KOKKOS_FORCEINLINE_FUNCTION T maximum() const {
    Vector most = m_scores[0];
    for (int n = 1; n < vectors(); ++n) most = larger(most, m_scores[n]);
    T lane[Vector::lanes];
    most.store(lane);
    T result = lane[0];
    for (int l = 1; l < Vector::lanes; ++l) result = larger(result, lane[l]);
    return result;
  }

  /// Replaces each score by exp(score - shift) and returns their sum.
  KOKKOS_FORCEINLINE_FUNCTION T exponentiate(T shift) const {
    Vector sums(T(0));
    for (int n = 0; n < vectors(); ++n) sums += m_scores[n] = softmax_exponential(m_scores[n] - shift);
    T lane[Vector::lanes];
    sums.store(lane);
    T sum = 0;
    for (int l = 0; l < Vector::lanes; ++l) sum += lane[l];
    return sum;
  }

 private:
  int vectors() const { return (m_keys + Vector::lanes - 1) / Vector::lanes; }
};

}  // namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT

#endif
