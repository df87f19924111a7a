// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTTURNS_HPP
#define KOKKOSATTENTION_HOSTTURNS_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_HostTiles.hpp>
#include <KokkosAttention_Workspace.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// Where there are few sequences for the threads, each tile of a sequence's keys is a work item that computes all
/// gradients: threads that work on the same sequence add to its sums of dQ in turns, the tile of the first keys first,
/// so that sums have the order in which one thread would form them.
///
/// A thread waits only for items that come earlier, and items are given out in their order to threads that run: there
/// is always one that need not wait.

namespace KokkosAttention::Impl {

/// A tile of keys of a sequence, which is a batch entry's key-value head, or all sequences that are packed in it, one
/// after the other.
struct HostTurn {
  index_t sequence, tile;
};

/// The n-th item that is given out. Threads of a sequence follow each other, and would wait more if they began at the
/// same time: so many sequences are begun before the next tile of one of them.
/// \param tiles of a sequence
constexpr HostTurn host_turn(index_t n, index_t tiles, index_t sequences, index_t begun) {
  index_t const first = n / (tiles * begun) * begun, rest = n - first * tiles;
  index_t const count = sequences - first < begun ? sequences - first : begun;
  return {first + rest % count, rest / count};
}

/// Where the sums of a packed sequence's queries begin among those of all: in rows of a tile register of their own.
inline constexpr int host_sum_rows = 16;
template <Scalar ScalarType>
KOKKOS_FORCEINLINE_FUNCTION index_t host_first_sum(AttentionArguments<ScalarType> const& a, Sequence const& queries) {
  return a.packed() ? (queries.q_begin / host_sum_rows + queries.batch + 1) * host_sum_rows : 0;
}

/// What threads tell each other, in a call's workspace.
template <class T>
struct HostTurns {
  T* query_sums = nullptr;  // of the gradients of all queries
  int* done     = nullptr;  // of an item: so many tiles of queries have its products and those of the items before it
  index_t* next = nullptr;  // item
  index_t sequences = 0, tiles = 0, begun = 1;
  index_t sum_rows   = 0;  // of a head
  index_t sum_stride = 0;  // numbers of a head

  index_t items() const { return sequences * tiles; }

  HostTurns() = default;

  /// Takes the arrays out of a workspace; from an empty one, only their size is counted.
  template <Scalar ScalarType>
  HostTurns(WorkspaceCarver& carver, BackwardArguments<ScalarType> const& a, HostBackwardTile const& tile, int threads)
      : sequences(index_t(a.batch) * a.kv_heads), tiles(tile_slots(a, Side::keys, tile.own)), begun(threads) {
    sum_rows   = round_up_to(a.q_len + (a.packed() ? (a.packed_sequences + 2) * host_sum_rows : 0), host_sum_rows);
    sum_stride = sum_rows * tile.query_sum_columns;
    query_sums = carver.take<T>(index_t(a.batch) * a.q_heads * sum_stride);
    done       = carver.take<int>(items());
    next       = carver.take<index_t>(1);
  }
};

}  // namespace KokkosAttention::Impl

#endif
