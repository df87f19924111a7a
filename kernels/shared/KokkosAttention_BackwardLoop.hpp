// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_BACKWARDLOOP_HPP
#define KOKKOSATTENTION_BACKWARDLOOP_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_Masks.hpp>
#include <KokkosAttention_Scores.hpp>
#include <KokkosAttention_TileWalk.hpp>
#include <KokkosAttention_WeightDropout.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The backward pass, the same in every engine (Dao, FlashAttention-2, arXiv:2307.08691, algorithm 2, with the loops
/// turned so that no two teams add to one number): weights are computed again from the LSE,
///
///     P = exp(S - LSE), W = dropout(P), dP = dropout(dO V^T), dS = P (dP - delta) f'(S), delta = rowsum(dO O),
///     dQ = scale dS K, dK = scale dS^T Q, dV = W^T dO, dBias = dS up to the bias.
///
/// A team owns a tile of one side, queries or keys, and goes through the tiles of the other side in their order, so
/// that every sum has a fixed order. An engine owns
///
///     engine.begin(sequence, tile)   loads the rows of its own side, clears its sums
///     engine.draw(tile, dropout)     draws which weights are kept
///     engine.prefetch(tile)          the tile that comes after the next one; for engines that load ahead
///     engine.multiply(tile)          brings the other side's rows in; scores = scale * Q K^T, gradients = dO V^T
///     engine.for_each_row(tile, f)   f(row) for the rows of its own side, with row.update(f(i, j, score, gradient)),
///                                    row.update_lanes(f) where f is arithmetic that a vector can do,
///                                    row.store_lanes(f), if there is one, the same where only products follow,
///                                    row.weight(i, score) = exp(score - LSE of i), 0 for a query with nothing to
///                                    attend, row.delta(i), row.kept(i, j); row.keep(keys_of, queries_of), if there is
///                                    one, drops pairs that are not in keys_of(i), or in queries_of(j),
///                                    row.keep_flagged(tensor, b, h) those that a tensor of flags drops
///     engine.accumulate(tile)        adds its products of scores and gradients with the other side's rows to its sums
///     engine.finish(tile)            stores the sums
///
/// and one whose teams have one warp to find tiles for all, instead of prefetch
///
///     engine.post(find, mask, array_of)
///                                    finds the tile that comes after those that were found before; array_of(head) is
///                                    where the one array that score functions look up is
///     engine.next()                  goes on to that tile: what the mask lets through of it
///     engine.tile()                  the tile
///     engine.noted(array)            what score functions are to look up, of one head
///
/// and one of whose threads some may have gradients, but no scores, which is for linear score functions only
///
///     engine.has_gradients_alone()   whether this one has
///     engine.for_each_row_of_gradients(tile, f)
///                                    f(row) for its rows, with row.multiply_gradients(f(i, j))

