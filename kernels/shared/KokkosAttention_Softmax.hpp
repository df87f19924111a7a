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
/// \tparam T a number, or a vector with a row in each lane
template <class T>
struct SoftmaxState {
  T maximum = T(-Kokkos::Experimental::infinity_v<float>);
  T sum     = T(0);  // of exp(score - maximum)
  T rescale = T(0);  // the factor by which the last tile made earlier sums smaller

  /// Factor from accumulated to normalised output; 0 for a row with no key to attend.
  KOKKOS_FORCEINLINE_FUNCTION T normalisation() const { return sum == T(0) ? T(0) : T(1) / sum; }
  /// Natural logarithm of the sum of exponentials; -inf for a row with no key to attend.
  KOKKOS_FORCEINLINE_FUNCTION T lse() const {
    return sum == T(0) ? -Kokkos::Experimental::infinity_v<T> : maximum + Kokkos::log(sum);
  }
};

template <class T>
KOKKOS_FORCEINLINE_FUNCTION T larger(T a, T b) {
  return a < b ? b : a;
}

/// What takes the place of a row's maximum after a tile; at least about as large as the tile's.
template <class T>
KOKKOS_FORCEINLINE_FUNCTION T next_maximum(T const& old, T const& of_tile) {
  return larger(old, of_tile);
}

/// What to subtract from scores before the exponential: a row that has met no key yet would subtract infinities.
template <class T>
KOKKOS_FORCEINLINE_FUNCTION T softmax_shift(T maximum) {
  return maximum == -Kokkos::Experimental::infinity_v<T> ? T(0) : maximum;
}

/// Turns a row of scores into exp(score - maximum so far) and brings the row's state up to date. A vector type brings
/// its own larger or next_maximum, softmax_shift and softmax_exponential.
template <class Row>
KOKKOS_FORCEINLINE_FUNCTION void update_softmax(Row const& row) {
  auto state         = row.state();
  auto const maximum = next_maximum(state.maximum, row.maximum());
  auto const shift   = softmax_shift(maximum);
  state.rescale      = softmax_exponential(state.maximum - shift);
  state.sum          = state.sum * state.rescale + row.exponentiate(shift);
  state.maximum      = maximum;
  row.set_state(state);
}

}  // namespace KokkosAttention::Impl

#endif
