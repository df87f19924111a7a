// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_SOFTMAX_HPP
#define KOKKOSATTENTION_SOFTMAX_HPP

#include <KokkosAttention_Exponential.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The online softmax (Milakov and Gimelshein, arXiv:1805.02867; in attention: Dao et al., arXiv:2205.14135).

namespace KokkosAttention::Impl {

/// What is known of a row after the key tiles seen so far.
template <class T>
struct SoftmaxState {
  T maximum = -Kokkos::Experimental::infinity_v<T>;
  T sum     = 0;  // of exp(score - maximum)
  T rescale = 0;  // the factor by which the last tile made earlier sums smaller

  /// Factor from accumulated to normalised output; 0 for a row with no key to attend.
  KOKKOS_FUNCTION T normalisation() const { return sum == T(0) ? T(0) : T(1) / sum; }
  /// Natural logarithm of the sum of exponentials; -inf for a row with no key to attend.
  KOKKOS_FUNCTION T lse() const {
    return sum == T(0) ? -Kokkos::Experimental::infinity_v<T> : maximum + Kokkos::log(sum);
  }
};

/// Turns a row of scores into exp(score - maximum so far) and brings the row's state up to date.
template <class Row>
KOKKOS_FUNCTION void update_softmax(Row const& row) {
  using T               = typename Row::value_type;
  SoftmaxState<T> state = row.state();
  T const maximum       = Kokkos::max(state.maximum, row.maximum());
  // A row that has met no key yet would subtract infinities.
  T const shift = maximum == -Kokkos::Experimental::infinity_v<T> ? T(0) : maximum;
  state.rescale = softmax_exponential(state.maximum - shift);
  state.sum     = state.sum * state.rescale + row.exponentiate(shift);
  state.maximum = maximum;
  row.set_state(state);
}

}  // namespace KokkosAttention::Impl

#endif