namespace KokkosAttention::Impl {

/// Pairs that the mask does not let through get no weight and no gradient.
template <class Row, class M>
KOKKOS_FUNCTION void apply_mask_backward(Row const& row, M const& mask, Tile const& tile) {
  using T     = typename Row::value_type;
  int const b = tile.batch, h = tile.head;
  auto const keys_of    = [&](index_t i) { return Impl::key_range(mask, b, h, i, i + 1); };
  auto const queries_of = [&](index_t j) { return Impl::query_range(mask, b, h, j, j + 1); };
  constexpr bool keeps  = ExactRangeMask<M> && requires { row.keep(keys_of, queries_of); };
  if constexpr (keeps)
    row.keep(keys_of, queries_of);
  else if constexpr (TakesMasksApart<Row, M>)
    mask.for_each_part(tile, [&](auto const& part) { apply_mask_backward(row, part, tile); });
  else if constexpr (KeepsFlagged<Row, M>)
    row.keep_flagged(mask.flags, b, h);
  else
    row.update([&](index_t i, index_t j, T& score, T& gradient) {
      if (mask(b, h, i, j)) return;
      score    = -Kokkos::Experimental::infinity_v<T>;
      gradient = 0;
    });
}

/// row.update_lanes(f), or row.store_lanes(f) where only products follow.
template <class Row, class F>
KOKKOS_FORCEINLINE_FUNCTION void update_or_store(Row const& row, [[maybe_unused]] bool products_follow, F const& f) {
  if constexpr (requires { row.store_lanes(f); }) {
    if (products_follow) return row.store_lanes(f);
  }
  row.update_lanes(f);
}

/// Turns a tile's scores into weights W, and the gradients of the weights into those of a score function's input.
template <ScoreInput input, class Engine, class Scores, Mask M, class DropoutOfWeights>
KOKKOS_FUNCTION void differentiate_tile(Engine& engine, Scores const& scores, M const& mask,
                                        DropoutOfWeights const& dropout, Sequence const& sequence, Tile const& tile,
                                        Coverage tile_covers) {
  using T = typename DropoutOfWeights::value_type;
  if constexpr (requires { engine.has_gradients_alone(); }) {
    if (engine.has_gradients_alone())
      return engine.for_each_row_of_gradients(
          tile, [&](auto const& row) { scores.multiply_gradients(row, sequence, tile.head); });
  }
  engine.for_each_row(tile, [&](auto const& row) {
    bool const subtract_first = dropout.active() || scores.active();
    if (dropout.active())
      row.update([&](index_t i, index_t j, T&, T& gradient) {
        gradient = row.kept(i, j) ? dropout.factor() * gradient : T(0);
      });
    constexpr bool subtracted = requires { requires std::remove_cvref_t<decltype(row)>::gradients_are_less_delta; };
    if (subtract_first && !subtracted)
      row.update_lanes([&](auto i, auto, auto&, auto& gradient) { gradient -= row.delta(i); });
    scores.template differentiate<input>(row, sequence, tile.head);
    if (tile_covers == Coverage::some) apply_mask_backward(row, mask, tile);
    auto const weigh = [&](auto i, auto& score, auto& gradient) {
      score    = row.weight(i, score);
      gradient = score * gradient;
    };
    bool const is_last = !dropout.active();
    if (subtract_first || subtracted)
      update_or_store(row, is_last, [&](auto i, auto, auto& score, auto& gradient) { weigh(i, score, gradient); });
    else
      update_or_store(row, is_last, [&](auto i, auto, auto& score, auto& gradient) {
        gradient -= row.delta(i);
        weigh(i, score, gradient);
      });
    if (dropout.active())
      row.update(
          [&](index_t i, index_t j, T& weight, T&) { weight = row.kept(i, j) ? dropout.factor() * weight : T(0); });
  });
}

/// One tile, of which the mask lets some pairs through.
template <ScoreInput input, class Engine, class Scores, Mask M, class DropoutOfWeights>
KOKKOS_FUNCTION void backward_tile(Engine& engine, Scores const& scores, M const& mask, DropoutOfWeights const& dropout,
                                   Sequence const& sequence, Tile const& tile, Coverage tile_covers) {
  auto const scores_of_head = scores.of_head(sequence, tile.head);
  auto const mask_of_head   = mask.of_head(sequence, tile.head);
  if (dropout.active()) engine.draw(tile, dropout);
  engine.multiply(tile);
  differentiate_tile<input>(engine, noted_scores(engine, scores_of_head), mask_of_head, dropout, sequence, tile,
                            tile_covers);
  engine.accumulate(tile);
}

/// Goes through the tiles that `find` finds one after the other: find(tile) -> what the mask lets through, none at the
/// end.
template <ScoreInput input, class Engine, class Scores, Mask M, class DropoutOfWeights, class Find>
KOKKOS_FUNCTION void visit_tiles(Engine& engine, Scores const& scores, M const& mask, DropoutOfWeights const& dropout,
                                 Sequence const& sequence, Find const& find) {
  auto const array_of = [&]([[maybe_unused]] int head) -> void const* {
    if constexpr (Scores::looks_up_one_array)
      return scores.of_head(sequence, head).first.array().data;
    else
      return nullptr;
  };
  if constexpr (requires { engine.post(find, mask, array_of); }) {
    engine.post(find, mask, array_of);
    for (Coverage covers = engine.next(); covers != Coverage::none; covers = engine.next()) {
      engine.post(find, mask, array_of);
      backward_tile<input>(engine, scores, mask, dropout, sequence, engine.tile(), covers);
    }
    return;
  }
  Tile next            = {};
  Coverage next_covers = find(next);
  while (next_covers != Coverage::none) {
    Tile const tile            = next;
    Coverage const tile_covers = next_covers;
    next_covers                = find(next);
    if constexpr (requires { engine.prefetch(next); }) {
      if (next_covers != Coverage::none) engine.prefetch(next);
    }
    backward_tile<input>(engine, scores, mask, dropout, sequence, tile, tile_covers);
  }
}

/// The gradient of a tile of queries.
/// \param tile head and queries of the league member; its keys are ignored
template <class Engine, class Scores, Mask M, class DropoutOfWeights>
KOKKOS_FUNCTION void backward_query_tile(Engine& engine, Scores const& scores, M const& mask_of_all,
                                         DropoutOfWeights const& dropout, Sequence const& sequence, Tile const& tile,
                                         int tile_keys) {
  using Position  = typename PositionOf<Engine>::type;
  auto const mask = mask_of_all.in_sequence(sequence);
  engine.begin(sequence, tile);
  auto const walk = walk_over_keys<Position>(mask, sequence, tile, tile_keys);
  Position next   = walk.first;
  visit_tiles<ScoreInput::product>(engine, scores, mask, dropout, sequence, [&](Tile& found) {
    for (; next < walk.end; next += tile_keys) {
      Position const begin = next, end = walk.end_of(begin, tile_keys);
      found                      = {tile.batch, tile.head, tile.query_begin, tile.query_end, begin, end};
      Coverage const tile_covers = walk.coverage(mask, found, begin, end);
      if (tile_covers == Coverage::none) continue;
      next += tile_keys;
      return tile_covers;
    }
    return Coverage::none;
  });
  engine.finish(tile);
}

/// The gradients of a tile of keys and of its values.
/// \param tile keys of the league member, and the first query head that reads them; its queries are ignored
/// \param heads query heads that read them
template <class Engine, class Scores, Mask M, class DropoutOfWeights>
KOKKOS_FUNCTION void backward_key_tile(Engine& engine, Scores const& scores, M const& mask_of_all,
                                       DropoutOfWeights const& dropout, Sequence const& sequence, Tile const& tile,
                                       int heads, int tile_queries) {
  using Position  = typename PositionOf<Engine>::type;
  auto const mask = mask_of_all.in_sequence(sequence);
  engine.begin(sequence, tile);
  Tile keys     = tile;
  auto walk     = walk_over_queries<Position>(mask, sequence, keys, tile_queries);
  Position next = walk.first;
  visit_tiles<ScoreInput::product>(engine, scores, mask, dropout, sequence, [&](Tile& found) {
    while (keys.head < tile.head + heads) {
      for (; next < walk.end; next += tile_queries) {
        Position const begin = next, end = walk.end_of(begin, tile_queries);
        found                      = {keys.batch, keys.head, begin, end, keys.key_begin, keys.key_end};
        Coverage const tile_covers = walk.coverage(mask, found, begin, end);
        if (tile_covers == Coverage::none) continue;
        next += tile_queries;
        return tile_covers;
      }
      if (++keys.head == tile.head + heads) break;
      walk = walk_over_queries<Position>(mask, sequence, keys, tile_queries);
      next = walk.first;
    }
    return Coverage::none;
  });
  engine.finish(tile);
}

}  // namespace KokkosAttention::Impl

#endif
