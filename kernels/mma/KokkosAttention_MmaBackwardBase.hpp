// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMABACKWARDBASE_HPP
#define KOKKOSATTENTION_MMABACKWARDBASE_HPP

#include <KokkosAttention_BackwardRows.hpp>
#include <KokkosAttention_MmaArithmetic.hpp>
#include <KokkosAttention_MmaBackwardTiles.hpp>
#include <KokkosAttention_MmaCopy.hpp>
#include <KokkosAttention_MmaDropout.hpp>
#include <KokkosAttention_MmaGradientRows.hpp>
#include <KokkosAttention_MmaProduct.hpp>
#include <KokkosAttention_MmaQueryTurns.hpp>
#include <KokkosAttention_MmaStatistics.hpp>
#include <KokkosAttention_MmaStore.hpp>
#include <KokkosAttention_WeightDropout.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// What the mma engine's backward kernels have in common: how rows come to a team's scratch, the scores and gradients
/// in a warp's registers, and how sums are stored.

namespace KokkosAttention::Impl {

template <Scalar ScalarType>
struct MmaBackwardData {
  BackwardArguments<ScalarType> arguments;
  Tensor<accumulation_t<ScalarType> const> delta;  // (B, Hq, Lq), like the LSE as MmaStatistics says
  MmaBackwardTile tile;
  MmaTurnArrays<ScalarType> turns = {};
};

/// \tparam in_packs all rows can be copied 16 bytes at a time
/// \tparam drops there may be dropout
/// \tparam scale_is_power see MmaEngine
template <Scalar ScalarType, class Member, int shape_number, bool in_packs, bool drops, bool scale_is_power = false>
class MmaBackwardBase : protected BackwardRows<ScalarType> {
  using Base = BackwardRows<ScalarType>;
  using Base::begin_of, Base::head;

 protected:
  using Base::array_row, Base::begin_rows, Base::count, Base::first, Base::m_arguments, Base::m_sequence, Base::second;

  static constexpr MmaBackwardShape shape = mma_backward_shapes<ScalarType>[shape_number];

  using Arithmetic = MmaArithmetic<ScalarType>;
  using T          = accumulation_t<ScalarType>;
  using Sum        = typename Arithmetic::Sum;
  using Rows       = typename Base::Rows;

  static constexpr Side own          = shape.own;
  static constexpr Side other        = own == Side::queries ? Side::keys : Side::queries;
  static constexpr int row_blocks    = shape.row_blocks;
  static constexpr int column_blocks = shape.warp_columns() / 8;
  static constexpr int own_rows      = shape.own_rows();
  static constexpr int own_stride    = Arithmetic::own_stride(shape.head_columns);
  static constexpr int stride        = Arithmetic::stride(shape.head_columns);
  static constexpr bool splits       = Arithmetic::splits;
  static constexpr MmaBackwardLayout<ScalarType> layout{shape};

  /// dO V^T - delta is one product's sum, unless the product is scaled afterwards, as of what dropout keeps. (In
  /// float64 pairs of warps would have to load deltas in time.)
  static constexpr bool subtracts_delta = in_packs && !drops && prepares_statistics<ScalarType>;

  using TileRows   = MmaGradientRows<Arithmetic, T, own, row_blocks, column_blocks, subtracts_delta>;
  using Statistics = typename TileRows::Statistics;

 private:
  typename Arithmetic::Exponential m_exponential;
  ScalarType* m_scratch;
  bool m_ahead    = false;  // the next tile's copies have begun
  bool m_has_next = false;
  bool m_begins   = false;  // the own rows are still to be split or scaled
  Tile m_next     = {};

  // Rows of the other side from the sequence's beginning on, for a query head.
  int m_rows_head = -1;
  Rows m_first_rows, m_second_rows;
  T const* m_lse_rows   = nullptr;
  T const* m_delta_rows = nullptr;

  T m_factor = 1;  // of the scores, still to be applied
  Statistics m_statistics;
  unsigned m_kept[2 * row_blocks];

 protected:
  Member const& m_member;
  Tensor<T const> const& m_deltas;
  MmaLane m_lane;
  int m_stage = 0;  // that is in use
  int m_row;        // of the team's tile: the lane's first
  int m_column;     // likewise, the warp's

  Sum m_scores[row_blocks][column_blocks], m_gradients[row_blocks][column_blocks];

