// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_PORTABLEBIASGRADIENT_HPP
#define KOKKOSATTENTION_PORTABLEBIASGRADIENT_HPP

#include <KokkosAttention_PortableBiasPlan.hpp>
#include <KokkosAttention_Launch.hpp>
#include <KokkosAttention_PortableBackwardEngine.hpp>

#include <KokkosAttention_Loops.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The portable engine's gradient of the bias.

namespace KokkosAttention::Impl::inline KOKKOSATTENTION_VECTORS {

/// Sums gradients of scores over the visits of a team, in a tile of queries by keys.
template <Scalar ScalarType, class Member>
class PortableBiasEngine : public PortableBackwardEngine<ScalarType, Member, GradientOf::bias> {
  using Base = PortableBackwardEngine<ScalarType, Member, GradientOf::bias>;
  using T    = typename Base::T;

 public:
  using Base::Base;

  KOKKOS_FUNCTION void clear_sums() const {
    this->m_member.team_barrier();  // some threads may still be storing the last ones
    this->clear(this->m_first_sum, this->m_tile.first_sum_stride);
  }

  KOKKOS_FUNCTION void begin(Sequence const& sequence, Tile const& tile) {
    this->m_sequence = sequence;
    this->load_own(tile);
    this->load_statistics(tile);
    this->m_member.team_barrier();
  }

  KOKKOS_FUNCTION void accumulate(Tile const& tile) const {
    Kokkos::parallel_for(Kokkos::TeamThreadRange(this->m_member, this->count(Side::queries, tile)), [&](int r) {
      Kokkos::parallel_for(Kokkos::ThreadVectorRange(this->m_member, this->count(Side::keys, tile)),
                           [&](int c) { *sum(r, c) += this->m_gradient[r * this->m_tile.transposed_stride + c]; });
    });
    this->m_member.team_barrier();
  }

  /// store(row, column, sum) for the tile's elements.
  template <class Store>
  KOKKOS_FUNCTION void for_each_sum(int rows, int columns, Store const& store) const {
    this->m_member.team_barrier();
    Kokkos::parallel_for(Kokkos::TeamThreadRange(this->m_member, rows), [&](int r) {
      Kokkos::parallel_for(Kokkos::ThreadVectorRange(this->m_member, columns), [&](int c) { store(r, c, *sum(r, c)); });
    });
  }

  /// store(n, sum along the other side) for the rows of one side.
  template <class Store>
  KOKKOS_FUNCTION void for_each_row_sum(Side side, int rows, Store const& store) const {
    this->m_member.team_barrier();
    int const others = side == Side::queries ? this->m_tile.columns : this->m_tile.rows;
    Kokkos::parallel_for(Kokkos::TeamVectorRange(this->m_member, rows), [&](int n) {
      T total = 0;
      for (int other = 0; other < others; ++other) total += side == Side::queries ? *sum(n, other) : *sum(other, n);
      store(n, total);
    });
  }

 private:
  KOKKOS_FUNCTION T* sum(int r, int c) const { return this->m_first_sum + r * this->m_tile.first_sum_stride + c; }
};

/// league = (gradient's batch entry and head, tile of the own side, split, part)
template <class ExecutionSpace, Scalar ScalarType, class Scores, Mask M>
struct PortableBiasKernel {
  using T = accumulation_t<ScalarType>;
  using Policy =
      Kokkos::TeamPolicy<ExecutionSpace, Kokkos::Schedule<Kokkos::Dynamic>, Kokkos::LaunchBounds<most_team_threads, 1>>;
  using Member = typename Policy::member_type;
  using Engine = PortableBiasEngine<ScalarType, Member>;

  PortableBackwardData<ScalarType> data;
  BiasGradientPlan plan;
  Tensor<T> partial;
  index_t part_stride;
  bool store_partial;
  Scores scores;
  M mask;
  WeightDropout<T> dropout;

  KOKKOS_FUNCTION int rows(Side side) const { return BiasGradientPlan::rows(side, data.tile); }
  KOKKOS_FUNCTION index_t slots() const { return tile_slots(data.arguments, plan.own, rows(plan.own)); }
  KOKKOS_FUNCTION index_t items() const { return slots() * plan.entries * plan.heads * plan.splits * plan.parts; }

