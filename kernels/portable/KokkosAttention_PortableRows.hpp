// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_PORTABLEROWS_HPP
#define KOKKOSATTENTION_PORTABLEROWS_HPP

#include <KokkosAttention_Exponential.hpp>
#include <KokkosAttention_Functors.hpp>
#include <KokkosAttention_Loops.hpp>
#include <KokkosAttention_PortableProduct.hpp>
#include <KokkosAttention_Softmax.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// A row of scores in memory, and the operations on it that masks, score functions and softmax are written in.

namespace KokkosAttention::Impl {

/// A row as one host thread works on it: in chunks of as many neighbouring scores as make two vectors.
template <class T>
class HostRow {
  static constexpr int chunk = RegisterBlock<T, true>::columns;

  T* m_scores;
  int m_keys, m_padded_keys;  // the latter a multiple of the chunk
  index_t m_query, m_first_key;
  SoftmaxState<T>* m_state;

 public:
  using value_type = T;

  template <class Member>
  KOKKOS_FUNCTION HostRow(Member const&, T* scores, int keys, int padded_keys, index_t query, index_t first_key,
                          SoftmaxState<T>* state)
      : m_scores(scores),
        m_keys(keys),
        m_padded_keys(padded_keys),
        m_query(query),
        m_first_key(first_key),
        m_state(state) {
    for (int j = keys; j < padded_keys; ++j) scores[j] = -Kokkos::Experimental::infinity_v<T>;
  }

  KOKKOS_FUNCTION index_t query() const { return m_query; }
  KOKKOS_FUNCTION SoftmaxState<T> state() const { return *m_state; }
  KOKKOS_FUNCTION void set_state(SoftmaxState<T> const& state) const { *m_state = state; }

  template <class F>
  KOKKOS_FUNCTION void transform(F const& f) const {
    for (int j = 0; j < m_keys; ++j) m_scores[j] = f(m_first_key + j, m_scores[j]);
  }

  KOKKOS_FUNCTION T maximum() const {
    T lane[chunk];
    for (int l = 0; l < chunk; ++l) lane[l] = m_scores[l];
    for (int j = chunk; j < m_padded_keys; j += chunk) {
      KOKKOSATTENTION_LANES
      for (int l = 0; l < chunk; ++l) lane[l] = lane[l] > m_scores[j + l] ? lane[l] : m_scores[j + l];
    }
    return fold(lane, [](T a, T b) { return a > b ? a : b; });
  }

  /// Replaces each score by exp(score - shift) and returns their sum.
  KOKKOS_FUNCTION T exponentiate(T shift) const {
    T lane[chunk] = {};
    for (int j = 0; j < m_padded_keys; j += chunk) {
      KOKKOSATTENTION_LANES
      for (int l = 0; l < chunk; ++l) {
        T const e       = softmax_exponential(m_scores[j + l] - shift);
        m_scores[j + l] = e;
        lane[l] += e;
      }
    }
    return fold(lane, [](T a, T b) { return a + b; });
  }

 private:
  template <class Operation>
  KOKKOS_FUNCTION static T fold(T (&lane)[chunk], Operation const& operation) {
    for (int width = chunk / 2; width > 0; width /= 2)
      for (int l = 0; l < width; ++l) lane[l] = operation(lane[l], lane[l + width]);
    return lane[0];
  }
};

/// A row as the vector lanes of one device thread work on it.
template <class T, class Member>
class DeviceRow {
  Member const& m_member;
  T* m_scores;
  int m_keys;
  index_t m_query, m_first_key;
  SoftmaxState<T>* m_state;

 public:
  using value_type = T;

  KOKKOS_FUNCTION DeviceRow(Member const& member, T* scores, int keys, int padded_keys, index_t query,
                            index_t first_key, SoftmaxState<T>* state)
      : m_member(member), m_scores(scores), m_keys(keys), m_query(query), m_first_key(first_key), m_state(state) {
    Kokkos::parallel_for(Kokkos::ThreadVectorRange(member, keys, padded_keys), [&](int j) { scores[j] = 0; });
  }

  KOKKOS_FUNCTION index_t query() const { return m_query; }
  KOKKOS_FUNCTION SoftmaxState<T> state() const { return *m_state; }
  KOKKOS_FUNCTION void set_state(SoftmaxState<T> const& state) const {
    Kokkos::single(Kokkos::PerThread(m_member), [&] { *m_state = state; });
  }

  template <class F>
  KOKKOS_FUNCTION void transform(F const& f) const {
    Kokkos::parallel_for(Kokkos::ThreadVectorRange(m_member, m_keys),
                         [&](int j) { m_scores[j] = f(m_first_key + j, m_scores[j]); });
  }

  KOKKOS_FUNCTION T maximum() const {
    T result;
    Kokkos::parallel_reduce(
        Kokkos::ThreadVectorRange(m_member, m_keys), [&](int j, T& most) { most = Kokkos::max(most, m_scores[j]); },
        Kokkos::Max<T>(result));
    return result;
  }

  /// Replaces each score by exp(score - shift) and returns their sum.
  KOKKOS_FUNCTION T exponentiate(T shift) const {
    T sum;
    Kokkos::parallel_reduce(
        Kokkos::ThreadVectorRange(m_member, m_keys),
        [&](int j, T& partial) {
          T const e   = softmax_exponential(m_scores[j] - shift);
          m_scores[j] = e;
          partial += e;
        },
        sum);
    return sum;
  }
};

template <class T, class Member>
using PortableRow =
    std::conditional_t<runs_on_host<typename Member::execution_space>, HostRow<T>, DeviceRow<T, Member>>;

}  // namespace KokkosAttention::Impl

#endif
