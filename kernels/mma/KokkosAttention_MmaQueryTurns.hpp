// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMAQUERYTURNS_HPP
#define KOKKOSATTENTION_MMAQUERYTURNS_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_MmaInstructions.hpp>
#include <KokkosAttention_MmaLane.hpp>
#include <KokkosAttention_MmaTurnArrays.hpp>
#include <KokkosAttention_TileWalk.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// Teams that own keys add to dQ in memory in turns: to a tile of queries, the team of the last keys first, which
/// writes, then those of the keys before them, one after the other. So the sums' order is fixed. From the last keys on,
/// because under a causal mask teams of later keys begin with later queries: each finds its first ones done.
///
/// A team waits only for teams whose work items come earlier. Items are given out in their order to teams that run,
/// whatever the order in which a device begins teams, so there is always one that need not wait.

namespace KokkosAttention::Impl {

/// A team's turns. What a warp of the team has to remember, others do not look at.
template <class Member, Scalar ScalarType>
class MmaQueryTurns {
  Member const& m_member;
  MmaTurnArrays<ScalarType> const& m_arrays;
  MmaLane m_lane;
  unsigned m_seen = 0;  // on its way, so not in scratch

 public:
  KOKKOS_FORCEINLINE_FUNCTION MmaQueryTurns(Member const& member, MmaTurnArrays<ScalarType> const& arrays, MmaLane lane)
      : m_member(member), m_arrays(arrays), m_lane(lane) {}

  /// The place in its order of the team's next work item.
  /// \param place in scratch
  KOKKOS_FORCEINLINE_FUNCTION index_t next_item(unsigned long long* place) const {
    m_member.team_barrier();
    if (m_member.team_rank() == 0 && m_lane.number() == 0) *place = take_number(m_arrays.next);
    m_member.team_barrier();
    return static_cast<index_t>(*place);
  }

  /// Whose turn is before the team's own at a tile.
  template <class Step, class Arguments, class M>
  KOKKOS_FORCEINLINE_FUNCTION void find(Step& step, MmaHeadTurns& of_head, Arguments const& arguments,
                                        Sequence const& sequence, Tile const& tile, M const& mask, int tile_keys,
                                        int tile_queries) const {
    if (tile.head != of_head.head) {
      of_head.head        = tile.head;
      of_head.first_place = static_cast<unsigned>(tile.head % arguments.group()) *
                            static_cast<unsigned>((sequence.q_len + tile_queries - 1) / tile_queries);
      of_head.next_first = of_head.next_end = 0;
      if (ExactRangeMask<M> && tile.key_begin + tile_keys < sequence.k_len) {
        auto const walk    = walk_over_queries<int>(mask.in_sequence(sequence), sequence,
                                                 keys_after(sequence, tile, tile_keys, 1), tile_queries);
        of_head.next_first = walk.first;
        of_head.next_end   = walk.end;
      }
    }
    int const begin = static_cast<int>(tile.query_begin);
    step.place      = of_head.first_place + static_cast<unsigned>(begin / tile_queries);
    if constexpr (ExactRangeMask<M>)
      step.distance = begin >= of_head.next_first && begin < of_head.next_end;
    else
      step.distance = find_distance(sequence, tile, mask.in_sequence(sequence), tile_keys, tile_queries);
  }

  /// Looks how far the others are, which takes a while.
  template <class Step>
  KOKKOS_FORCEINLINE_FUNCTION void look(Step const& step, MmaBackwardItem const& item) {
    if (waits() && step.distance != 0) m_seen = published_number(m_arrays.done + item.number + step.distance);
  }

  /// Waits until it is the team's turn. All threads may add after a team barrier.
  template <class Step>
  KOKKOS_FORCEINLINE_FUNCTION void wait(Step const& step, MmaBackwardItem& item) const {
    if (!waits()) return;
    int const distance        = step.distance;
    unsigned const place      = step.place;
    MmaKnownTurns const known = item.known;
    if (distance == 0 || (known.distance == distance && known.done > place)) return;
    item.known = {distance, wait_for_more(m_arrays.done + item.number + distance, place, m_seen)};
  }

  /// After a team barrier: tells the others that the team has been at a tile.
  template <class Step>
  KOKKOS_FORCEINLINE_FUNCTION void pass_on(Step const& step, index_t item, int warp) const {
    if (m_member.team_rank() == warp && m_lane.number() == 0) publish_number(m_arrays.done + item, step.place + 1);
  }

 private:
  /// The first warp and the last one have other things to do.
  KOKKOS_FORCEINLINE_FUNCTION bool waits() const { return m_member.team_rank() == 1 && m_lane.number() == 0; }

  KOKKOS_FORCEINLINE_FUNCTION static Tile keys_after(Sequence const& sequence, Tile tile, int tile_keys, int distance) {
    tile.key_begin += index_t(distance) * tile_keys;
    tile.key_end = Kokkos::min(tile.key_begin + tile_keys, sequence.k_len);
    return tile;
  }

  /// Where nothing is known of the mask's ranges: the warp's lanes ask it for a tile of keys each.
  template <class M>
  KOKKOS_FORCEINLINE_FUNCTION int find_distance(Sequence const& sequence, Tile const& tile, M const& mask,
                                                int tile_keys, int tile_queries) const {
    int const tiles = static_cast<int>((sequence.k_len - tile.key_begin + tile_keys - 1) / tile_keys);
    for (int first = 1; first < tiles; first += 32) {
      int const distance = first + m_lane.number();
      int found          = tiles;
      if (distance < tiles) {
        Tile const other = keys_after(sequence, tile, tile_keys, distance);
        auto const walk  = walk_over_queries<int>(mask, sequence, other, tile_queries);
        if (tile.query_begin >= walk.first && tile.query_begin < walk.end &&
            Impl::coverage(mask, other) != Coverage::none)
          found = distance;
      }
      KOKKOSATTENTION_UNROLL
      for (int bit = 16; bit > 0; bit /= 2) found = Kokkos::min(found, exchange_lanes(found, bit));
      if (found < tiles) return found;
    }
    return 0;
  }
};

}  // namespace KokkosAttention::Impl

#endif