  /// \param row, column of the team's tile, from which the warp has its scores and gradients
  KOKKOS_FORCEINLINE_FUNCTION MmaBackwardBase(Member const& member, BackwardArguments<ScalarType> const& arguments,
                                              Tensor<T const> const& deltas, std::size_t scratch_bytes, MmaLane lane,
                                              int row, int column)
      : Base(arguments),
        m_exponential(lane),
        m_scratch(as_shared(
            static_cast<ScalarType*>(member.team_scratch(0).get_shmem_aligned(scratch_bytes, mma_scratch_alignment)))),
        m_first_rows(arguments.q, 0, 0, 0, 0, 0),
        m_second_rows(arguments.q, 0, 0, 0, 0, 0),
        m_member(member),
        m_deltas(deltas),
        m_lane(lane),
        m_row(row + lane.quad),
        m_column(column) {}

 public:
  using Position = int;

  /// The tile that comes after the one that is multiplied next.
  KOKKOS_FORCEINLINE_FUNCTION void prefetch(Tile const& tile) {
    m_next     = tile;
    m_has_next = true;
  }

  KOKKOS_FORCEINLINE_FUNCTION void draw(Tile const& tile, WeightDropout<T> const& dropout) {
    draw_kept<own, row_blocks, column_blocks>(dropout, tile.batch, tile.head, place(tile), m_lane, m_kept);
  }

  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void for_each_row(Tile const& tile, F const& f) {
    f(TileRows(m_scores, m_gradients, m_factor, m_statistics, m_kept, m_exponential, place(tile)));
  }
  /// The same of a warp that has gradients alone, in the place of scores.
  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void for_each_row_of_gradients(Tile const& tile, F const& f) {
    T none = 1;
    f(TileRows(m_gradients, m_scores, none, m_statistics, m_kept, m_exponential, place(tile)));
  }

 protected:
  /// for_each_row of a block of 16 own rows, as if the warp had no others.
  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void for_each_row_of_block(int block, Tile const& tile, F const& f) {
    static_assert(own == Side::keys);  // all blocks have the same queries' statistics
    using Block = Sum[1][column_blocks];
    using Kept  = unsigned[2];
    T factor    = m_factor;
    MmaPlace at = place(tile);
    at.row += 16 * block;
    at.rows -= 16 * block;
    f(MmaGradientRows<Arithmetic, T, own, 1, column_blocks, subtracts_delta>(
        reinterpret_cast<Block&>(m_scores[block]), reinterpret_cast<Block&>(m_gradients[block]), factor, m_statistics,
        reinterpret_cast<Kept const&>(m_kept[2 * block]), m_exponential, at));
  }

  /// Begins to copy the own rows.
  KOKKOS_FORCEINLINE_FUNCTION void begin_own(Sequence const& sequence, Tile const& tile) {
    begin_rows(sequence, tile);
    wait_for_copies();
    m_member.team_barrier();  // some threads may still be at work on the team's last tile
    copy_own(tile);
    if constexpr (own == Side::queries) set_statistics(own_statistics(tile));
    m_ahead = m_has_next = false;
    m_rows_head          = -1;
    m_begins             = true;
  }

  KOKKOS_FORCEINLINE_FUNCTION void copy_own(Tile const& tile) const {
    auto const copy = [&](Rows const& rows, ScalarType* to) {
      copy_own_rows_ahead<Arithmetic, in_packs, own_rows, shape.head_columns, shape.warps>(m_member, rows, to);
    };
    copy(first(own, tile), own_first());
    if constexpr (shape.own_arrays() == 2) copy(second(own, tile), own_second());
  }

  /// Of the own queries, as they are in memory.
  KOKKOS_FORCEINLINE_FUNCTION Statistics own_statistics(Tile const& tile) const {
    Statistics result;
    KOKKOSATTENTION_UNROLL
    for (int h = 0; h < 2 * row_blocks; ++h) {
      index_t const i = tile.query_begin + m_row + 8 * h, row = m_sequence.q_begin + i;
      bool const real = i < tile.query_end;
      result.lse[h]   = real ? m_arguments.lse(m_sequence.entry, tile.head, row, 0) : T(0);
      result.delta[h] = real ? m_deltas(m_sequence.entry, tile.head, row, 0) : T(0);
    }
    return result;
  }
  KOKKOS_FORCEINLINE_FUNCTION void set_statistics(Statistics const& of_queries) {
    m_statistics = of_queries;
    KOKKOSATTENTION_UNROLL
    for (int h = 0; h < 2 * row_blocks; ++h) m_statistics.lse[h] = exponents_lse(of_queries.lse[h]);
  }

