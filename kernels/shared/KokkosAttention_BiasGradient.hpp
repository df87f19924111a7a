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

  Tensor<T const> computed_delta() const { return {delta.data, {delta.stride[0], delta.stride[1], 1, 0}}; }
};

/// Counts (batch entry, head, tile of the other side) in steps of several, the tiles first, without divisions.
class BiasVisits {
  struct Place {
    index_t entry, head, tile;
  };

  index_t m_entries, m_heads, m_tiles;
  Place m_step, m_place;

 public:
  KOKKOS_FORCEINLINE_FUNCTION BiasVisits(index_t entries, index_t heads, index_t tiles, index_t first, index_t step)
      : m_entries(heads > 0 && tiles > 0 ? entries : 0), m_heads(heads), m_tiles(tiles) {
    if (m_entries == 0) tiles = heads = 1;
    auto const place = [&](index_t n) { return Place{n / tiles / heads, n / tiles % heads, n % tiles}; };
    m_step           = place(step);
    m_place          = place(first);
  }

  KOKKOS_FORCEINLINE_FUNCTION bool more() const { return m_place.entry < m_entries; }
  KOKKOS_FORCEINLINE_FUNCTION void step() {
    m_place.tile += m_step.tile;
    m_place.head += m_step.head + carry(m_place.tile, m_tiles);
    m_place.entry += m_step.entry + carry(m_place.head, m_heads);
  }
  KOKKOS_FORCEINLINE_FUNCTION int entry() const { return static_cast<int>(m_place.entry); }
  KOKKOS_FORCEINLINE_FUNCTION int head() const { return static_cast<int>(m_place.head); }
  KOKKOS_FORCEINLINE_FUNCTION index_t tile() const { return m_place.tile; }

 private:
  KOKKOS_FORCEINLINE_FUNCTION static index_t carry(index_t& digit, index_t base) {
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

    auto const [sequence, begin, end] = rows_of_slot(arguments, plan.own, plan.rows(plan.own), entry, slot);
    if (begin >= end) return;
    Side const other          = plan.own == Side::queries ? Side::keys : Side::queries;
    index_t const other_tiles = BiasGradientPlan::tiles(sequence.length(other), plan.rows(other));
    if (plan.sum_other) {
      sum_visits(engine, sequence, tile_of(sequence, head, begin, end), part, 0, other_tiles);
      store_row_sums(engine, sequence, entry, head, begin, end, part);
    } else {
      for (index_t t = split; t < other_tiles; t += plan.splits) {
        Tile tile = tile_of(sequence, head, begin, end);
        set_other(tile, sequence, t);
        sum_visits(engine, sequence, tile, part, t, t + 1);
        store_tile(engine, sequence, entry, tile, part);
      }
    }
  }

 private:
  KOKKOS_FORCEINLINE_FUNCTION Tile tile_of(Sequence const& sequence, int head, index_t begin, index_t end) const {
    return plan.own == Side::queries ? Tile{sequence.batch, head, begin, end, 0, 0}
                                     : Tile{sequence.batch, head, 0, 0, begin, end};
  }

  KOKKOS_FORCEINLINE_FUNCTION void set_other(Tile& tile, Sequence const& sequence, index_t t) const {
    if (plan.own == Side::queries) {
      tile.key_begin = t * plan.rows(Side::keys);
      tile.key_end   = Kokkos::min(tile.key_begin + plan.rows(Side::keys), sequence.k_len);
    } else {
      tile.query_begin = t * plan.rows(Side::queries);
      tile.query_end   = Kokkos::min(tile.query_begin + plan.rows(Side::queries), sequence.q_len);
    }
  }

  /// A tile of a sequence, and what the mask lets through of it.
  struct Visit {
    Sequence sequence;
    Tile tile;
    Coverage covers;
  };

  /// Sums over what the bias broadcasts along, tiles [first_other, last_other) of the other side among it.
  template <class Engine>
  KOKKOS_FUNCTION void sum_visits(Engine& engine, Sequence const& own, Tile const& tile, int part, index_t first_other,
                                  index_t last_other) const {
    engine.clear_sums();
    BiasVisits visits(plan.sum_batch ? arguments.batch : 1, plan.sum_heads ? arguments.q_heads : 1,
                      last_other - first_other, part, plan.parts);
    auto const find_next = [&](Visit& found) {
      for (found.covers = Coverage::none; found.covers == Coverage::none && visits.more(); visits.step()) {
        if (plan.sum_batch) found.sequence = arguments.batch_entry(visits.entry());
        found.tile.batch = found.sequence.batch;
        if (plan.sum_heads) found.tile.head = visits.head();
        set_other(found.tile, found.sequence, first_other + visits.tile());
        found.covers = Impl::coverage(mask.in_sequence(found.sequence), found.tile);
      }
    };
    Visit next{own, tile, Coverage::none};
    find_next(next);
    while (next.covers != Coverage::none) {
      Visit const visit = next;
      engine.begin(visit.sequence, visit.tile);
      find_next(next);
      if constexpr (requires { engine.prefetch(next.sequence, next.tile); }) {
        if (next.covers != Coverage::none) engine.prefetch(next.sequence, next.tile);
      }
      backward_tile<ScoreInput::bias>(engine, scores, mask.in_sequence(visit.sequence), dropout, visit.sequence,
                                      visit.tile, visit.covers);
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
