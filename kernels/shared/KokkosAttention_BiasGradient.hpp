// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_BIASGRADIENT_HPP
#define KOKKOSATTENTION_BIASGRADIENT_HPP

#include <KokkosAttention_BackwardLoop.hpp>
#include <KokkosAttention_BiasGradientPlan.hpp>
#include <KokkosAttention_Workspace.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The gradient of the bias, the same in every engine. An engine owns, beside what BackwardLoop asks for,
///
///     engine.clear_sums()                         clears a tile of sums
///     engine.begin(sequence, tile)                loads the queries
///     engine.prefetch(sequence, tile)             what begins next; for engines that load ahead
///     engine.accumulate(tile)                     adds the gradients of scores to the sums
///     engine.for_each_sum(rows, columns, store)   store(row, column, sum)
///     engine.for_each_row_sum(side, rows, store)  store(row, sum along the other side)

namespace KokkosAttention::Impl {

/// The arrays of a backward call in its workspace.
template <class T>
struct BackwardArrays {
  Tensor<T> delta;    // (B, Hq, Lq): rowsum(dO O)
  Tensor<T> partial;  // of the bias gradient
  index_t part_stride = 0;

  /// Takes the arrays out of a workspace; from an empty one, only its size is counted.
  template <Scalar ScalarType>
  BackwardArrays(WorkspaceCarver& carver, BackwardArguments<ScalarType> const& a, BiasGradientPlan const& plan) {
    index_t const rows = index_t(a.batch) * a.q_heads * a.q_len;
    delta              = {carver.take<T>(rows), {a.q_heads * a.q_len, a.q_len, 1, 0}};
    part_stride        = plan.partial_elements();
    partial            = {carver.take<T>(plan.stores_partial_sums() ? plan.parts * part_stride : 0), {}};
    plan.set_partial_strides(partial.stride);
  }

  Tensor<T const> computed_delta() const { return delta.read_only(); }
};

/// Of which batch entry, head and tile of the other side a tile of scores is.
struct BiasVisit {
  int entry, head;
  index_t tile;
};

/// Counts visits in steps of several, the tiles first, without divisions.
class BiasVisits {
  BiasVisit m_end, m_step, m_next;

 public:
  KOKKOS_FORCEINLINE_FUNCTION BiasVisits(int entries, int heads, index_t tiles, int first, int step)
      : m_end{heads > 0 && tiles > 0 ? entries : 0, heads, tiles} {
    auto const place = [&](int n) -> BiasVisit {
      if (m_end.entry == 0) return {};
      index_t const matrix = n / tiles;
      return {static_cast<int>(matrix / heads), static_cast<int>(matrix % heads), n % tiles};
    };
    m_step = place(step);
    m_next = place(first);
  }

  KOKKOS_FORCEINLINE_FUNCTION bool more() const { return m_next.entry < m_end.entry; }
  /// Goes on to the next one; returns the one that was next.
  KOKKOS_FORCEINLINE_FUNCTION BiasVisit take() {
    BiasVisit const taken = m_next;
    m_next.tile += m_step.tile;
    m_next.head += m_step.head + carry(m_next.tile, m_end.tile);
    m_next.entry += m_step.entry + carry(m_next.head, m_end.head);
    return taken;
  }

 private:
  template <class Digit>
  KOKKOS_FORCEINLINE_FUNCTION static int carry(Digit& digit, Digit base) {
    if (digit < base) return 0;
    digit -= base;
    return 1;
  }
};

/// Work items are (gradient's batch entry and head, tile of the own side, split, part).
template <Scalar ScalarType, class Scores, Mask M>
struct BiasGradientLoop {
  using T = accumulation_t<ScalarType>;

  BackwardArguments<ScalarType> arguments;
  BiasGradientPlan plan;
  Tensor<T> partial;
  index_t part_stride;
  Scores scores;
  M mask;
  WeightDropout<T> dropout;

  KOKKOS_FORCEINLINE_FUNCTION index_t slots() const { return tile_slots(arguments, plan.own, plan.rows(plan.own)); }
  KOKKOS_FORCEINLINE_FUNCTION index_t items() const {
    return slots() * plan.entries * plan.heads * plan.splits * plan.parts;
  }

