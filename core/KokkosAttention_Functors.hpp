// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_FUNCTORS_HPP
#define KOKKOSATTENTION_FUNCTORS_HPP

#include <KokkosAttention_Types.hpp>

#include <Kokkos_Core.hpp>

#include <concepts>

/// \file
/// The two concepts by which attention is modified: score functions and masks. The library's own options are written
/// as such; a user's functors are given after the options and compiled into the kernel.
///
/// A score function maps the score of one (query, key) pair to a new score:
/// \code
/// struct Decay {
///   float rate;
///   KOKKOS_FUNCTION float operator()(float score, int b, int h, KokkosAttention::index_t i,
///                                    KokkosAttention::index_t j) const {
///     int const distance = static_cast<int>(i - j);  // GPUs are slow at arithmetic of 64 bits
///     return score - rate * Kokkos::abs(static_cast<float>(distance));
///   }
/// };
/// \endcode
/// It is called with the accumulation type (double for double, else float), the batch index, the query head, and the
/// positions of query and key, only for pairs that exist. For the backward pass it also tells its derivative with
/// respect to the score, at the score that it was given:
/// \code
///   KOKKOS_FUNCTION float derivative(float score, int b, int h, KokkosAttention::index_t i,
///                                    KokkosAttention::index_t j) const { return 1.f; }
/// \endcode
/// Of a function that is linear in the score, as this one is, the derivative may leave the score out. Then long
/// sequences have faster gradients in 16 bits on NVIDIA GPUs, by up to a tenth, for head dimensions up to 64 and above
/// 128, if there are no options but `causal` and `window`. It has to be finite for all pairs, also for those that masks
/// keep out.
///
/// \code
///   KOKKOS_FUNCTION float derivative(int b, int h, KokkosAttention::index_t i,
///                                    KokkosAttention::index_t j) const { return 1.f; }
/// \endcode
///
/// With packed sequences the batch index is the number of the sequence, and positions count from its beginning.
///
/// A mask answers for one pair whether the query may attend to the key. It may also answer for a whole tile, so that
/// tiles without a pair cost nothing and full ones run without a test, and may bound the keys that a range of queries
/// can see, and the queries that see a range of keys:
/// \code
/// struct Prefix {  // the first n keys for every query
///   KokkosAttention::index_t n;
///   KOKKOS_FUNCTION bool operator()(int, int, index_t, index_t j) const { return j < n; }
///   KOKKOS_FUNCTION Coverage coverage(Tile const& t) const {
///     return t.key_begin >= n ? Coverage::none : t.key_end <= n ? Coverage::all : Coverage::some;
///   }
///   KOKKOS_FUNCTION KeyRange key_range(int, int, index_t, index_t) const { return {0, n}; }
///   KOKKOS_FUNCTION QueryRange query_range(int, int, index_t begin, index_t) const {
///     return begin < n ? QueryRange() : QueryRange{0, 0};
///   }
/// };
/// \endcode

namespace KokkosAttention {

/// How many of a tile's (query, key) pairs a mask lets through.
enum class Coverage { none, some, all };

/// A tile of scores: queries [query_begin, query_end) by keys [key_begin, key_end) of one batch entry and query head.
struct Tile {
  int batch;
  int head;
  index_t query_begin, query_end;
  index_t key_begin, key_end;
};

/// Keys [begin, end).
struct KeyRange {
  index_t begin = 0;
  index_t end   = Kokkos::Experimental::finite_max_v<index_t>;
};

/// Queries [begin, end).
struct QueryRange {
  index_t begin = 0;
  index_t end   = Kokkos::Experimental::finite_max_v<index_t>;
};

template <class F, class Accumulation>
concept ScoreFunction = requires(F const& f, Accumulation s, int b, int h, index_t i, index_t j) {
  { f(s, b, h, i, j) } -> std::convertible_to<Accumulation>;
};

/// Of a score function that tells its derivative at a score.
template <class F, class Accumulation>
concept DerivativeAtScore = requires(F const& f, Accumulation s, int b, int h, index_t i, index_t j) {
  { f.derivative(s, b, h, i, j) } -> std::convertible_to<Accumulation>;
};

/// A score function whose derivative leaves the score out, and could not be called with it.
template <class F, class Accumulation>
concept LinearScoreFunction = ScoreFunction<F, Accumulation> && !DerivativeAtScore<F, Accumulation> &&
                              requires(F const& f, int b, int h, index_t i, index_t j) {
  { f.derivative(b, h, i, j) } -> std::convertible_to<Accumulation>;
};

/// A score function that the backward pass can go through.
template <class F, class Accumulation>
concept DifferentiableScoreFunction = LinearScoreFunction<F, Accumulation> ||
    (ScoreFunction<F, Accumulation>&& DerivativeAtScore<F, Accumulation>);

template <class M>
concept Mask = requires(M const& m, int b, int h, index_t i, index_t j) {
  { m(b, h, i, j) } -> std::convertible_to<bool>;
};

/// A mask that answers for tiles.
template <class M>
concept TileMask = Mask<M> && requires(M const& m, Tile const& tile) {
  { m.coverage(tile) } -> std::same_as<Coverage>;
};

/// A mask that bounds the keys of a range of queries: the arguments are batch, head, first query, past the last query.
template <class M>
concept RangeMask = Mask<M> && requires(M const& m, int b, int h, index_t begin, index_t end) {
  { m.key_range(b, h, begin, end) } -> std::same_as<KeyRange>;
};

/// A mask that bounds the queries of a range of keys, for the backward pass: the arguments are batch, head, first key,
/// past the last key.
template <class M>
concept QueryRangeMask = Mask<M> && requires(M const& m, int b, int h, index_t begin, index_t end) {
  { m.query_range(b, h, begin, end) } -> std::same_as<QueryRange>;
};

}  // namespace KokkosAttention

#endif
