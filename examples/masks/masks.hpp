// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef MASKS_MASKS_HPP
#define MASKS_MASKS_HPP

#include <KokkosAttention.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// Masks of this program's own. That operator() says which query may attend to which key would be enough; the other
/// members only tell the library the same of many pairs at once, so that it need not look at all of them.

/// A sequence of several documents: a query attends to the keys of its own.
struct DocumentMask {
  using index_t = KokkosAttention::index_t;

  Kokkos::View<int const*> document;   // of each position, ascending: 0, 0, 0, 1, 1, ...
  Kokkos::View<index_t const*> begin;  // the first position of each document, and the length of the sequence

  KOKKOS_FUNCTION bool operator()(int, int, index_t i, index_t j) const { return document(i) == document(j); }

  KOKKOS_FUNCTION KokkosAttention::Coverage coverage(KokkosAttention::Tile const& tile) const {
    using KokkosAttention::Coverage;
    int const first_query = document(tile.query_begin), last_query = document(tile.query_end - 1);
    int const first_key = document(tile.key_begin), last_key = document(tile.key_end - 1);
    if (last_key < first_query || last_query < first_key) return Coverage::none;
    return first_query == last_query && first_key == last_key ? Coverage::all : Coverage::some;
  }

  KOKKOS_FUNCTION KokkosAttention::KeyRange key_range(int, int, index_t query_begin, index_t query_end) const {
    return {begin(document(query_begin)), begin(document(query_end - 1) + 1)};
  }

  KOKKOS_FUNCTION KokkosAttention::QueryRange query_range(int, int, index_t key_begin, index_t key_end) const {
    return {begin(document(key_begin)), begin(document(key_end - 1) + 1)};
  }
};

/// A prefix language model: every query attends to the first `prefix` keys, and from there on to keys up to its own.
struct PrefixMask {
  using index_t = KokkosAttention::index_t;

  index_t prefix;

  KOKKOS_FUNCTION bool operator()(int, int, index_t i, index_t j) const { return j < prefix || j <= i; }

  KOKKOS_FUNCTION KokkosAttention::Coverage coverage(KokkosAttention::Tile const& tile) const {
    using KokkosAttention::Coverage;
    if (tile.key_end <= prefix || tile.key_end <= tile.query_begin + 1) return Coverage::all;
    return tile.key_begin >= prefix && tile.key_begin >= tile.query_end ? Coverage::none : Coverage::some;
  }

  KOKKOS_FUNCTION KokkosAttention::KeyRange key_range(int, int, index_t, index_t query_end) const {
    return {0, Kokkos::max(prefix, query_end)};
  }

  KOKKOS_FUNCTION KokkosAttention::QueryRange query_range(int, int, index_t key_begin, index_t) const {
    KokkosAttention::QueryRange queries;  // all
    if (key_begin >= prefix) queries.begin = key_begin;
    return queries;
  }
};

#endif
