// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMATURNARRAYS_HPP
#define KOKKOSATTENTION_MMATURNARRAYS_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_Launch.hpp>
#include <KokkosAttention_MmaBackwardTiles.hpp>
#include <KokkosAttention_PortableProduct.hpp>
#include <KokkosAttention_Workspace.hpp>

#include <Kokkos_Core.hpp>

#include <climits>
#include <type_traits>

/// \file
/// What teams that add to dQ in turns share, in a call's workspace: how far each is, and sums of dQ, if they have more
/// digits than dQ itself.

namespace KokkosAttention::Impl {

/// Whether dQ is summed in its own place.
template <Scalar ScalarType>
inline constexpr bool sums_in_place = std::is_same_v<accumulation_t<ScalarType>, ScalarType>;

/// Where a lane's sums of dQ lie in an array of their own: by blocks of 16 queries and 32 columns as lanes hold them,
/// four numbers each, so that what a warp adds at once are neighbours.
struct MmaSumPlace {
  static constexpr int rows = 16, columns = 32, numbers = 4;

  /// From the block's first number to a lane's four of 8 columns: the Sum of MmaArithmetic.
  KOKKOS_FORCEINLINE_FUNCTION static constexpr int of(int n, int lane) { return numbers * (32 * n + lane); }
};

template <Scalar ScalarType>
struct MmaTurnArrays {
  using T = accumulation_t<ScalarType>;

  // dQ, or an array of slots (see rows_of_slot) of MmaSumPlace::rows queries.
  Tensor<T> query_sums     = {};
  unsigned* done           = nullptr;  // of a work item: all places in its order up to here
  unsigned long long* next = nullptr;  // work item
  index_t items            = 0;
  // So many heads' tiles of keys are begun in turns: teams of a head add to a tile after each other, and would wait
  // more if more of them began at the same time.
  index_t heads_in_turns = 1;

  MmaTurnArrays() = default;

  /// Takes the arrays out of a workspace; from an empty one, only its size is counted.
  MmaTurnArrays(WorkspaceCarver& carver, BackwardArguments<ScalarType> const& arguments, MmaBackwardTile const& tile)
      : items(work_items(arguments, Side::keys, tile.rows)) {
    done = carver.take<unsigned>(items);
    next = carver.take<unsigned long long>(1);
    if constexpr (sums_in_place<ScalarType>) {
      query_sums = arguments.dq;
    } else {
      index_t const columns = mma_backward_shapes<ScalarType>[tile.shape].head_columns;
      index_t const head    = tile_slots(arguments, Side::queries, MmaSumPlace::rows) * MmaSumPlace::rows * columns;
      index_t const entry   = arguments.q_heads * head;
      query_sums            = {carver.take<T>(arguments.batch * entry), {entry, head, columns, 1}};
    }
  }
};

/// How many heads' tiles of keys are begun in turns, so that what their teams read and add to stays in a cache: as many
/// as have room there, or down to half of that, if fewer heads are then missing in the last turn; enough for some
/// teams. \param tiles of keys, of a head \param head_bytes of its queries, dO and sums of dQ
constexpr index_t heads_in_cache(index_t teams, index_t tiles, index_t heads, index_t head_bytes, index_t cache_bytes) {
  if (tiles == 0 || heads == 0) return 1;
  index_t const enough = Kokkos::min((teams + tiles - 1) / tiles, heads);
  index_t const most   = Kokkos::max(enough, Kokkos::min(cache_bytes / Kokkos::max(head_bytes, index_t(1)), heads));
  index_t best = most, least_missing = heads;
  for (index_t turns = most; turns >= Kokkos::max(enough, (most + 1) / 2); --turns) {
    index_t const missing = (turns - heads % turns) % turns;
    if (missing >= least_missing) continue;
    best          = turns;
    least_missing = missing;
  }
  return best;
}

/// Nothing has been added. Queries that see no key have a gradient of 0, as no team may come to them.
template <class ExecutionSpace, Scalar ScalarType>
void begin_turns(ExecutionSpace const& space, BackwardArguments<ScalarType> const& arguments,
                 MmaTurnArrays<ScalarType> const& arrays) {
  using T            = accumulation_t<ScalarType>;
  index_t const rows = index_t(arguments.batch) * arguments.q_heads * arguments.q_len;
  Kokkos::parallel_for(
      "KokkosAttention::backward, dq begins (mma)",
      as_kernel_argument(Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<index_t>>(
          space, 0, Kokkos::max(rows, arrays.items) + 1)),
      KOKKOS_LAMBDA(index_t n) {
        if (n == 0) *arrays.next = 0;
        if (n < arrays.items) arrays.done[n] = 0;
        if (n >= rows) return;
        int const entry = static_cast<int>(n / arguments.q_len / arguments.q_heads);
        int const head  = static_cast<int>(n / arguments.q_len % arguments.q_heads);
        index_t const i = n % arguments.q_len;
        if (arguments.lse(entry, head, i, 0) != -Kokkos::Experimental::infinity_v<T>) return;
        for (int d = 0; d < arguments.head_dim; ++d) arguments.dq(entry, head, i, d) = ScalarType(0);
      });
}

/// dQ from sums in an array of their own.
template <class ExecutionSpace, Scalar ScalarType>
struct MmaQuerySumsKernel {
  using T      = accumulation_t<ScalarType>;
  using Policy = Kokkos::TeamPolicy<ExecutionSpace>;
  using Member = typename Policy::member_type;
  using Place  = MmaSumPlace;

