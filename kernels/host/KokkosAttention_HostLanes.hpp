// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTLANES_HPP
#define KOKKOSATTENTION_HOSTLANES_HPP

#include <KokkosAttention_HostBias.hpp>
#include <KokkosAttention_HostLaneRanges.hpp>
#include <KokkosAttention_HostVector.hpp>
#include <KokkosAttention_PortableDropout.hpp>
#include <KokkosAttention_Softmax.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// Rows of scores in the host engine: a query in each lane, so that reductions over keys are plain vector operations.

namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT {

/// What a vector of queries has of a tile's weights.
enum class HostProgress : unsigned char {
  none,   // but zeros
  some,   // by the maximum that it has now
  spoilt  // too large ones: all are to be computed again
};

/// Softmax states of a tile's queries.
template <class T>
struct HostStates {
  HostVector<T>*maximum, *sum, *rescale;
  HostVector<T>*first_maximum, *first_sum;  // when the tile of keys began
  HostProgress* progress;

  HostStates from(int v) const {
    return {maximum + v, sum + v, rescale + v, first_maximum + v, first_sum + v, progress + v};
  }
  void begin_tile(int v) const {
    first_maximum[v] = maximum[v];
    first_sum[v]     = sum[v];
    rescale[v]       = HostVector<T>(T(1));
    progress[v]      = HostProgress::none;
  }
  void begin_tile_again(int v) const {
    maximum[v] = first_maximum[v];
    sum[v]     = first_sum[v];
    begin_tile(v);
  }
};

/// \tparam Operands has the exponential, and what takes the weights
template <class T, class Operands>
class HostLanes {
  HostVector<T>* m_scores;  // of the first key; the next one's are a stride away
  index_t m_stride;
  int m_keys;
  int m_vector,
      m_queries;  // which vector, and how many of its lanes are queries
  index_t m_query, m_first_key;
  mutable T m_factor;  // that the scores in memory have still to be multiplied by
  typename Operands::WeightWriter m_weights;
  bool m_in_place;  // weights take the scores' places, not the writer's
  HostStates<T> m_states;
  KeptWeights m_kept;

 public:
  using value_type = T;

  static constexpr bool takes_masks_apart = true;

  KOKKOS_FORCEINLINE_FUNCTION
  HostLanes(HostVector<T>* scores, index_t stride, int keys, int vector, int queries, index_t query, index_t first_key,
            T factor, typename Operands::WeightWriter const& weights, bool in_place, HostStates<T> const& states,
            KeptWeights const& kept)
      : m_scores(scores),
        m_stride(stride),
        m_keys(keys),
        m_vector(vector),
        m_queries(queries),
        m_query(query),
        m_first_key(first_key),
        m_factor(factor),
        m_weights(weights),
        m_in_place(in_place || !Operands::pairs),
        m_states(states),
        m_kept(kept) {
    if (factor < T(0)) multiply_by_factor();  // would make the smallest the largest
  }

  KOKKOS_FORCEINLINE_FUNCTION SoftmaxState<HostVector<T>> state() const {
    return {m_states.maximum[m_vector], m_states.sum[m_vector], m_states.rescale[m_vector]};
  }
  KOKKOS_FORCEINLINE_FUNCTION void set_state(SoftmaxState<HostVector<T>> const& state) const {
    m_states.maximum[m_vector] = state.maximum;
    m_states.sum[m_vector]     = state.sum;
    m_states.rescale[m_vector] = state.rescale;
  }
  KOKKOS_FORCEINLINE_FUNCTION HostProgress progress() const { return m_states.progress[m_vector]; }
  KOKKOS_FORCEINLINE_FUNCTION void spoil() const { m_states.progress[m_vector] = HostProgress::spoilt; }
  KOKKOS_FORCEINLINE_FUNCTION bool kept(index_t i, index_t j) const { return m_kept(i, j); }

  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void transform(F const& f) const {
    if (m_factor != T(1)) multiply_by_factor();
    for (int j = 0; j < m_keys; ++j) {
      T* const score    = reinterpret_cast<T*>(m_scores + j * m_stride);
      index_t const key = m_first_key + j;
      if (m_queries == HostVector<T>::lanes) {
        KOKKOSATTENTION_LANES
        for (int l = 0; l < HostVector<T>::lanes; ++l) score[l] = f(m_query + l, key, score[l]);
      } else {
        for (int l = 0; l < m_queries; ++l) score[l] = f(m_query + l, key, score[l]);
      }
    }
  }

  /// Adds the bias of batch entry b and head h.
  template <class ScalarType>
  void add(Tensor<ScalarType const> const& bias, int b, int h) const {
    // A block reads a line of each row: the next block's come meanwhile.
    if constexpr (Operands::tile_registers)
      for (int l = 0; l < m_queries; ++l) __builtin_prefetch(&bias(b, h, m_query + l, m_first_key + m_keys), 0, 3);
    add_bias(HostBiasPart<ScalarType>{&bias(b, h, m_query, m_first_key), bias.stride[2], bias.stride[3]}, m_queries,
             m_keys, m_factor, m_scores, m_stride);
    m_factor = T(1);
  }

  /// Drops the keys that are not in keys_of(i).
  template <class KeysOf>
  void keep(KeysOf const& keys_of) const {
    HostLaneRanges<T> const ranges([&](int l) { return keys_of(m_query + l); }, m_queries, m_first_key, m_keys);
    ranges.for_each_cut_row([&](int j) {
      HostVector<T>& score = m_scores[j * m_stride];
      score                = ranges.held(j, score, -Kokkos::Experimental::infinity_v<T>);
    });
  }

  KOKKOS_FORCEINLINE_FUNCTION HostVector<T> maximum() const {
    constexpr int chains = 4;  // as each waits for the one before it
    HostVector<T> most[chains];
    KOKKOSATTENTION_UNROLL
    for (int n = 0; n < chains; ++n) most[n] = m_scores[0];
    int j = 0;
    for (; j + chains <= m_keys; j += chains) {
      KOKKOSATTENTION_UNROLL
      for (int n = 0; n < chains; ++n) most[n] = larger(most[n], m_scores[(j + n) * m_stride]);
    }
    for (; j < m_keys; ++j) most[0] = larger(most[0], m_scores[j * m_stride]);
    return m_factor * larger(larger(most[0], most[1]), larger(most[2], most[3]));
  }

  /// Goes on with the rows' maxima so far, without looking for those of these keys, which takes 6 to 10% of the forward
  /// pass. False where a row has no maximum yet or its weights are too large for it; then scores are as they were,
  /// unless they can't be used because the tile has weights already.
  KOKKOS_FORCEINLINE_FUNCTION bool keeps_maximum() const {
    if constexpr (Operands::pairs) {
      HostVector<T> const maximum = m_states.maximum[m_vector];
      if ((m_in_place && progress() == HostProgress::none) ||
          !Operands::all_between(maximum, Kokkos::Experimental::finite_min_v<T>, Kokkos::Experimental::finite_max_v<T>))
        return false;
      T const factor              = m_factor;
      HostProgress const progress = this->progress();
      HostVector<T> const sum     = exponentiate(maximum);
      // Of as many weights as a tile has, not much above 16 each; NaN is not between.
      if (Operands::all_between(sum, T(0), T(4096))) {
        m_states.sum[m_vector] += sum;
        return true;
      }
      m_factor                    = factor;
      m_states.progress[m_vector] = progress;
    }
    return false;
  }

  /// Replaces each score by exp(score - shift) and returns the sums over keys.
  KOKKOS_FORCEINLINE_FUNCTION HostVector<T> exponentiate(HostVector<T> shift) const {
    // Copies, as members would be read again after each store of weights.
    HostVector<T>* const scores = m_scores;
    index_t const stride        = m_stride;
    int const keys              = m_keys;
    T const factor              = m_factor;
    bool const in_place         = m_in_place;
    auto const weights          = m_weights;
    auto const exponential      = [=](int j) { return Operands::exponential(factor, scores[j * stride], shift); };
    HostVector<T> even(T(0)), odd(T(0));
    int j = 0;
    for (; j + 2 <= keys; j += 2) {
      HostVector<T> const first = exponential(j), second = exponential(j + 1);
      if (in_place) {
        scores[j * stride]       = first;
        scores[(j + 1) * stride] = second;
      } else {
        weights.set(j, first, second);
      }
      even += first;
      odd += second;
    }
    if (j < keys) {
      HostVector<T> const last = exponential(j);
      if (in_place)
        scores[j * stride] = last;
      else
        weights.set_last(j, last);
      even += last;
    }
    m_factor                = T(1);
    HostVector<T> const sum = even + odd;
    if constexpr (Operands::tile_registers)
      if (!Operands::all_between(sum, T(0), T(0))) m_states.progress[m_vector] = HostProgress::some;
    return sum;
  }

 private:
  KOKKOS_FORCEINLINE_FUNCTION void multiply_by_factor() const {
    for (int j = 0; j < m_keys; ++j) m_scores[j * m_stride] = m_factor * m_scores[j * m_stride];
    m_factor = T(1);
  }
};

/// Of keys after others of the same tile: weights by one maximum are added up before the output is rescaled. So with
/// weights already, another maximum is not taken here.
template <class T, class Operands>
KOKKOS_FORCEINLINE_FUNCTION void update_softmax(HostLanes<T, Operands> const& row) {
  if (row.keeps_maximum()) return;
  if (row.progress() == HostProgress::none)
    Impl::update_softmax<HostLanes<T, Operands>>(row);
  else
    row.spoil();
}

}  // namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT

#endif
