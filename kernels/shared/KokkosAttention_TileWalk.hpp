// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_TILEWALK_HPP
#define KOKKOSATTENTION_TILEWALK_HPP

#include <KokkosAttention_Masks.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// Which tiles of one side a tile of the other side visits, and what the mask lets through of them. Tiles begin at
/// multiples of their size, whatever the mask: the order of sums does not depend on it.

namespace KokkosAttention::Impl {

/// The type of positions within sequences in an engine's loops: of 64 bits, unless it says that 32 are enough.
template <class Engine>
struct PositionOf {
  using type = index_t;
};
template <class Engine>
requires requires { typename Engine::Position; }
struct PositionOf<Engine> {
  using type = typename Engine::Position;
};

/// Where tiles of one side may begin, from first in steps of size, and below end.
template <class Position>
struct TileWalk {
  Position first, end;
  Position length;                // of the sequence on this side
  Position full_begin, full_end;  // all pairs of tiles within are let through; for masks whose ranges are exact

  TileWalk() = default;
  template <class Range>
  KOKKOS_FORCEINLINE_FUNCTION TileWalk(Range const& range, index_t size, index_t sequence_length)
      : length(static_cast<Position>(sequence_length)), full_begin(0), full_end(0) {
    index_t const begin = within(range.begin, sequence_length), past = within(range.end, sequence_length);
    first = static_cast<Position>(begin / size * size);
    end   = begin < past ? static_cast<Position>(past) : first;
  }

  template <class Range>
  KOKKOS_FORCEINLINE_FUNCTION void set_full(Range const& range) {
    full_begin = static_cast<Position>(within(range.begin, length));
    full_end   = static_cast<Position>(within(range.end, length));
  }

  KOKKOS_FORCEINLINE_FUNCTION Position end_of(Position begin, Position size) const {
    return Kokkos::min(begin + size, length);
  }

  /// Of a tile that begins at one of these places.
  template <Mask M>
  KOKKOS_FORCEINLINE_FUNCTION Coverage coverage(M const& mask, Tile const& tile, Position begin, Position past) const {
    if constexpr (ExactRangeMask<M>)
      return begin >= full_begin && past <= full_end ? Coverage::all : Coverage::some;
    else
      return Impl::coverage(mask, tile);
  }

 private:
  KOKKOS_FORCEINLINE_FUNCTION static index_t within(index_t n, index_t length) {
    return Kokkos::max(index_t(0), Kokkos::min(n, length));
  }
};

/// The keys that a tile of queries visits.
template <class Position, Mask M>
KOKKOS_FORCEINLINE_FUNCTION TileWalk<Position> walk_over_keys(M const& mask, Sequence const& sequence,
                                                              Tile const& queries, index_t tile_keys,
                                                              KeyRange const& of = {}) {
  KeyRange const range = Impl::key_range(mask, queries.batch, queries.head, queries.query_begin, queries.query_end);
  TileWalk<Position> walk(KeyRange{Kokkos::max(range.begin, of.begin), Kokkos::min(range.end, of.end)}, tile_keys,
                          sequence.k_len);
  if constexpr (ExactRangeMask<M>)
    walk.set_full(mask.full_keys(queries.batch, queries.head, queries.query_begin, queries.query_end));
  return walk;
}

/// The queries that a tile of keys visits.
template <class Position, Mask M>
KOKKOS_FORCEINLINE_FUNCTION TileWalk<Position> walk_over_queries(M const& mask, Sequence const& sequence,
                                                                 Tile const& keys, index_t tile_queries) {
  TileWalk<Position> walk(Impl::query_range(mask, keys.batch, keys.head, keys.key_begin, keys.key_end), tile_queries,
                          sequence.q_len);
  if constexpr (ExactRangeMask<M>)
    walk.set_full(mask.full_queries(keys.batch, keys.head, keys.key_begin, keys.key_end));
  return walk;
}

/// The tiles of keys that a tile of queries visits.
template <class Position>
struct KeySearch {
  TileWalk<Position> walk;
  Position next;

  template <Mask M>
  KOKKOS_FORCEINLINE_FUNCTION KeySearch(M const& mask, Sequence const& sequence, Tile const& queries, int tile_keys)
      : walk(walk_over_keys<Position>(mask, sequence, queries, tile_keys)), next(walk.first) {}

  /// The next one, and what the mask lets through of it: none at the end.
  template <Mask M>
  KOKKOS_FORCEINLINE_FUNCTION Coverage find(M const& mask, Sequence const&, Tile const& queries, int tile_keys,
                                            Tile& found) {
    for (; next < walk.end; next += tile_keys) {
      Position const begin = next, end = walk.end_of(begin, tile_keys);
      found                      = {queries.batch, queries.head, queries.query_begin, queries.query_end, begin, end};
      Coverage const tile_covers = walk.coverage(mask, found, begin, end);
      if (tile_covers == Coverage::none) continue;
      next += tile_keys;
      return tile_covers;
    }
    return Coverage::none;
  }
};

/// The tiles of queries that a tile of keys visits, of one query head after the other.
template <class Position>
struct QuerySearch {
  TileWalk<Position> walk;
  Position next;
  int head, end_head;

  QuerySearch() = default;
  /// \param keys of the first query head that reads them
  template <Mask M>
  KOKKOS_FORCEINLINE_FUNCTION QuerySearch(M const& mask, Sequence const& sequence, Tile const& keys, int heads,
                                          int tile_queries)
      : walk(walk_over_queries<Position>(mask, sequence, keys, tile_queries)),
        next(walk.first),
        head(keys.head),
        end_head(keys.head + heads) {}

  /// Goes on to the next query head where there are no more tiles of one.
  /// \return whether there are more
  template <Mask M>
  KOKKOS_FORCEINLINE_FUNCTION bool has_more(M const& mask, Sequence const& sequence, Tile const& keys,
                                            int tile_queries) {
    while (next >= walk.end) {
      if (head + 1 >= end_head) return false;
      Tile of_head = keys;
      of_head.head = ++head;
      walk         = walk_over_queries<Position>(mask.in_sequence(sequence), sequence, of_head, tile_queries);
      next         = walk.first;
    }
    return head < end_head;
  }

  /// Of the head's tiles, the one that comes after n others, and what the mask lets through of it.
  template <Mask M>
  KOKKOS_FORCEINLINE_FUNCTION Coverage look_ahead(M const& mask, Sequence const& sequence, Tile const& keys,
                                                  int tile_queries, int n, Tile& found) const {
    Position const begin = next + n * tile_queries, end = walk.end_of(begin, tile_queries);
    found = {keys.batch, head, begin, end, keys.key_begin, keys.key_end};
    return walk.coverage(mask.in_sequence(sequence), found, begin, end);
  }

  /// The next one, and what the mask lets through of it: none at the end.
  template <Mask M>
  KOKKOS_FORCEINLINE_FUNCTION Coverage find(M const& mask, Sequence const& sequence, Tile const& keys, int tile_queries,
                                            Tile& found) {
    while (has_more(mask, sequence, keys, tile_queries)) {
      Coverage const tile_covers = look_ahead(mask, sequence, keys, tile_queries, 0, found);
      next += tile_queries;
      if (tile_covers != Coverage::none) return tile_covers;
    }
    return Coverage::none;
  }
};

}  // namespace KokkosAttention::Impl

#endif
