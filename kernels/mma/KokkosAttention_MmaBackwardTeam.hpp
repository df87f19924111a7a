// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMABACKWARDTEAM_HPP
#define KOKKOSATTENTION_MMABACKWARDTEAM_HPP

#include <KokkosAttention_BackwardLoop.hpp>
#include <KokkosAttention_MmaBackwardEngine.hpp>
#include <KokkosAttention_MmaFusedEngine.hpp>
#include <KokkosAttention_MmaGroupsEngine.hpp>
#include <KokkosAttention_MmaHalvesEngine.hpp>
#include <KokkosAttention_MmaPairEngine.hpp>
#include <KokkosAttention_MmaOptionInUse.hpp>

#include <Kokkos_Core.hpp>

namespace KokkosAttention::Impl {

/// Items are (batch, head of the own side, tile of it, part of the sums' columns).
template <Scalar ScalarType>
KOKKOS_FUNCTION index_t mma_backward_items(MmaBackwardData<ScalarType> const& data, Side own) {
  return work_items(data.arguments, own, data.tile.rows) * data.tile.parts;
}

/// What a team of a backward kernel does: some of the work items.
/// \tparam scale_is_power, splits_ahead see MmaEngine; queries and dO come split
template <int shape_number, class Member, Scalar ScalarType, class Scores, Mask M, class DropoutOfWeights,
          bool scale_is_power = false, bool splits_ahead = false>
struct MmaBackwardTeam {
  static constexpr MmaBackwardShape shape = mma_backward_shapes<ScalarType>[shape_number];

  static constexpr bool in_packs = knows_option<DropoutOfWeights>, drops = !never_drops<DropoutOfWeights>;

  MmaBackwardData<ScalarType> const& data;
  Scores const& scores;
  M const& mask;
  DropoutOfWeights const& dropout;

  KOKKOS_FORCEINLINE_FUNCTION void operator()(Member const& member) const {
    using Arithmetic = MmaArithmetic<ScalarType>;
    if constexpr (!shape.turns) {
      MmaBackwardEngine<ScalarType, Member, shape_number, in_packs, drops> engine(member, data);
      index_t const items = mma_backward_items(data, shape.own);
      for (index_t item = member.league_rank(); item < items; item += member.league_size()) {
        engine.set_part(static_cast<int>(item % data.tile.parts));
        work(engine, item / data.tile.parts);
      }
    } else if constexpr (shape.sharing == 1) {
      work_in_turns<MmaFusedEngine<ScalarType, Member, shape_number, in_packs, drops, splits_ahead>>(member);
    } else if constexpr (shape.groups) {
      constexpr bool linear = Scores::template is_linear<accumulation_t<ScalarType>>;
      work_in_turns<MmaGroupsEngine<ScalarType, Member, shape_number, linear>>(member);
    } else if constexpr (!exchanges_products<Arithmetic>) {
      work_in_turns<MmaHalvesEngine<ScalarType, Member, shape_number, in_packs, drops>>(member);
    } else {
      work_in_turns<MmaPairEngine<ScalarType, Member, shape_number, in_packs, drops, scale_is_power>>(member);
    }
  }

 private:
  template <class Engine>
  KOKKOS_FORCEINLINE_FUNCTION void work_in_turns(Member const& member) const {
    index_t const items = mma_backward_items(data, shape.own);
    Engine engine(member, data);
    index_t const tiles = tile_slots(data.arguments, Side::keys, data.tile.rows);
    for (index_t n = engine.next_item(); n < items; n = engine.next_item()) {
      // The last keys first.
      auto const [matrix, place] = place_in_turns(n, tiles, items / tiles, data.turns.heads_in_turns);
      WorkPlace const of{matrix, tiles - 1 - place};
      engine.set_item(of.matrix * tiles + of.place);
      work(engine, of);
    }
  }

  /// \param item its number, or place
  template <class Engine, class Item>
  KOKKOS_FORCEINLINE_FUNCTION void work(Engine& engine, Item const& item) const {
    auto const [sequence, head, begin, end] = work_item(data.arguments, shape.own, data.tile.rows, item);
    if (begin >= end || !data.tile.takes(sequence)) return;
    if constexpr (shape.own == Side::queries) {
      backward_query_tile(engine, scores, mask, dropout, sequence, Tile{sequence.batch, head, begin, end, 0, 0},
                          shape.columns);
    } else {
      backward_key_tile(engine, scores, mask, dropout, sequence,
                        Tile{sequence.batch, head * data.arguments.group(), 0, 0, begin, end}, data.arguments.readers(),
                        shape.columns);
    }
  }
};

}  // namespace KokkosAttention::Impl

#endif
