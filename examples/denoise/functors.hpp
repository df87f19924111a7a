// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef DENOISE_FUNCTORS_HPP
#define DENOISE_FUNCTORS_HPP

#include "pixel_order.hpp"

#include <KokkosAttention.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// What this program adds to attention: a mask and a score function. Queries are a piece of the sequence, from
/// `first_query` on; keys are all of it.

/// The mask that lets a pixel see those within `reach` rows and columns. It answers for tiles too, so that those out
/// of reach cost nothing, and those within reach no test.
struct SearchWindow {
  using index_t = KokkosAttention::index_t;

  PixelOrder order;
  Kokkos::View<PixelOrder::Position const*> positions;  // of the sequence: faster to look up than to divide again
  int reach;
  index_t first_query;

  KOKKOS_FUNCTION bool operator()(int, int, index_t i, index_t j) const {
    PixelOrder::Position const query = positions(first_query + i);
    PixelOrder::Position const key   = positions(j);
    return Kokkos::abs(query.row - key.row) <= reach && Kokkos::abs(query.column - key.column) <= reach;
  }

  KOKKOS_FUNCTION KokkosAttention::Coverage coverage(KokkosAttention::Tile const& tile) const {
    using KokkosAttention::Coverage;
    PixelOrder::Box const queries = order.box(first_query + tile.query_begin, first_query + tile.query_end);
    PixelOrder::Box const keys    = order.box(tile.key_begin, tile.key_end);
    Coverage const rows           = coverage(queries.row_begin, queries.row_end, keys.row_begin, keys.row_end);
    Coverage const columns = coverage(queries.column_begin, queries.column_end, keys.column_begin, keys.column_end);
    return Kokkos::min(rows, columns);
  }

  KOKKOS_FUNCTION KokkosAttention::KeyRange key_range(int, int, index_t query_begin, index_t query_end) const {
    PixelOrder::Box const queries = order.box(first_query + query_begin, first_query + query_end);
    int const first_strip         = Kokkos::max(queries.row_begin - reach, 0) / PixelOrder::strip_rows;
    int const last_strip          = (queries.row_end - 1 + reach) / PixelOrder::strip_rows;
    return {order.strip_begin(first_strip * PixelOrder::strip_rows),
            order.strip_begin((last_strip + 1) * PixelOrder::strip_rows)};
  }

 private:
  /// How many pairs of a query coordinate and a key coordinate are within reach.
  KOKKOS_FUNCTION KokkosAttention::Coverage coverage(int query_begin, int query_end, int key_begin, int key_end) const {
    using KokkosAttention::Coverage;
    int const lowest  = key_begin - (query_end - 1);
    int const highest = key_end - 1 - query_begin;
    if (lowest > reach || highest < -reach) return Coverage::none;
    return lowest >= -reach && highest <= reach ? Coverage::all : Coverage::some;
  }
};

/// The score of a patch with itself. Its distance is 0, which would give the pixel's own noise more weight than all
/// else; but everywhere else noise adds 2 sigma^2 to a squared difference on average, so it is added here too.
template <class Score>
struct OwnPatch {
  using index_t = KokkosAttention::index_t;

  Score noise_distance;
  index_t first_query;

  KOKKOS_FUNCTION Score operator()(Score score, int, int, index_t i, index_t j) const {
    return first_query + i == j ? score - noise_distance : score;
  }
};

#endif
