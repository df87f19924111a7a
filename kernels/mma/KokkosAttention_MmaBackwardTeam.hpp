// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMABACKWARDTEAM_HPP
#define KOKKOSATTENTION_MMABACKWARDTEAM_HPP

#include <KokkosAttention_BackwardLoop.hpp>
#include <KokkosAttention_MmaBackwardEngine.hpp>
#include <KokkosAttention_MmaPlain.hpp>

#include <Kokkos_Core.hpp>

namespace KokkosAttention::Impl {

/// Items are (batch, head of the own side, tile of it, part of the sums' columns).
template <Scalar ScalarType>
KOKKOS_FUNCTION index_t mma_backward_items(MmaBackwardData<ScalarType> const& data, Side own) {
  return work_items(data.arguments, own, data.tile.rows) * data.tile.parts;
}

/// What a team of a backward kernel does: some of the work items.
template <int shape_number, class Member, Scalar ScalarType, class Scores, Mask M, class DropoutOfWeights>
struct MmaBackwardTeam {
  static constexpr MmaBackwardShape shape = mma_backward_shapes<ScalarType>[shape_number];

  using Engine = MmaBackwardEngine<ScalarType, Member, shape_number, is_plain<DropoutOfWeights>>;

  MmaBackwardData<ScalarType> const& data;
  Scores const& scores;
  M const& mask;
  DropoutOfWeights const& dropout;

  KOKKOS_FORCEINLINE_FUNCTION void operator()(Member const& member) const {
    Engine engine(member, data);
    for (index_t item = member.league_rank(); item < mma_backward_items(data, shape.own); item += member.league_size())
      work(engine, item);
  }

 private:
  KOKKOS_FORCEINLINE_FUNCTION void work(Engine& engine, index_t item) const {
    auto const [sequence, head, begin, end] =
        work_item(data.arguments, shape.own, data.tile.rows, item / data.tile.parts);
    if (begin >= end) return;
    engine.set_part(static_cast<int>(item % data.tile.parts));
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
