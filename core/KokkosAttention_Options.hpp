// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_OPTIONS_HPP
#define KOKKOSATTENTION_OPTIONS_HPP

#include <KokkosAttention_Types.hpp>

#include <Kokkos_Core.hpp>

#include <cstddef>
#include <cstdint>

/// \file
/// What a call may ask for beyond q, k and v.

namespace KokkosAttention {

/// Where the causal diagonal lies when q_len and k_len differ.
enum class Alignment {
  bottom_right,  ///< the last query sees every key: query i sees keys up to i + k_len - q_len
  top_left       ///< the first query sees the first key only: query i sees keys up to i
};

/// A sliding window: how many keys before and after its diagonal a query sees; -1 means unbounded.
struct Window {
  index_t left  = -1;
  index_t right = -1;
};

/// Dropout of attention weights. Which weights are dropped is a pure function of these numbers and of (batch, head,
/// query, key): the same on every backend, and drawn again by the backward pass. `dropout_mask` shows it.
struct Dropout {
  double probability   = 0.;  ///< with which a weight is dropped; the others are divided by 1 - probability
  std::uint64_t seed   = 0;
  std::uint64_t offset = 0;  ///< a different one for every call, such as a step counter
};

/// A strided, read-only View of rank 4 (batch, heads, q_len, k_len) in which an extent of 1 broadcasts.
template <class T, class MemorySpace>
using BroadcastView = Kokkos::View<T const****, Kokkos::LayoutStride, MemorySpace>;

/// Options of attention, an aggregate for designated initialisers: `{.causal = true, .softcap = 30.}`.
///
/// The order of operations is: score = scale * q.k, softcap, + bias, + ALiBi, the user's score functions, masks
/// (mask, causal, window, the user's), softmax, dropout, times v.
///
/// \tparam ScalarType type of q, k, v and of the bias
/// \tparam MemorySpace where the Views live: that of q
template <Scalar ScalarType, class MemorySpace>
struct Options {
  /// Factor on q.k; 0 means 1 / sqrt(head_dim).
  double scale = 0.;
  /// A query attends only to keys up to its causal diagonal, which `alignment` places.
  bool causal         = false;
  Alignment alignment = Alignment::bottom_right;
  /// Keys that a query may attend to around its causal diagonal, whether `causal` is set or not.
  Window window = {};
  /// c > 0 bounds the scores smoothly: c * tanh(score / c) (Gemma 2, arXiv:2408.00118, eq. 1); 0 means none.
  double softcap = 0.;
  /// True: this query may attend to this key. Empty: every key. A key that is masked has weight 0, which does not
  /// hide a NaN or infinity in its value (for gradients: in any of its numbers); a key beyond k_len does not take part
  /// at all.
  BroadcastView<bool, MemorySpace> mask = {};
  /// Added to the scaled (and capped) score. Empty: nothing.
  BroadcastView<ScalarType, MemorySpace> bias = {};
  /// One slope a query head (Hq): subtracts slope * |distance of the key from the query's causal diagonal|
  /// (Press et al., arXiv:2108.12409). Empty: nothing.
  Kokkos::View<accumulation_t<ScalarType> const*, Kokkos::LayoutStride, MemorySpace> alibi_slopes = {};
  /// Weights are dropped after the softmax (Srivastava et al., JMLR 15, 2014).
  Dropout dropout = {};
  /// Packed sequences: the batch is 1, and sequence s consists of the queries q_offsets(s) <= i < q_offsets(s + 1) and
  /// of the keys k_offsets(s) <= j < k_offsets(s + 1), one more offset than there are sequences, ascending. Causal
  /// diagonals, windows, ALiBi and dropout count within each sequence, whose number takes the place of the batch
  /// index; mask and bias are indexed by packed positions. Queries outside every sequence have nothing to attend to.
  /// Offsets in memory that the host can read must be there when the function is called: they are checked.
  Kokkos::View<index_t const*, Kokkos::LayoutStride, MemorySpace> q_offsets = {};
  Kokkos::View<index_t const*, Kokkos::LayoutStride, MemorySpace> k_offsets = {};
  /// Gradients with the same bits on every run; false allows a faster order of sums where an engine has one.
  bool deterministic = true;
  /// Memory for the call to use instead of allocating: at least `workspace_size(...)` bytes. Calls that run at the same
  /// time need one each.
  Kokkos::View<std::byte*, MemorySpace> workspace = {};
};

}  // namespace KokkosAttention

#endif
