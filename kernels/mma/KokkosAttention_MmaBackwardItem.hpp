// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMABACKWARDITEM_HPP
#define KOKKOSATTENTION_MMABACKWARDITEM_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_TileWalk.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// What teams of backward kernels of five products note in scratch. In registers, all warps would keep what one of them
/// needs, all of them what they need before and after the products, and products would wait for their factors.

namespace KokkosAttention::Impl {

/// A tile of queries that a team is told to visit.
template <Scalar ScalarType>
struct alignas(16) MmaBackwardStep {
  using T = accumulation_t<ScalarType>;

  ScalarType const *q, *d_out;  // the first row
  T const *lse, *delta;
  T* dq;
  void const* array;         // of a kernel's one option: the head's
  int head, begin, queries;  // positions in the sequence
  int covers;                // a Coverage: what the mask lets through; nothing: there are no more tiles
  unsigned place;            // in the order in which the team visits tiles
  int distance;              // to the tile of keys whose turn is before at dQ; 0: there is none
};

/// Of a query head: places of tiles of queries before its first one, and which tiles the next tile of keys visits.
struct MmaHeadTurns {
  int head;
  unsigned first_place;
  int next_first, next_end;
};

/// What is known of the tile of keys at some distance: how many places it has done.
struct MmaKnownTurns {
  int distance;
  unsigned done;
};

/// What a team remembers of a work item.
struct alignas(16) MmaBackwardItem {
  // Of the first warp, which keeps the books:
  QuerySearch<int> search;
  MmaHeadTurns turns;
  int posted;     // steps
  int last_slot;  // of the last of them
  // Of the warp that waits for turns:
  MmaKnownTurns known;
  // Of all:
  index_t number;
  Sequence sequence;
  Tile keys;
};

}  // namespace KokkosAttention::Impl

#endif