  BackwardArguments<ScalarType> arguments;
  Tensor<T const> sums;

  KOKKOS_FUNCTION index_t items() const { return work_items(arguments, Side::queries, Place::rows); }

  KOKKOS_FUNCTION void operator()(Member const& member) const {
    index_t const step = index_t(member.league_size()) * member.team_size();
    for (index_t n = index_t(member.league_rank()) * member.team_size() + member.team_rank(); n < items(); n += step) {
      auto const [sequence, head, begin, end] = work_item(arguments, Side::queries, Place::rows, n);
      if (begin < end) write_rows(member, sequence, head, begin, static_cast<int>(end - begin));
    }
  }

 private:
  KOKKOS_FUNCTION void write_rows(Member const& member, Sequence const& sequence, int head, index_t begin,
                                  int rows) const {
    index_t const slot    = slot_of_rows(arguments, Side::queries, Place::rows, sequence, begin);
    T const* const from   = &sums(sequence.entry, head, slot * Place::rows, 0);
    ScalarType* const to  = &arguments.dq(sequence.entry, head, sequence.q_begin + begin, 0);
    index_t const* stride = arguments.dq.stride;
    for (int block = 0; block * Place::columns < arguments.head_dim; ++block) {
      for (int n = 0; n < Place::columns / 8; ++n) {
        Kokkos::parallel_for(Kokkos::ThreadVectorRange(member, 32), [&](int lane) {
          T const* const four = from + block * Place::rows * Place::columns + Place::of(n, lane);
          for (int i = 0; i < Place::numbers; ++i) {
            int const row = lane / 4 + i / 2 * 8, column = block * Place::columns + 8 * n + 2 * (lane % 4) + i % 2;
            if (row < rows && column < arguments.head_dim && !sees_no_key(sequence, head, begin + row))
              to[row * stride[2] + column * stride[3]] = ScalarType(arguments.scale * four[i]);
          }
        });
      }
    }
  }
  KOKKOS_FUNCTION bool sees_no_key(Sequence const& sequence, int head, index_t i) const {
    return arguments.lse(sequence.entry, head, sequence.q_begin + i, 0) == -Kokkos::Experimental::infinity_v<T>;
  }
};

/// After all teams' turns.
template <class ExecutionSpace, Scalar ScalarType>
void end_turns(ExecutionSpace const& space, BackwardArguments<ScalarType> const& arguments,
               MmaTurnArrays<ScalarType> const& arrays) {
  if constexpr (!sums_in_place<ScalarType>) {
    using Kernel     = MmaQuerySumsKernel<ExecutionSpace, ScalarType>;
    auto const& sums = arrays.query_sums;
    Kernel const kernel{arguments, {sums.data, {sums.stride[0], sums.stride[1], sums.stride[2], 1}}};
    constexpr bool on_host = runs_on_host<ExecutionSpace>;
    constexpr int blocks   = on_host ? 1 : 4;  // of a team
    index_t const teams    = (kernel.items() + blocks - 1) / blocks;
    if (teams == 0) return;
    typename Kernel::Policy const policy(space, static_cast<int>(Kokkos::min(teams, index_t(INT_MAX))), blocks,
                                         on_host ? 1 : 32);
    Kokkos::parallel_for("KokkosAttention::backward, dq ends (mma)", as_kernel_argument(policy), kernel);
  }
}

}  // namespace KokkosAttention::Impl

#endif