  template <class Engine>
  KOKKOS_FUNCTION void operator()(Engine& engine, index_t item) const {
    index_t rest     = item;
    auto const digit = [&rest](index_t base) {
      index_t const value = rest % base;
      rest /= base;
      return value;
    };
    int const part     = static_cast<int>(digit(plan.parts));
    int const split    = static_cast<int>(digit(plan.splits));
    index_t const slot = digit(slots());
    int const head     = static_cast<int>(digit(plan.heads));
    int const entry    = static_cast<int>(rest);

    using Position                             = typename PositionOf<Engine>::type;
    auto const [sequence, first_row, past_row] = rows_of_slot(arguments, plan.own, plan.rows(plan.own), entry, slot);
    if (first_row >= past_row) return;
    Position const begin = static_cast<Position>(first_row), end = static_cast<Position>(past_row);
    Side const other          = plan.own == Side::queries ? Side::keys : Side::queries;
    index_t const other_tiles = BiasGradientPlan::tiles(sequence.length(other), plan.rows(other));
    // Tiles of the other side are visited one after the other, or each has sums of its own.
    index_t const sums = plan.sum_other ? 1 : other_tiles, visited = plan.sum_other ? other_tiles : 1;
    for (index_t t = split; t < sums; t += plan.splits) {
      Tile tile = tile_of(sequence, head, begin, end);
      set_other<Position>(tile, sequence, t);
      sum_visits(engine, sequence, tile, part, t, visited);
      if (plan.sum_other)
        store_row_sums(engine, sequence, entry, head, begin, end, part);
      else
        store_tile(engine, sequence, entry, tile, part);
    }
  }

 private:
  template <class Position>
  KOKKOS_FORCEINLINE_FUNCTION Tile tile_of(Sequence const& sequence, int head, Position begin, Position end) const {
    return plan.own == Side::queries ? Tile{sequence.batch, head, begin, end, 0, 0}
                                     : Tile{sequence.batch, head, 0, 0, begin, end};
  }

  template <class Position>
  KOKKOS_FORCEINLINE_FUNCTION void set_other(Tile& tile, Sequence const& sequence, index_t t) const {
    Side const other     = plan.own == Side::queries ? Side::keys : Side::queries;
    Position const begin = static_cast<Position>(t * plan.rows(other));
    Position const end = static_cast<Position>(Kokkos::min(index_t(begin) + plan.rows(other), sequence.length(other)));
    (other == Side::keys ? tile.key_begin : tile.query_begin) = begin;
    (other == Side::keys ? tile.key_end : tile.query_end)     = end;
  }

  /// Sums over what the bias broadcasts along, some tiles of the other side among it.
  template <class Engine>
  KOKKOS_FUNCTION void sum_visits(Engine& engine, Sequence const& own, Tile const& own_tile, int part,
                                  index_t first_other, index_t other_tiles) const {
    using Position = typename PositionOf<Engine>::type;
    engine.clear_sums();
    BiasVisits visits(plan.sum_batch ? arguments.batch : 1, plan.sum_heads ? arguments.q_heads : 1, other_tiles, part,
                      plan.parts);
    auto const sequence_of = [&](BiasVisit const& visit) {
      return plan.sum_batch ? arguments.batch_entry(visit.entry) : own;
    };
    auto const tile_of_visit = [&](BiasVisit const& visit, Sequence const& sequence) {
      Tile tile  = own_tile;
      tile.batch = sequence.batch;
      if (plan.sum_heads) tile.head = visit.head;
      set_other<Position>(tile, sequence, first_other + visit.tile);
      return tile;
    };
    auto const find_next = [&](BiasVisit& found) {
      while (visits.more()) {
        found                   = visits.take();
        Sequence const sequence = sequence_of(found);
        Coverage const covers   = Impl::coverage(mask.in_sequence(sequence), tile_of_visit(found, sequence));
        if (covers != Coverage::none) return covers;
      }
      return Coverage::none;
    };
    BiasVisit next{};
    Coverage next_covers = find_next(next);
    while (next_covers != Coverage::none) {
      Sequence const sequence = sequence_of(next);
      Tile const tile         = tile_of_visit(next, sequence);
      Coverage const covers   = next_covers;
      engine.begin(sequence, tile);
      next_covers = find_next(next);
      if constexpr (requires { engine.prefetch(sequence, tile); }) {
        if (next_covers != Coverage::none) {
          Sequence const next_sequence = sequence_of(next);
          engine.prefetch(next_sequence, tile_of_visit(next, next_sequence));
        }
      }
      backward_tile<ScoreInput::bias>(engine, scores, mask.in_sequence(sequence), dropout, sequence, tile, covers);
    }
  }

