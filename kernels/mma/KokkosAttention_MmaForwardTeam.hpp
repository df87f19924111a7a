// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMAFORWARDTEAM_HPP
#define KOKKOSATTENTION_MMAFORWARDTEAM_HPP

#include <KokkosAttention_ForwardLoop.hpp>
#include <KokkosAttention_MmaEngine.hpp>
#include <KokkosAttention_MmaOptionInUse.hpp>

#include <Kokkos_Core.hpp>

#include <climits>

namespace KokkosAttention::Impl {

/// Items are (batch, head, query tile, part of the output's columns).
template <Scalar ScalarType>
KOKKOS_FUNCTION index_t mma_forward_items(ForwardArguments<ScalarType> const& arguments, MmaTile const& tile) {
  return work_items(arguments, Side::queries, tile.queries) * tile.value_parts;
}

/// What a team of a forward kernel does: some of the work items.
/// \tparam scale_is_power, splits_ahead see MmaEngine
template <int shape_number, class Member, Scalar ScalarType, class Scores, Mask M, class DropoutOfWeights,
          bool scale_is_power = false, bool splits_ahead = false>
struct MmaForwardTeam {
  static constexpr MmaShape shape = mma_shapes<ScalarType>[shape_number];
  // What is known when compiled saves divisions, for which a team waits before its first product. In float64 compilers
  // make slower loops after it (39.7 TFLOP/s instead of 40.6 at 64 columns).
  static constexpr bool knows_tile = sizeof(ScalarType) < 8;

  ForwardArguments<ScalarType> const& arguments;
  Scores const& scores;
  M const& mask;
  DropoutOfWeights const& dropout;
  MmaTile const& tile;
  index_t matrices_in_turns;

  KOKKOS_FORCEINLINE_FUNCTION void operator()(Member const& member) const {
    constexpr bool is_quick = Scores::is_quick && never_drops<DropoutOfWeights>;
    MmaEngine<ScalarType, Member, shape_number, knows_option<DropoutOfWeights>, scale_is_power, splits_ahead, is_quick>
        engine(member, arguments, tile);
    index_t const items = work_items(arguments, Side::queries, queries()) * tile.value_parts;
    for (index_t n = member.league_rank(); n < items; n += member.league_size()) {
      // Divisions of 64 bits take as long as a part of a short sequence.
      WorkPlace const of                      = items <= INT_MAX ? place<unsigned>(n) : place<index_t>(n);
      auto const [sequence, head, begin, end] = work_item(arguments, Side::queries, queries(), of);
      if (begin >= end || !tile.takes(sequence)) continue;
      engine.set_part(tile.value_parts == 1 ? 0 : static_cast<int>(n % tile.value_parts));
      forward_query_tile(engine, scores, mask, dropout, sequence, Tile{sequence.batch, head, begin, end, 0, 0},
                         shape.keys);
    }
  }

 private:
  KOKKOS_FORCEINLINE_FUNCTION int queries() const {
    return knows_tile ? 16 * shape.row_blocks * shape.warps : tile.queries;
  }
  template <class Integer>
  KOKKOS_FORCEINLINE_FUNCTION WorkPlace place(index_t item) const {
    auto const of_queries = static_cast<Integer>(item);
    return place_in_turns(tile.value_parts == 1 ? of_queries : of_queries / static_cast<Integer>(tile.value_parts),
                          static_cast<Integer>(tile_slots(arguments, Side::queries, queries())),
                          static_cast<Integer>(arguments.batch) * static_cast<Integer>(arguments.q_heads),
                          static_cast<Integer>(matrices_in_turns));
  }
};

}  // namespace KokkosAttention::Impl

#endif