  /// Waits for a tile's rows. All threads see them after a team barrier, which comes next.
  KOKKOS_FORCEINLINE_FUNCTION void await_other(Tile const& tile) {
    if constexpr (shape.stages == 1)
      m_member.team_barrier();  // the last tile is in its place until all have done with it
    else
      m_stage = shape.stages - 1 - m_stage;
    if (!m_ahead) copy_other(tile);
    wait_for_copies();
    if (m_begins) prepare_own(tile);
    m_begins = false;
    split_other(first(other, tile), second(other, tile));
  }
  /// After that barrier: begins to copy the next tile's rows, if there is place.
  KOKKOS_FORCEINLINE_FUNCTION void copy_next() {
    if constexpr (own == Side::keys && shape.stages == 1) load_statistics();  // their place is the next tile's soon
    m_ahead = false;
    if constexpr (shape.stages == 2) {
      if (m_has_next) {
        m_stage = shape.stages - 1 - m_stage;
        copy_other(m_next);
        m_stage = shape.stages - 1 - m_stage;
        m_ahead = true;
      }
    }
    m_has_next = false;
  }

  /// Own rows that have just arrived: splits them, or scales those that scores are computed from.
  KOKKOS_FORCEINLINE_FUNCTION void prepare_own(Tile const& tile) const {
    if constexpr (Arithmetic::scales_own_rows)
      scale_own_rows<Arithmetic, own_rows, shape.head_columns, shape.warps>(
          m_member, own_first(), power_of_scale<scale_is_power>(m_arguments.scale));
    split<own_rows>(first(own, tile), own_first());
    if constexpr (shape.own_arrays() == 2) split<own_rows>(second(own, tile), own_second());
  }
  /// Rows of the other side that have arrived.
  KOKKOS_FORCEINLINE_FUNCTION void split_other(Rows const& q_or_k, Rows const& do_or_v) const {
    split<shape.columns>(q_or_k, other_first());
    split<shape.columns>(do_or_v, other_second());
  }

  /// Begins to copy a tile of the other side to the stage that is in use.
  /// \param lse, delta which of them are those of its queries, from begin on, if it has queries
  KOKKOS_FORCEINLINE_FUNCTION void copy_other(Rows const& q_or_k, Rows const& do_or_v, T const* lse, T const* delta,
                                              Position begin) const {
    // Where all warps meet but once a step, half of them copy while the others begin to multiply.
    constexpr int copying = layout.adds_late ? shape.warps / 2 : shape.warps;
    MmaCopyingWarps<copying> const warps{m_member.team_rank() - (shape.warps - copying)};
    if (copying < shape.warps && warps.team_rank() < 0) return;
    // Where numbers are split and all is summed, registers are too few for places that are computed before the loop.
    int const lane = splits && shape.turns ? hidden(m_lane.number()) : m_lane.number();
    copy_rows_ahead<shape.columns, shape.head_columns, stride, copying>(warps, q_or_k, other_first(),
                                                                        in_packs || copies_in_packs(q_or_k), lane);
    copy_rows_ahead<shape.columns, shape.head_columns, stride, copying>(warps, do_or_v, other_second(),
                                                                        in_packs || copies_in_packs(do_or_v), lane);
    if constexpr (own == Side::keys) {
      KOKKOSATTENTION_UNROLL
      for (int first = 0; first < shape.columns; first += 32) {
        int const n       = first + m_lane.number();
        bool const inside = n < q_or_k.rows;
        if (warps.team_rank() == 0 && n < shape.columns) {
          index_t const i = begin + (inside ? n : 0);
          copy_ahead<sizeof(T)>(statistics(n, false), lse + i * m_arguments.lse.stride[2], inside);
          copy_ahead<sizeof(T)>(statistics(n, true), delta + i * m_deltas.stride[2], inside);
        }
      }
    }
  }

  /// What products have left to be done to scores.
  KOKKOS_FORCEINLINE_FUNCTION void complete_scores(Tile const& tile) {
    if constexpr (own == Side::keys && shape.stages == 2) load_statistics();
    if constexpr (puts_factor_off<typename Arithmetic::Exponential>) {
      m_factor = m_arguments.scale;
      if (!(m_factor > 0)) apply_factor(m_scores, m_factor);
    } else if constexpr (Arithmetic::scales_own_rows && !scale_is_power) {
      T rest = FactorParts(m_arguments.scale).rest;
      apply_factor(m_scores, rest);
    }
    // Keys beyond the end have no weight, if dQ is summed. Queries beyond the end have one, but a dO of 0.
    constexpr T infinity = Kokkos::Experimental::infinity_v<T>;
    if constexpr (own == Side::queries) {
      int const columns = place(tile).columns;
      if (count(other, tile) < shape.columns)
        for_each_element<row_blocks, column_blocks>([&](int b, int n, int h, int e) {
          if (8 * n + e >= columns) m_scores[b][n].value[2 * h + e] = -infinity;
        });
    } else if constexpr (shape.turns) {
      int const rows = place(tile).rows;
      if (count(own, tile) < own_rows)
        for_each_element<row_blocks, column_blocks>([&](int b, int n, int h, int e) {
          if (16 * b + 8 * h >= rows) m_scores[b][n].value[2 * h + e] = -infinity;
        });
    }
  }

