// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_PORTABLEROWS_HPP
#define KOKKOSATTENTION_PORTABLEROWS_HPP

#include <KokkosAttention_Exponential.hpp>
#include <KokkosAttention_Functors.hpp>
#include <KokkosAttention_Loops.hpp>
#include <KokkosAttention_PortableDropout.hpp>
#include <KokkosAttention_PortableProduct.hpp>
#include <KokkosAttention_Softmax.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// A row of scores in memory, and the operations on it that masks, score functions and softmax are written in.

namespace KokkosAttention::Impl::inline KOKKOSATTENTION_VECTORS {

/// A row as one host thread works on it: in chunks of as many neighbouring scores as make a vector.
template <class T, class Member>
class HostRow {
  static constexpr int chunk = RegisterBlock<T, true>::width;

  T* m_scores;
  index_t m_keys, m_query, m_first_key;

 public:
  using value_type = T;

  KOKKOS_FUNCTION HostRow(Member const&, T* scores, index_t keys, index_t query, index_t first_key)
      : m_scores(scores), m_keys(keys), m_query(query), m_first_key(first_key) {}

  template <class F>
  KOKKOS_FUNCTION void transform(F const& f) const {
    for (index_t j = 0; j < m_keys; ++j) m_scores[j] = f(m_query, m_first_key + j, m_scores[j]);
  }

  KOKKOS_FUNCTION T maximum() const {
    return reduce(
        -Kokkos::Experimental::infinity_v<T>, [](T score) { return score; }, [](T a, T b) { return a > b ? a : b; });
  }

  /// Replaces each score by exp(score - shift) and returns their sum.
  KOKKOS_FUNCTION T exponentiate(T shift) const {
    return reduce(
        T(0), [shift](T& score) { return score = softmax_exponential(score - shift); }, [](T a, T b) { return a + b; });
  }

 private:
  template <class Element, class Join>
  KOKKOS_FUNCTION T reduce(T identity, Element const& element, Join const& join) const {
    T lane[chunk];
    for (int l = 0; l < chunk; ++l) lane[l] = identity;
    index_t j = 0;
    for (; j + chunk <= m_keys; j += chunk) {
      KOKKOSATTENTION_LANES
      for (int l = 0; l < chunk; ++l) lane[l] = join(lane[l], element(m_scores[j + l]));
    }
    for (int l = 0; j < m_keys; ++j, ++l) lane[l] = join(lane[l], element(m_scores[j]));
    for (int width = chunk / 2; width > 0; width /= 2)
      for (int l = 0; l < width; ++l) lane[l] = join(lane[l], lane[l + width]);
    return lane[0];
  }
};

/// The maximum, -inf of nothing (Kokkos::Max gives the lowest finite number then, which may be a score).
template <class T>
class Largest {
  T* m_result;

 public:
  using reducer          = Largest;
  using value_type       = T;
  using result_view_type = Kokkos::View<T, Kokkos::AnonymousSpace, Kokkos::MemoryUnmanaged>;

  KOKKOS_FUNCTION explicit Largest(T& result) : m_result(&result) {}
  KOKKOS_FUNCTION void join(T& to, T const& from) const { to = Kokkos::max(to, from); }
  KOKKOS_FUNCTION void init(T& value) const { value = -Kokkos::Experimental::infinity_v<T>; }
  KOKKOS_FUNCTION T& reference() const { return *m_result; }
  KOKKOS_FUNCTION result_view_type view() const { return result_view_type(m_result); }
  KOKKOS_FUNCTION bool references_scalar() const { return true; }
};

/// A row as the vector lanes of one device thread work on it.
template <class T, class Member>
class DeviceRow {
  Member const& m_member;
  T* m_scores;
  index_t m_keys, m_query, m_first_key;

 public:
  using value_type = T;

  KOKKOS_FUNCTION DeviceRow(Member const& member, T* scores, index_t keys, index_t query, index_t first_key)
      : m_member(member), m_scores(scores), m_keys(keys), m_query(query), m_first_key(first_key) {}

  template <class F>
  KOKKOS_FUNCTION void transform(F const& f) const {
    Kokkos::parallel_for(Kokkos::ThreadVectorRange(m_member, m_keys),
                         [&](index_t j) { m_scores[j] = f(m_query, m_first_key + j, m_scores[j]); });
  }

  KOKKOS_FUNCTION T maximum() const {
    T result;
    Kokkos::parallel_reduce(
        Kokkos::ThreadVectorRange(m_member, m_keys), [&](index_t j, T& most) { most = Kokkos::max(most, m_scores[j]); },
        Largest<T>(result));
    return result;
  }

  /// Replaces each score by exp(score - shift) and returns their sum.
  KOKKOS_FUNCTION T exponentiate(T shift) const {
    T sum;
    Kokkos::parallel_reduce(
        Kokkos::ThreadVectorRange(m_member, m_keys),
        [&](index_t j, T& partial) { partial += m_scores[j] = softmax_exponential(m_scores[j] - shift); }, sum);
    return sum;
  }
};

template <class T, class Member>
using PortableRow =
    std::conditional_t<runs_on_host<typename Member::execution_space>, HostRow<T, Member>, DeviceRow<T, Member>>;

/// A row of a tile, with the softmax state that it carries from tile to tile and what dropout drew for it.
template <class T, class Member>
class PortableTileRow : public PortableRow<T, Member> {
  Member const& m_member;
  SoftmaxState<T>& m_state;
  KeptWeights m_kept;

 public:
  KOKKOS_FUNCTION PortableTileRow(Member const& member, T* scores, index_t keys, index_t query, index_t first_key,
                                  SoftmaxState<T>& state, KeptWeights const& kept)
      : PortableRow<T, Member>(member, scores, keys, query, first_key),
        m_member(member),
        m_state(state),
        m_kept(kept) {}

  KOKKOS_FUNCTION bool kept(index_t i, index_t j) const { return m_kept(i, j); }

  /// One lane reads for all, the one that writes: no other lane's read can come too late.
  KOKKOS_FUNCTION SoftmaxState<T> state() const {
    SoftmaxState<T> result;
    Kokkos::single(
        Kokkos::PerThread(m_member), [&](SoftmaxState<T>& state) { state = m_state; }, result);
    return result;
  }
  KOKKOS_FUNCTION void set_state(SoftmaxState<T> const& state) const {
    Kokkos::single(Kokkos::PerThread(m_member), [&] { m_state = state; });
  }
};

}  // namespace KokkosAttention::Impl::inline KOKKOSATTENTION_VECTORS

#endif
