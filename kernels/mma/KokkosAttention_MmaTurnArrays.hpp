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

/// \param i query of the arrays
template <Scalar ScalarType>
KOKKOS_FORCEINLINE_FUNCTION bool sees_no_key(BackwardArguments<ScalarType> const& arguments, int entry, int head,
                                             index_t i) {
  return arguments.lse(entry, head, i, 0) == -Kokkos::Experimental::infinity_v<accumulation_t<ScalarType>>;
}

/// Nothing has been added. Where dQ is summed in its own place, it is 0 for queries that see no key, as no team may
/// come to them.
template <class ExecutionSpace, Scalar ScalarType>
void begin_turns(ExecutionSpace const& space, BackwardArguments<ScalarType> const& arguments,
                 MmaTurnArrays<ScalarType> const& arrays) {
  index_t const rows =
      sums_in_place<ScalarType> ? index_t(arguments.batch) * arguments.q_heads * arguments.q_len : index_t(0);
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
        if (!sees_no_key(arguments, entry, head, i)) return;
        for (int d = 0; d < arguments.head_dim; ++d) arguments.dq(entry, head, i, d) = ScalarType(0);
      });
}

/// dQ from sums in an array of their own; of queries that see no key, to which no team may have come, 0.
template <class ExecutionSpace, Scalar ScalarType>
struct MmaQuerySumsKernel {
  using T      = accumulation_t<ScalarType>;
  using Policy = Kokkos::TeamPolicy<ExecutionSpace>;
  using Member = typename Policy::member_type;
  using Place  = MmaSumPlace;

  static constexpr int pack = 16 / int(sizeof(ScalarType));
  static_assert(pack == 8);

  BackwardArguments<ScalarType> arguments;
  Tensor<T const> sums;
  bool in_packs;  // rows of dQ lie in packs

  KOKKOS_FUNCTION index_t items() const { return work_items(arguments, Side::queries, Place::rows); }

  KOKKOS_FUNCTION void operator()(Member const& member) const {
    index_t const step = index_t(member.league_size()) * member.team_size();
    for (index_t n = index_t(member.league_rank()) * member.team_size() + member.team_rank(); n < items(); n += step) {
      auto const [sequence, head, begin, end] = work_item(arguments, Side::queries, Place::rows, n);
      if (begin < end) write_rows(member, sequence, head, begin, static_cast<int>(end - begin));
    }
  }

 private:
  // Of a block of sums, a lane has a pack of two rows: neighbours, two numbers of each row in turns.
  struct Sums {
    Pack<T, Place::numbers> four[4];

    KOKKOS_FORCEINLINE_FUNCTION static Sums load(T const* from) {
      Sums result;
      KOKKOSATTENTION_UNROLL
      for (int n = 0; n < 4; ++n) result.four[n] = Pack<T, Place::numbers>::load(from + Place::numbers * n);
      return result;
    }
    KOKKOS_FORCEINLINE_FUNCTION Pack<ScalarType, pack> of_row(int h, T factor) const {
      Pack<ScalarType, pack> result;
      KOKKOSATTENTION_UNROLL
      for (int c = 0; c < pack; ++c) result.value[c] = ScalarType(factor * four[c / 2].value[2 * h + c % 2]);
      return result;
    }
  };

  KOKKOS_FUNCTION void write_rows(Member const& member, Sequence const& sequence, int head, index_t begin,
                                  int rows) const {
    constexpr int packs  = Place::columns / pack;  // of a row of a block of sums
    index_t const slot   = slot_of_rows(arguments, Side::queries, Place::rows, sequence, begin);
    index_t const first  = sequence.q_begin + begin;
    T const* const from  = &sums(sequence.entry, head, slot * Place::rows, 0);
    ScalarType* const to = arguments.dq.matrix(sequence.entry, head);
    Kokkos::parallel_for(Kokkos::ThreadVectorRange(member, packs * 8), [&](int lane) {
      int const quad = lane % 8, of_row = lane / 8;
      bool here[2], sees_keys[2];
      KOKKOSATTENTION_UNROLL
      for (int h = 0; h < 2; ++h) {
        here[h]      = quad + 8 * h < rows;
        sees_keys[h] = here[h] && !sees_no_key(arguments, sequence.entry, head, first + quad + 8 * h);
      }
      for (int block = 0; block * Place::columns + of_row * pack < arguments.head_dim; ++block) {
        Sums const of_lane = Sums::load(from + block * Place::rows * Place::columns + Place::of(of_row, 4 * quad));
        KOKKOSATTENTION_UNROLL
        for (int h = 0; h < 2; ++h)
          if (here[h])
            write(sees_keys[h] ? of_lane.of_row(h, arguments.scale) : Pack<ScalarType, pack>(),
                  to + (first + quad + 8 * h) * arguments.dq.stride[2], block * Place::columns + of_row * pack);
      }
    });
  }
  KOKKOS_FORCEINLINE_FUNCTION void write(Pack<ScalarType, pack> const& numbers, ScalarType* row, int column) const {
    if (in_packs) return numbers.store(row + column);
    KOKKOSATTENTION_UNROLL
    for (int c = 0; c < pack; ++c)
      if (column + c < arguments.head_dim) row[(column + c) * arguments.dq.stride[3]] = numbers.value[c];
  }
};

/// After all teams' turns.
template <class ExecutionSpace, Scalar ScalarType>
void end_turns(ExecutionSpace const& space, BackwardArguments<ScalarType> const& arguments,
               MmaTurnArrays<ScalarType> const& arrays) {
  if constexpr (!sums_in_place<ScalarType>) {
    using Kernel     = MmaQuerySumsKernel<ExecutionSpace, ScalarType>;
    auto const& sums = arrays.query_sums;
    Kernel const kernel{arguments,
                        {sums.data, {sums.stride[0], sums.stride[1], sums.stride[2], 1}},
                        lies_in_packs(arguments.dq, arguments.head_dim)};
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