  KOKKOS_FORCEINLINE_FUNCTION ScalarType* own_first() const {
    return in_scratch<ScalarType>(m_stage * layout.own_stage_bytes);
  }
  KOKKOS_FORCEINLINE_FUNCTION ScalarType* own_second() const {
    return in_scratch<ScalarType>(layout.own_second + m_stage * layout.own_stage_bytes);
  }
  KOKKOS_FORCEINLINE_FUNCTION ScalarType* other_first() const {
    return in_scratch<ScalarType>(layout.stages + m_stage * layout.stage_bytes);
  }
  KOKKOS_FORCEINLINE_FUNCTION ScalarType* other_second() const {
    return in_scratch<ScalarType>(layout.stages + m_stage * layout.stage_bytes + layout.other_second);
  }
  template <class Element>
  KOKKOS_FORCEINLINE_FUNCTION Element* in_scratch(int bytes) const {
    return reinterpret_cast<Element*>(reinterpret_cast<std::byte*>(m_scratch) + bytes);
  }

  /// Where a warp has its own 16 row_blocks rows of a team's.
  KOKKOS_FORCEINLINE_FUNCTION ScalarType* warps_rows(ScalarType* rows) const {
    return rows + (m_row - m_lane.quad) * own_stride;
  }

  /// What the sum of a block of gradients begins with.
  KOKKOS_FORCEINLINE_FUNCTION Sum first_gradients([[maybe_unused]] int row_block,
                                                  [[maybe_unused]] int column_block) const {
    if constexpr (!subtracts_delta) {
      return Sum{};
    } else if constexpr (own == Side::queries) {
      T const upper = m_statistics.delta[2 * row_block], lower = m_statistics.delta[2 * row_block + 1];
      return {{upper, upper, lower, lower}};
    } else {
      static_assert(!layout.pads_statistics());
      Two const x = two_statistics(first_column() + 8 * column_block, true);
      return {{x.value[0], x.value[1], x.value[0], x.value[1]}};
    }
  }

  /// \param own_rows, other_rows the warp's first
  KOKKOS_FORCEINLINE_FUNCTION void multiply_for_scores(ScalarType const* own_rows, ScalarType const* other_rows) {
    clear(m_scores);
    multiply_own(own_rows, other_rows, m_arguments.scale, m_scores);
  }
  KOKKOS_FORCEINLINE_FUNCTION void multiply_for_gradients(ScalarType const* own_rows, ScalarType const* other_rows) {
    begin_gradients(m_gradients);
    multiply_own(own_rows, other_rows, T(1), m_gradients);
  }
  KOKKOS_FORCEINLINE_FUNCTION void begin_gradients(Sum (&gradients)[row_blocks][column_blocks]) const {
    KOKKOSATTENTION_UNROLL
    for (int b = 0; b < row_blocks; ++b) {
      KOKKOSATTENTION_UNROLL
      for (int n = 0; n < column_blocks; ++n) gradients[b][n] = first_gradients(b, n);
    }
  }

  /// result += own rows * other rows^T, or, if numbers are split, result = factor * own rows * other rows^T
  /// \param own_rows the warp's first
  /// \param first_block see multiply_rows
  template <int blocks, class... FirstBlock>
  KOKKOS_FORCEINLINE_FUNCTION void multiply_own(ScalarType const* own_rows, ScalarType const* other_rows, T factor,
                                                Sum (&result)[row_blocks][blocks],
                                                FirstBlock const&... first_block) const {
    multiply_rows<Arithmetic, shape.head_columns, own_stride, stride>(own_rows, other_rows, m_lane, factor, result,
                                                                      first_block...);
  }

  template <int n>
  KOKKOS_FORCEINLINE_FUNCTION static void clear(Sum (&sums)[row_blocks][n]) {
    KOKKOSATTENTION_UNROLL
    for (int b = 0; b < row_blocks; ++b) {
      KOKKOSATTENTION_UNROLL
      for (int i = 0; i < n; ++i) sums[b][i] = Sum{};
    }
  }

