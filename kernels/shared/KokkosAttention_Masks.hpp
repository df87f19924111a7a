// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MASKS_HPP
#define KOKKOSATTENTION_MASKS_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_Functors.hpp>
#include <KokkosAttention_Options.hpp>

#include <Kokkos_Core.hpp>

#include <type_traits>

/// \file
/// The masks of the options, and how several masks make one.

namespace KokkosAttention::Impl {

/// A mask as it is within one sequence: the options' count from the causal diagonal. A user's know a sequence by its
/// number only.
template <class M>
KOKKOS_FORCEINLINE_FUNCTION M in_sequence(M const& mask, Sequence const& sequence) {
  if constexpr (requires { mask.in_sequence(sequence); })
    return mask.in_sequence(sequence);
  else
    return mask;
}

/// A mask or score function as it is for one head of a sequence, of which it looks up arrays. What it loads for that is
/// then on its way before scores are there.
template <class F>
KOKKOS_FORCEINLINE_FUNCTION F of_head(F const& f, Sequence const& sequence, int h) {
  if constexpr (requires { f.of_head(sequence, h); })
    return f.of_head(sequence, h);
  else
    return f;
}

/// Masks that let through exactly the key_range of a query, and the query_range of a key; a tile has pairs that they
/// let through exactly if its keys reach into the key_range of its queries. full_keys and full_queries are what all of
/// a range let through.
template <class M>
concept ExactRangeMask = requires {
  requires M::ranges_are_exact;
};

/// Causal and window as one mask: query i sees keys i + lower <= j <= i + upper.
struct BandMask {
  static constexpr bool ranges_are_exact = true;

  // Far beyond any position, and far enough from the limits that adding a position cannot overflow.
  static constexpr index_t unbounded = Kokkos::Experimental::finite_max_v<index_t> / 4;

  index_t lower       = -unbounded;
  index_t upper       = unbounded;
  Alignment alignment = Alignment::top_left;  // where the diagonal lies that the band is counted from

  KOKKOS_FORCEINLINE_FUNCTION BandMask in_sequence(Sequence const& sequence) const {
    index_t const diagonal = sequence.diagonal(alignment);
    return {lower + diagonal, upper + diagonal, Alignment::top_left};
  }

  KOKKOS_FORCEINLINE_FUNCTION bool operator()(int, int, index_t i, index_t j) const {
    return j - i >= lower && j - i <= upper;
  }

  KOKKOS_FORCEINLINE_FUNCTION Coverage coverage(Tile const& tile) const {
    index_t const first = tile.key_begin - (tile.query_end - 1);  // the tile's lowest and highest diagonal
    index_t const last  = tile.key_end - 1 - tile.query_begin;
    if (last < lower || first > upper) return Coverage::none;
    return first >= lower && last <= upper ? Coverage::all : Coverage::some;
  }

  KOKKOS_FORCEINLINE_FUNCTION KeyRange key_range(int, int, index_t query_begin, index_t query_end) const {
    return {query_begin + lower, query_end + upper};
  }

  KOKKOS_FORCEINLINE_FUNCTION QueryRange query_range(int, int, index_t key_begin, index_t key_end) const {
    return {key_begin - upper, key_end - lower};
  }
  KOKKOS_FORCEINLINE_FUNCTION KeyRange full_keys(int, int, index_t query_begin, index_t query_end) const {
    return {query_end - 1 + lower, query_begin + upper + 1};
  }
  KOKKOS_FORCEINLINE_FUNCTION QueryRange full_queries(int, int, index_t key_begin, index_t key_end) const {
    return {key_end - 1 - upper, key_begin - lower + 1};
  }
};

inline BandMask make_band_mask(bool causal, Window window, Alignment alignment) {
  BandMask band{.alignment = alignment};
  if (window.left >= 0 && window.left < BandMask::unbounded) band.lower = -window.left;
  if (window.right >= 0 && window.right < BandMask::unbounded) band.upper = window.right;
  if (causal) band.upper = 0;
  return band;
}

/// The mask option: a tensor of flags, or nothing.
struct FlagMask {
  Tensor<bool const> flags;