  template <class Engine>
  KOKKOS_FUNCTION void store_tile(Engine const& engine, Sequence const& sequence, int entry, Tile const& tile,
                                  int part) const {
    int const row_count    = static_cast<int>(tile.query_end - tile.query_begin);
    int const column_count = static_cast<int>(tile.key_end - tile.key_begin);
    index_t const i = sequence.q_begin + tile.query_begin, j = sequence.k_begin + tile.key_begin;
    engine.for_each_sum(row_count, column_count, [&](int r, int c, T sum) {
      if (plan.stores_partial_sums())
        (&partial(entry, tile.head, i + r, j + c))[part * part_stride] = sum;
      else
        arguments.dbias(entry, tile.head, i + r, j + c) = static_cast<ScalarType>(sum);
    });
  }

  template <class Engine>
  KOKKOS_FUNCTION void store_row_sums(Engine const& engine, Sequence const& sequence, int entry, int head,
                                      index_t begin, index_t end, int part) const {
    index_t const first = begin + (plan.own == Side::queries ? sequence.q_begin : sequence.k_begin);
    engine.for_each_row_sum(plan.own, static_cast<int>(end - begin), [&](int n, T sum) {
      // The partial sums have no stride along the side that is summed over.
      (&partial(entry, head, first + n, first + n))[part * part_stride] = sum;
    });
  }
};

/// Adds up the parts of a bias gradient; where the bias broadcasts along both sides, also the keys' sums.
template <Scalar ScalarType>
struct AddPartsKernel {
  using T = accumulation_t<ScalarType>;

  Tensor<T> partial;
  index_t part_stride;
  int parts;
  index_t keys;  // to add up; 1: none
  Tensor<ScalarType> dbias;
  index_t extent[4];

  KOKKOS_FUNCTION void operator()(index_t e) const {
    index_t const j = e % extent[3], i = e / extent[3] % extent[2];
    index_t const h = e / extent[3] / extent[2] % extent[1], b = e / extent[3] / extent[2] / extent[1];
    T sum = 0;
    for (int part = 0; part < parts; ++part)
      for (index_t key = 0; key < keys; ++key) sum += (&partial(b, h, i, j + key))[part * part_stride];
    dbias(b, h, i, j) = static_cast<ScalarType>(sum);
  }
};

template <Scalar ScalarType>
struct ClearKernel {
  Tensor<ScalarType> tensor;
  index_t extent[4];

  KOKKOS_FUNCTION void operator()(index_t e) const {
    tensor(e / extent[3] / extent[2] / extent[1], e / extent[3] / extent[2] % extent[1], e / extent[3] % extent[2],
           e % extent[3]) = static_cast<ScalarType>(0.f);
  }
};

template <class ExecutionSpace, Scalar ScalarType>
void for_each_bias_gradient(ExecutionSpace const& space, char const* label,
                            BackwardArguments<ScalarType> const& arguments, auto const& kernel) {
  using Range   = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<index_t>>;
  auto const& e = arguments.dbias_extent;
  Kokkos::parallel_for(label, Range(space, 0, e[0] * e[1] * e[2] * e[3]), kernel);
}

/// Comes before the loop: packed sequences leave out what lies between them.
template <class ExecutionSpace, Scalar ScalarType>
void clear_bias_gradient(ExecutionSpace const& space, BackwardArguments<ScalarType> const& arguments,
                         BiasGradientPlan const& plan) {
  if (!arguments.packed() || plan.stores_partial_sums()) return;
  auto const& e = arguments.dbias_extent;
  for_each_bias_gradient(space, "KokkosAttention::backward, clear dbias", arguments,
                         ClearKernel<ScalarType>{arguments.dbias, {e[0], e[1], e[2], e[3]}});
}

/// Comes after the loop.
template <class ExecutionSpace, Scalar ScalarType>
void add_bias_gradient_parts(ExecutionSpace const& space, BackwardArguments<ScalarType> const& arguments,
                             BiasGradientPlan const& plan, Tensor<accumulation_t<ScalarType>> const& partial,
                             index_t part_stride) {
  if (!plan.stores_partial_sums()) return;
  auto const& e = arguments.dbias_extent;
  for_each_bias_gradient(space, "KokkosAttention::backward, add dbias parts", arguments,
                         AddPartsKernel<ScalarType>{partial,
                                                    part_stride,
                                                    plan.parts,
                                                    plan.sum_own ? arguments.k_len : 1,
                                                    arguments.dbias,
                                                    {e[0], e[1], e[2], e[3]}});
}

}  // namespace KokkosAttention::Impl

#endif