  KOKKOS_FUNCTION void operator()(Member const& member) const {
    Engine engine(member, data);
    for (index_t item = member.league_rank(); item < items(); item += member.league_size()) {
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

      auto const [sequence, begin, end] = rows_of_slot(data.arguments, plan.own, rows(plan.own), entry, slot);
      if (begin >= end) continue;
      Side const other          = plan.own == Side::queries ? Side::keys : Side::queries;
      index_t const other_tiles = BiasGradientPlan::tiles(sequence.length(other), rows(other));
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
  }

 private:
  KOKKOS_FUNCTION Tile tile_of(Sequence const& sequence, int head, index_t begin, index_t end) const {
    return plan.own == Side::queries ? Tile{sequence.batch, head, begin, end, 0, 0}
                                     : Tile{sequence.batch, head, 0, 0, begin, end};
  }

  KOKKOS_FUNCTION void set_other(Tile& tile, Sequence const& sequence, index_t t) const {
    if (plan.own == Side::queries) {
      tile.key_begin = t * rows(Side::keys);
      tile.key_end   = Kokkos::min(tile.key_begin + rows(Side::keys), sequence.k_len);
    } else {
      tile.query_begin = t * rows(Side::queries);
      tile.query_end   = Kokkos::min(tile.query_begin + rows(Side::queries), sequence.q_len);
    }
  }

  /// Sums over what the bias broadcasts along, tiles [first_other, last_other) of the other side among it.
  KOKKOS_FUNCTION void sum_visits(Engine& engine, Sequence const& own, Tile tile, int part, index_t first_other,
                                  index_t last_other) const {
    engine.clear_sums();
    index_t const tiles  = last_other - first_other;
    int const heads      = plan.sum_heads ? data.arguments.q_heads : 1;
    index_t const visits = index_t(plan.sum_batch ? data.arguments.batch : 1) * heads * tiles;
    for (index_t visit = part; visit < visits; visit += plan.parts) {
      Sequence const sequence =
          plan.sum_batch ? data.arguments.batch_entry(static_cast<int>(visit / tiles / heads)) : own;
      tile.batch = sequence.batch;
      if (plan.sum_heads) tile.head = static_cast<int>(visit / tiles % heads);
      set_other(tile, sequence, first_other + visit % tiles);
      auto const sequence_mask   = mask.in_sequence(sequence);
      Coverage const tile_covers = Impl::coverage(sequence_mask, tile);
      if (tile_covers == Coverage::none) continue;
      engine.begin(sequence, tile);
      backward_tile<ScoreInput::bias>(engine, scores, sequence_mask, dropout, sequence, tile, tile_covers);
    }
  }

  KOKKOS_FUNCTION void store_tile(Engine const& engine, Sequence const& sequence, int entry, Tile const& tile,
                                  int part) const {
    int const row_count    = static_cast<int>(tile.query_end - tile.query_begin);
    int const column_count = static_cast<int>(tile.key_end - tile.key_begin);
    index_t const i = sequence.q_begin + tile.query_begin, j = sequence.k_begin + tile.key_begin;
    engine.for_each_sum(row_count, column_count, [&](int r, int c, T sum) {
      if (store_partial)
        (&partial(entry, tile.head, i + r, j + c))[part * part_stride] = sum;
      else
        data.arguments.dbias(entry, tile.head, i + r, j + c) = static_cast<ScalarType>(sum);
    });
  }

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

template <class ExecutionSpace, Scalar ScalarType, class Scores, Mask M>
void portable_bias_gradient(ExecutionSpace const& space, PortableBackwardData<ScalarType> const& data,
                            BiasGradientPlan const& plan, Tensor<accumulation_t<ScalarType>> const& partial,
                            index_t part_stride, Scores const& scores, M const& mask,
                            WeightDropout<accumulation_t<ScalarType>> const& dropout, int most_teams) {
  using Range   = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<index_t>>;
  auto const& e = data.arguments.dbias_extent;
  Range const elements(space, 0, e[0] * e[1] * e[2] * e[3]);
  bool const store_partial = plan.stores_partial_sums();
  // Packed sequences leave out what lies between them.
  if (data.arguments.packed() && !store_partial)
    Kokkos::parallel_for("KokkosAttention::backward, clear dbias (portable)", elements,
                         ClearKernel<ScalarType>{data.arguments.dbias, {e[0], e[1], e[2], e[3]}});

  using Kernel = PortableBiasKernel<ExecutionSpace, ScalarType, Scores, M>;
  Kernel const kernel{data, plan, partial, part_stride, store_partial, scores, mask, dropout};
  if (kernel.items() > 0) {
    auto policy = typename Kernel::Policy(space, static_cast<int>(Kokkos::min(kernel.items(), index_t(most_teams))),
                                          data.tile.team_size, data.tile.vector_length);
    policy.set_scratch_size(data.tile.scratch_level, Kokkos::PerTeam(data.tile.scratch_bytes + 64));
    Kokkos::parallel_for("KokkosAttention::backward, dbias (portable)", as_kernel_argument(policy), kernel);
  }
  if (store_partial)
    Kokkos::parallel_for("KokkosAttention::backward, add dbias parts (portable)", elements,
                         AddPartsKernel<ScalarType>{partial,
                                                    part_stride,
                                                    plan.parts,
                                                    plan.sum_own ? data.arguments.k_len : 1,
                                                    data.arguments.dbias,
                                                    {e[0], e[1], e[2], e[3]}});
}

}  // namespace KokkosAttention::Impl::inline KOKKOSATTENTION_VECTORS

#endif