  KOKKOS_FORCEINLINE_FUNCTION FlagMask of_head(Sequence const& sequence, int h) const {
    return {flags.matrix_from(sequence.batch, h, sequence.q_begin, sequence.k_begin)};
  }
  KOKKOS_FORCEINLINE_FUNCTION bool active() const { return flags.data != nullptr; }
  KOKKOS_FORCEINLINE_FUNCTION bool operator()(int b, int h, index_t i, index_t j) const {
    return !active() || flags(b, h, i, j);
  }
  KOKKOS_FORCEINLINE_FUNCTION Coverage coverage(Tile const&) const { return active() ? Coverage::some : Coverage::all; }
};

template <Mask M>
KOKKOS_FORCEINLINE_FUNCTION Coverage coverage(M const& mask, Tile const& tile) {
  if constexpr (TileMask<M>)
    return mask.coverage(tile);
  else
    return Coverage::some;
}

template <Mask M>
KOKKOS_FORCEINLINE_FUNCTION KeyRange key_range(M const& mask, int b, int h, index_t query_begin, index_t query_end) {
  if constexpr (RangeMask<M>)
    return mask.key_range(b, h, query_begin, query_end);
  else
    return {};
}

template <Mask M>
KOKKOS_FORCEINLINE_FUNCTION QueryRange query_range(M const& mask, int b, int h, index_t key_begin, index_t key_end) {
  if constexpr (QueryRangeMask<M>)
    return mask.query_range(b, h, key_begin, key_end);
  else
    return {};
}

/// Lets through what all of the masks let through.
template <class... Masks>
struct AllOf {
  KOKKOS_FORCEINLINE_FUNCTION AllOf in_sequence(Sequence const&) const { return *this; }
  KOKKOS_FORCEINLINE_FUNCTION AllOf of_head(Sequence const&, int) const { return *this; }
  KOKKOS_FORCEINLINE_FUNCTION bool operator()(int, int, index_t, index_t) const { return true; }
  KOKKOS_FORCEINLINE_FUNCTION Coverage coverage(Tile const&) const { return Coverage::all; }
  KOKKOS_FORCEINLINE_FUNCTION KeyRange key_range(int, int, index_t, index_t) const { return {}; }
  KOKKOS_FORCEINLINE_FUNCTION QueryRange query_range(int, int, index_t, index_t) const { return {}; }

  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void for_each_part(Tile const&, F const&) const {}
};

template <Mask First, Mask... Rest>
struct AllOf<First, Rest...> {
  static constexpr bool has_parts = true, ranges_are_exact = ExactRangeMask<First> && sizeof...(Rest) == 0;

  First first;
  AllOf<Rest...> rest;

  KOKKOS_FORCEINLINE_FUNCTION AllOf in_sequence(Sequence const& sequence) const {
    return {Impl::in_sequence(first, sequence), rest.in_sequence(sequence)};
  }
  /// What pairs are to be asked of.
  KOKKOS_FORCEINLINE_FUNCTION AllOf of_head(Sequence const& sequence, int h) const {
    return {Impl::of_head(first, sequence, h), rest.of_head(sequence, h)};
  }

  KOKKOS_FORCEINLINE_FUNCTION bool operator()(int b, int h, index_t i, index_t j) const {
    return first(b, h, i, j) && rest(b, h, i, j);
  }

  KOKKOS_FORCEINLINE_FUNCTION Coverage coverage(Tile const& tile) const {
    Coverage const one = Impl::coverage(first, tile);
    if (one == Coverage::none) return Coverage::none;
    Coverage const other = rest.coverage(tile);
    return one == Coverage::all ? other : other == Coverage::none ? Coverage::none : Coverage::some;
  }

  KOKKOS_FORCEINLINE_FUNCTION KeyRange key_range(int b, int h, index_t query_begin, index_t query_end) const {
    KeyRange const one   = Impl::key_range(first, b, h, query_begin, query_end);
    KeyRange const other = rest.key_range(b, h, query_begin, query_end);
    return {Kokkos::max(one.begin, other.begin), Kokkos::min(one.end, other.end)};
  }

  KOKKOS_FORCEINLINE_FUNCTION QueryRange query_range(int b, int h, index_t key_begin, index_t key_end) const {
    QueryRange const one   = Impl::query_range(first, b, h, key_begin, key_end);
    QueryRange const other = rest.query_range(b, h, key_begin, key_end);
    return {Kokkos::max(one.begin, other.begin), Kokkos::min(one.end, other.end)};
  }

  /// f(mask) for each mask that does not let all of a tile through.
  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void for_each_part(Tile const& tile, F const& f) const {
    if (Impl::coverage(first, tile) != Coverage::all) f(first);
    rest.for_each_part(tile, f);
  }

  KOKKOS_FORCEINLINE_FUNCTION KeyRange full_keys(int b, int h, index_t query_begin, index_t query_end) const
      requires(ranges_are_exact) {
    return first.full_keys(b, h, query_begin, query_end);
  }
  KOKKOS_FORCEINLINE_FUNCTION QueryRange full_queries(int b, int h, index_t key_begin, index_t key_end) const
      requires(ranges_are_exact) {
    return first.full_queries(b, h, key_begin, key_end);
  }
};

/// Rows that take the masks of an AllOf one by one, as they drop ranges, or what flags say, faster than element by
/// element.
template <class Row, class M>
concept TakesMasksApart = requires {
  requires Row::takes_masks_apart;
  requires M::has_parts;
};

/// Rows that look flags up faster than element by element.
template <class Row, class M>
concept KeepsFlagged = requires(Row const& row, M const& mask) {
  row.keep_flagged(mask.flags, 0, 0);
};

/// Whether a mask is known to give all queries the same keys to visit. On the host, which may not ask a user's mask.
template <Mask M>
constexpr bool takes_all_keys(M const&) {
  return false;
}
template <Mask... Rest>
constexpr bool takes_all_keys(AllOf<BandMask, Rest...> const& mask) {
  return (std::is_same_v<Rest, FlagMask> && ...) && mask.first.lower == -BandMask::unbounded &&
         mask.first.upper == BandMask::unbounded;
}

inline AllOf<> all_of() { return {}; }

template <Mask First, Mask... Rest>
AllOf<First, Rest...> all_of(First const& first, Rest const&... rest) {
  return {first, all_of(rest...)};
}

}  // namespace KokkosAttention::Impl

#endif
