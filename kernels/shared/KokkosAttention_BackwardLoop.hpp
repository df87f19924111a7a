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
/// and one whose teams have one warp to find tiles for all, instead of prefetch. It remembers what it needs of the work
/// item where it takes no registers:
///
///     Engine::Search                 what is remembered of the search for tiles
///     engine.remember(search)
///     engine.post(mask, find, array_of)
///                                    finds the tile that comes after the next one, and perhaps more, by find(search,
///                                    mask, sequence, own, n, found), n the thread's: what the mask lets through, and
///                                    how many tiles threads have found; array_of(sequence, head) is where the one
///                                    array that score functions look up is
///     engine.next()                  goes on to that tile, if there is one
///     engine.sequence(), engine.tile(), engine.coverage()
///                                    what it is at
///     engine.noted(array)            what score functions are to look up, of one head
///     engine.finish()
///     Engine::differentiates_whole_tiles_apart
///                                    whether row.is_whole() and row.update_whole(f) are for tiles of which nothing is
///                                    masked
///
/// and one of whose threads some may have gradients, but no scores
///
///     engine.has_gradients_alone()   whether this one has; unless score functions are linear, the others have
///                                    gradients of 1, and hand over what these become
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
    if (engine.has_gradients_alone()) {
      if constexpr (Scores::template is_linear<T>)
        engine.for_each_row_of_gradients(tile,
                                         [&](auto const& row) { scores.multiply_gradients(row, sequence, tile.head); });
      return;
    }
  }
  engine.for_each_row(tile, [&](auto const& row) {
    bool const subtract_first = dropout.active() || scores.active();
    if (dropout.active())
      row.update([&](index_t i, index_t j, T&, T& gradient) {
        gradient = row.kept(i, j) ? dropout.factor() * gradient : T(0);
      });
    constexpr bool subtracted = requires { requires std::remove_cvref_t<decltype(row)>::gradients_are_less_delta; };
    auto const weigh          = [&](auto i, auto& score, auto& gradient) {
      score    = row.weight(i, score);
      gradient = score * gradient;
    };
    using Row = std::remove_cvref_t<decltype(row)>;
    if constexpr (subtracted && !std::is_same_v<Scores, ScoreChain<>> && Scores::template is_by_pairs<Row> &&
                  requires { requires Engine::differentiates_whole_tiles_apart; }) {
      if (tile_covers == Coverage::all && row.is_whole())
        return row.update_whole([&](auto i, auto j, T& score, T& gradient) {
          scores.template differentiate_pair<input>(score, gradient, sequence.batch, tile.head, i, j);
          weigh(i, score, gradient);
        });
    }
    if (subtract_first && !subtracted)
      row.update_lanes([&](auto i, auto, auto&, auto& gradient) { gradient -= row.delta(i); });
    scores.template differentiate<input>(row, sequence, tile.head);
    if (tile_covers == Coverage::some) apply_mask_backward(row, mask, tile);
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

/// Whether an engine keeps what it needs of a work item out of registers.
template <class Engine>
concept RemembersItem = requires {
  typename Engine::Search;
};

/// One tile, of which the mask lets some pairs through.
template <ScoreInput input, class Engine, class Scores, Mask M, class DropoutOfWeights>
KOKKOS_FUNCTION void backward_tile(Engine& engine, Scores const& scores, M const& mask, DropoutOfWeights const& dropout,
                                   Sequence const& sequence, Tile const& tile, Coverage tile_covers) {
  if (dropout.active()) engine.draw(tile, dropout);
  engine.multiply(tile);
  auto const differentiate = [&](M const& in_sequence, Sequence const& of, Tile const& at, Coverage covers) {
    differentiate_tile<input>(engine, noted_scores(engine, scores.of_head(of, at.head)),
                              in_sequence.of_head(of, at.head), dropout, of, at, covers);
  };
  if constexpr (RemembersItem<Engine>) {
    Sequence const remembered = engine.sequence();
    differentiate(mask.in_sequence(remembered), remembered, engine.tile(), engine.coverage());
  } else {
    differentiate(mask, sequence, tile, tile_covers);
  }
  engine.accumulate(tile);
}

/// Goes through the tiles that a search finds one after the other.
/// \param own of the work item
template <ScoreInput input, class Engine, class Scores, Mask M, class DropoutOfWeights, class Search>
KOKKOS_FUNCTION void visit_tiles(Engine& engine, Scores const& scores, M const& mask, DropoutOfWeights const& dropout,
                                 Sequence const& sequence, Tile const& own, int tile_size, Search search) {
  auto const find      = [&](Tile& found) { return search.find(mask, sequence, own, tile_size, found); };
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

/// The same with an engine that remembers its item.
/// \param mask_of_all of all sequences
template <ScoreInput input, class Engine, class Scores, Mask M, class DropoutOfWeights, class Search>
requires RemembersItem<Engine> KOKKOS_FUNCTION void visit_remembered_tiles(Engine& engine, Scores const& scores,
                                                                           M const& mask_of_all,
                                                                           DropoutOfWeights const& dropout,
                                                                           int tile_size, Search const& search) {
  auto const post = [&] {
    engine.post(
        mask_of_all,
        [&](Search& of, M const& mask, Sequence const& sequence, Tile const& own, int n, Tile& found) {
          if constexpr (ExactRangeMask<M>) {
            int const most = Engine::most_posted;
            int count      = 0;
            if (of.has_more(mask, sequence, own, tile_size))
              count = Kokkos::min(most, (of.walk.end - of.next + tile_size - 1) / tile_size);
            Coverage const covers = of.look_ahead(mask, sequence, own, tile_size, n, found);
            of.next += count * tile_size;
            return Kokkos::pair(covers, count);
          } else {
            Coverage const covers = of.find(mask, sequence, own, tile_size, found);
            return Kokkos::pair(covers, int(covers != Coverage::none));
          }
        },
        [&](Sequence const& of, int head) { return scores.array_of(of, head); });
  };
  engine.remember(search);
  post();
  for (bool more = engine.next(); more; more = engine.next()) {
    post();
    backward_tile<input>(engine, scores, mask_of_all, dropout, {}, {}, Coverage::all);
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
  visit_tiles<ScoreInput::product>(engine, scores, mask, dropout, sequence, tile, tile_keys,
                                   KeySearch<Position>(mask, sequence, tile, tile_keys));
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
  QuerySearch<Position> const search(mask, sequence, tile, heads, tile_queries);
  if constexpr (RemembersItem<Engine>) {
    visit_remembered_tiles<ScoreInput::product>(engine, scores, mask_of_all, dropout, tile_queries, search);
  } else {
    visit_tiles<ScoreInput::product>(engine, scores, mask, dropout, sequence, tile, tile_queries, search);
  }
  if constexpr (requires { engine.finish(); })
    engine.finish();
  else
    engine.finish(tile);
}

}  // namespace KokkosAttention::Impl

#endif
