// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_FORWARDLOOP_HPP
#define KOKKOSATTENTION_FORWARDLOOP_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_Masks.hpp>
#include <KokkosAttention_Scores.hpp>
#include <KokkosAttention_Softmax.hpp>
#include <KokkosAttention_TileWalk.hpp>
#include <KokkosAttention_WeightDropout.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The forward pass of one query tile, the same in every engine (Dao, FlashAttention-2, arXiv:2307.08691,
/// algorithm 1).
///
/// An engine owns where tiles and scores live, the two products, rows and their reductions, and loads and stores:
///
///     engine.begin(sequence, tile)   loads the queries, clears the softmax state
///     engine.note(array), engine.noted(array), engine.copy_array(array, tile)
///                                    where the one array that score functions look up is, for engines that keep that
///                                    out of registers; what to look up; begins to bring in a tile's part, for engines
///                                    that do it ahead
///     engine.draw(tile, dropout)     draws which weights are kept
///     engine.load_first(tile)        begins to bring the first tile in; this and prefetch are for engines that load
///                                    ahead
///     engine.load_keys(tile)         brings a tile of keys in
///     engine.prefetch(tile, exists)  the tile that is next to be loaded, if there is one
///     engine.with_scores(tile, f)    f(scores), if there is one: products and rows then take these scores
///                                    after the tile
///     engine.multiply_query_key(t)   scores = scale * Q K^T
///     engine.for_each_row(tile, f)   f(row) for the tile's queries, with row.transform(f(i, j, score)), row.maximum(),
///                                    row.exponentiate(shift), row.state(), row.set_state(state), row.kept(i, j);
///                                    row.add(tensor, b, h), if there is one, adds a bias, row.keep(keys_of) drops the
///                                    keys that are not in keys_of(i), row.keep_flagged(tensor, b, h) those
///                                    that a tensor of flags drops; a row is one query, or as many as a vector
///                                    has lanes
///     engine.for_each_row(t, f, k)   the same, for engines that leave out keys that several rows drop: k(begin, end)
///                                    is the range of the keys that queries [begin, end) may attend
///     engine.load_values(tile)       brings the tile of values in
///     engine.accumulate_output(t)    output = rescale * output + scores V
///     engine.finish(tile)            stores output / sum and the LSE
///
/// Products may be put off until for_each_row, for a few rows at a time.
/// It knows nothing of masks and score functions, and they nothing of hardware.

namespace KokkosAttention::Impl {

template <class Row, class M>
KOKKOS_FUNCTION void apply_mask(Row const& row, M const& mask, Tile const& tile) {
  using T     = typename Row::value_type;
  int const b = tile.batch, h = tile.head;
  auto const keys_of   = [&](index_t i) { return Impl::key_range(mask, b, h, i, i + 1); };
  constexpr bool keeps = ExactRangeMask<M> && requires { row.keep(keys_of); };
  if constexpr (keeps)
    row.keep(keys_of);
  else if constexpr (TakesMasksApart<Row, M>)
    mask.for_each_part(tile, [&](auto const& part) { apply_mask(row, part, tile); });
  else if constexpr (KeepsFlagged<Row, M>)
    row.keep_flagged(mask.flags, b, h);
  else
    row.transform(
        [&](index_t i, index_t j, T score) { return mask(b, h, i, j) ? score : -Kokkos::Experimental::infinity_v<T>; });
}

/// \param tile head and queries of the league member; its keys are ignored
/// \param tile_keys keys a tile
/// \param keys those of a partial output; begins at a multiple of tile_keys
template <class Engine, class Scores, Mask M, class DropoutOfWeights>
KOKKOS_FUNCTION void forward_query_tile(Engine& engine, Scores const& scores_of_all, M const& mask_of_all,
                                        DropoutOfWeights const& dropout, Sequence const& sequence, Tile tile,
                                        int tile_keys, KeyRange const& keys = {}) {
  using T           = typename DropoutOfWeights::value_type;
  using Position    = typename PositionOf<Engine>::type;
  auto const mask   = mask_of_all.in_sequence(sequence).of_head(sequence, tile.head);
  auto const scores = scores_of_all.of_head(sequence, tile.head);
  engine.begin(sequence, tile);
  if constexpr (Scores::looks_up_one_array)
    if constexpr (requires { engine.note(scores.first.array()); }) engine.note(scores.first.array());
  auto const walk     = walk_over_keys<Position>(mask, sequence, tile, tile_keys, keys);
  auto const set_keys = [&](Tile& of, Position begin) {
    of.key_begin = begin;
    of.key_end   = walk.end_of(begin, tile_keys);
  };
  // Moves on to the next tile that the mask does not leave empty.
  auto const find = [&](Position& begin) {
    for (; begin < walk.end; begin += tile_keys) {
      Tile found = tile;
      set_keys(found, begin);
      Coverage const tile_covers = walk.coverage(mask, found, begin, static_cast<Position>(found.key_end));
      if (tile_covers != Coverage::none) return tile_covers;
    }
    return Coverage::none;
  };
  Position next_begin  = walk.first;
  Coverage next_covers = find(next_begin);
  set_keys(tile, next_begin);
  if constexpr (requires { engine.load_first(tile); })
    if (next_covers != Coverage::none) engine.load_first(tile);
  while (next_covers != Coverage::none) {
    Coverage const tile_covers = next_covers;
    set_keys(tile, next_begin);
    next_begin += tile_keys;
    next_covers = find(next_begin);

    engine.load_keys(tile);
    Tile next = tile;
    set_keys(next, next_begin);
    if constexpr (requires { engine.prefetch(next, true); }) engine.prefetch(next, next_covers != Coverage::none);
    if constexpr (Scores::looks_up_one_array)
      if constexpr (requires { engine.copy_array(scores.first.array(), tile); })
        engine.copy_array(scores.first.array(), tile);
    if (dropout.active()) engine.draw(tile, dropout);
    auto const update_row = [&](auto const& row) {
      noted_scores(engine, scores).apply(row, sequence, tile.head);
      if (tile_covers == Coverage::some) apply_mask(row, mask, tile);
      update_softmax(row);
      if (dropout.active())
        row.transform(
            [&](index_t i, index_t j, T weight) { return row.kept(i, j) ? dropout.factor() * weight : T(0); });
    };
    auto const keys_of = [&](index_t begin, index_t end) {
      return Impl::key_range(mask, tile.batch, tile.head, begin, end);
    };
    constexpr bool leaves_out = requires { engine.for_each_row(tile, update_row, keys_of); };
    auto const compute        = [&](auto&... of_tile) {
      engine.multiply_query_key(tile, of_tile...);
      engine.load_values(tile);
      if constexpr (leaves_out)
        engine.for_each_row(tile, of_tile..., update_row, keys_of);
      else
        engine.for_each_row(tile, of_tile..., update_row);
      engine.accumulate_output(tile, of_tile...);
    };
    if constexpr (requires { engine.with_scores(tile, compute); })
      engine.with_scores(tile, compute);
    else
      compute();
  }
  engine.finish(tile);
}

}  // namespace KokkosAttention::Impl

#endif