  /// \param first_column of the sums
  /// \param scratch own rows that no other warp uses any more
  template <int blocks>
  KOKKOS_FORCEINLINE_FUNCTION void store(Tensor<ScalarType> const& tensor, Tile const& tile, int dim, int first_column,
                                         T factor, Sum const (&sums)[row_blocks][blocks], ScalarType* scratch) const {
    if (tensor.data == nullptr) return;
    int const first_row = m_row - m_lane.quad;
    // Of a lane that they know, compilers compute places before the loop, and spill others for them.
    store_rows<Arithmetic, own_stride, in_packs, false>(
        sums, [&](int, int) { return factor; }, scratch,
        MatrixRows<ScalarType>(tensor.from(0, first_column), m_sequence.entry, head(own, tile),
                               array_row(own, tile) + first_row, count(own, tile) - first_row, dim - first_column),
        MmaLane::of(hidden(m_lane.number())));
  }

 private:
  KOKKOS_FORCEINLINE_FUNCTION MmaPlace place(Tile const& tile) const {
    return {static_cast<int>(begin_of(own, tile)) + m_row, static_cast<int>(begin_of(other, tile)) + first_column(),
            count(own, tile) - m_row, count(other, tile) - first_column()};
  }
  /// The lane's, of the tile's.
  KOKKOS_FORCEINLINE_FUNCTION int first_column() const {
    return 2 * m_lane.member + (shape.sharing > 1 ? m_column : 0);
  }

  /// LSE, or delta, of a query of the tile: side by side in the padding of its row, or in arrays of their own.
  KOKKOS_FORCEINLINE_FUNCTION T* statistics(int query, bool delta) const {
    T* const first = in_scratch<T>(layout.stages + m_stage * layout.stage_bytes + layout.statistics);
    return first + (layout.pads_statistics() ? query * stride + delta : query + delta * shape.columns);
  }

  struct alignas(2 * sizeof(T)) Two {
    T value[2];
  };
  /// Neighbours: of a query, or of a query and the next one.
  KOKKOS_FORCEINLINE_FUNCTION Two two_statistics(int query, bool delta) const {
    return *reinterpret_cast<Two const*>(statistics(query, delta));
  }

  /// Where the rows of the other side lie.
  KOKKOS_FORCEINLINE_FUNCTION void find_other(int query_head) {
    Tile const from{0, query_head, 0, 0, 0, 0};
    m_rows_head   = query_head;
    m_first_rows  = first(other, from);
    m_second_rows = second(other, from);
    if constexpr (own == Side::keys) {
      m_lse_rows   = &m_arguments.lse(m_sequence.entry, query_head, m_sequence.q_begin, 0);
      m_delta_rows = &m_deltas(m_sequence.entry, query_head, m_sequence.q_begin, 0);
    }
  }

  KOKKOS_FORCEINLINE_FUNCTION void copy_other(Tile const& tile) {
    if (m_rows_head != tile.head) find_other(tile.head);
    Position const begin = static_cast<Position>(begin_of(other, tile));
    Rows q_or_k = m_first_rows, do_or_v = m_second_rows;
    q_or_k.data += begin * q_or_k.row_stride;
    do_or_v.data += begin * do_or_v.row_stride;
    q_or_k.rows = do_or_v.rows = count(other, tile);
    copy_other(q_or_k, do_or_v, m_lse_rows, m_delta_rows, begin);
  }

  template <int padded_rows>
  KOKKOS_FORCEINLINE_FUNCTION void split(Rows const& rows, ScalarType* arrived) const {
    if constexpr (splits)
      split_rows<Arithmetic, padded_rows, shape.head_columns, shape.warps>(m_member, arrived,
                                                                           in_packs || copies_in_packs(rows));
  }

  KOKKOS_FORCEINLINE_FUNCTION void load_statistics() {
    constexpr bool pads = layout.pads_statistics();
    KOKKOSATTENTION_UNROLL
    for (int n = 0; n < column_blocks; ++n) {
      int const query = first_column() + 8 * n;
      Two const x     = two_statistics(query, false);
      Two const y     = pads ? two_statistics(query + 1, false) : two_statistics(query, true);
      KOKKOSATTENTION_UNROLL
      for (int e = 0; e < 2; ++e) {
        m_statistics.lse[2 * n + e]   = exponents_lse(pads ? (e == 0 ? x : y).value[0] : x.value[e]);
        m_statistics.delta[2 * n + e] = pads ? (e == 0 ? x : y).value[1] : y.value[e];
      }
    }
  }

  /// An LSE as MmaGradientRows takes it.
  KOKKOS_FORCEINLINE_FUNCTION T exponents_lse(T lse) const {
    if constexpr (prepares_statistics<ScalarType>)
      return lse;
    else
      return usable_lse(lse);
  }
};

}  // namespace KokkosAttention::Impl

#endif
