// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMABIASENGINE_HPP
#define KOKKOSATTENTION_MMABIASENGINE_HPP

#include <KokkosAttention_BiasGradient.hpp>
#include <KokkosAttention_MmaBackwardBase.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The tile operations of the kernel that computes dBias, and what a team of it does. A warp has 16 queries of the
/// tile: their scores, gradients and sums stay in its registers.

namespace KokkosAttention::Impl {

/// Each visit brings rows of both sides; where scratch has two stages, they arrive while the last visit's are used.
template <Scalar ScalarType, class Member, int shape_number>
class MmaBiasEngine : public MmaBackwardBase<ScalarType, Member, shape_number, false, true> {
  using Base = MmaBackwardBase<ScalarType, Member, shape_number, false, true>;
  using Base::clear, Base::column_blocks, Base::count, Base::own_first, Base::own_second, Base::other_first,
      Base::other_second, Base::own, Base::row_blocks, Base::shape, Base::warps_rows;
  using Base::m_arguments, Base::m_gradients, Base::m_lane, Base::m_member, Base::m_row, Base::m_scores, Base::m_stage;
  using typename Base::Sum, typename Base::T;

  bool m_ahead = false;  // the next visit's copies have begun
  typename Base::Statistics m_arriving;
  Sum m_sums[row_blocks][column_blocks];

 public:
  KOKKOS_FORCEINLINE_FUNCTION MmaBiasEngine(Member const& member, BackwardArguments<ScalarType> const& arguments,
                                            Tensor<T const> const& delta, MmaBackwardTile const& tile)
      : Base(member, arguments, delta, tile.scratch_bytes, MmaLane::here(), 16 * row_blocks * member.team_rank(), 0) {}

  KOKKOS_FORCEINLINE_FUNCTION void clear_sums() { clear(m_sums); }

  KOKKOS_FORCEINLINE_FUNCTION void begin(Sequence const& sequence, Tile const& tile) {
    if constexpr (shape.stages == 1)
      m_member.team_barrier();  // the last visit's rows are in their place until all have done with them
    else
      m_stage = 1 - m_stage;
    if (m_ahead)
      Base::begin_rows(sequence, tile);
    else
      copy(sequence, tile);
    m_ahead = false;
    wait_for_copies();
    Base::prepare_own(tile);
    Base::split_other(Base::first(Side::keys, tile), Base::second(Side::keys, tile));
    Base::set_statistics(m_arriving);
    m_member.team_barrier();
  }

  KOKKOS_FORCEINLINE_FUNCTION void prefetch(Sequence const& sequence, Tile const& tile) requires(shape.stages == 2) {
    m_stage = 1 - m_stage;
    copy(sequence, tile);
    m_stage = 1 - m_stage;
    m_ahead = true;
  }

  KOKKOS_FORCEINLINE_FUNCTION void multiply(Tile const& tile) {
    if (!has_rows(tile)) return;
    Base::multiply_for_scores(warps_rows(own_first()), other_first());
    Base::multiply_for_gradients(warps_rows(own_second()), other_second());
    Base::complete_scores(tile);
  }

  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void for_each_row(Tile const& tile, F const& f) {
    if (!has_rows(tile)) return;
    Base::for_each_row(hidden_place(tile), f);
  }

  KOKKOS_FORCEINLINE_FUNCTION void accumulate(Tile const& tile) {
    if (!has_rows(tile)) return;
    for_each_element<row_blocks, column_blocks>(
        [&](int b, int n, int h, int e) { m_sums[b][n].value[2 * h + e] += m_gradients[b][n].value[2 * h + e]; });
  }

  /// store(row, column, sum) for the tile's elements.
  template <class Store>
  KOKKOS_FORCEINLINE_FUNCTION void for_each_sum(int rows, int columns, Store const& store) const {
    for_each_element<row_blocks, column_blocks>([&](int b, int n, int h, int e) {
      int const r = m_row + 16 * b + 8 * h, c = 8 * n + 2 * m_lane.member + e;
      if (r < rows && c < columns) store(r, c, m_sums[b][n].value[2 * h + e]);
    });
  }

  /// store(n, sum along the other side) for the rows of one side.
  template <class Store>
  KOKKOS_FORCEINLINE_FUNCTION void for_each_row_sum(Side side, int rows, Store const& store) const {
    if (side == Side::queries)
      for_each_query_sum(rows, store);
    else
      for_each_key_sum(rows, store);
  }

 private:
  /// Visits of one tile, of several heads, have all that follows from positions in common: registers would hold it.
  KOKKOS_FORCEINLINE_FUNCTION static Tile hidden_place(Tile const& tile) {
    auto const hide = [](index_t position) { return hidden(static_cast<int>(position)); };
    return {tile.batch,           tile.head,         hide(tile.query_begin), hide(tile.query_end),
            hide(tile.key_begin), hide(tile.key_end)};
  }

  /// Short sequences leave some warps nothing to do.
  KOKKOS_FORCEINLINE_FUNCTION bool has_rows(Tile const& tile) const { return m_row - m_lane.quad < count(own, tile); }

  /// Begins to copy a visit's rows to the stage that is in use, and to load what is known of its queries.
  KOKKOS_FORCEINLINE_FUNCTION void copy(Sequence const& sequence, Tile const& tile) {
    Tile const here = hidden_place(tile);
    Base::begin_rows(sequence, here);
    Base::copy_own(here);
    Base::copy_other(Base::first(Side::keys, here), Base::second(Side::keys, here), nullptr, nullptr, 0);
    m_arriving = Base::own_statistics(here);
  }

  template <class Store>
  KOKKOS_FORCEINLINE_FUNCTION void for_each_query_sum(int rows, Store const& store) const {
    KOKKOSATTENTION_UNROLL
    for (int h = 0; h < 2 * row_blocks; ++h) {
      T total = 0;
      KOKKOSATTENTION_UNROLL
      for (int n = 0; n < column_blocks; ++n) {
        KOKKOSATTENTION_UNROLL
        for (int e = 0; e < 2; ++e) total += m_sums[h / 2][n].value[2 * (h % 2) + e];
      }
      KOKKOSATTENTION_UNROLL
      for (int difference = 1; difference < 4; difference *= 2) total += exchange_lanes(total, difference);
      if (m_lane.member == 0 && m_row + 8 * h < rows) store(m_row + 8 * h, total);
    }
  }

  /// By way of scratch, where each warp puts its sums.
  template <class Store>
  KOKKOS_FORCEINLINE_FUNCTION void for_each_key_sum(int keys, Store const& store) const {
    T* const of_warps = Base::template in_scratch<T>(0);
    m_member.team_barrier();  // the last visit's rows are there
    KOKKOSATTENTION_UNROLL
    for (int n = 0; n < column_blocks; ++n) {
      KOKKOSATTENTION_UNROLL
      for (int e = 0; e < 2; ++e) {
        T total = 0;
        KOKKOSATTENTION_UNROLL
        for (int h = 0; h < 2 * row_blocks; ++h) total += m_sums[h / 2][n].value[2 * (h % 2) + e];
        KOKKOSATTENTION_UNROLL
        for (int difference = 4; difference < 32; difference *= 2) total += exchange_lanes(total, difference);
        if (m_lane.quad == 0) of_warps[m_member.team_rank() * shape.columns + 8 * n + 2 * m_lane.member + e] = total;
      }
    }
    m_member.team_barrier();
    KOKKOSATTENTION_ROLLED
    for (int key = 32 * m_member.team_rank() + m_lane.number(); key < keys; key += 32 * shape.warps) {
      T total = 0;
      KOKKOSATTENTION_UNROLL
      for (int warp = 0; warp < shape.warps; ++warp) total += of_warps[warp * shape.columns + key];
      store(key, total);
    }
    m_member.team_barrier();
  }
};

/// What a team of the kernel does: some of the loop's work items.
template <int shape_number, class Member, Scalar ScalarType, class Scores, Mask M>
struct MmaBiasTeam {
  BiasGradientLoop<ScalarType, Scores, M> const& loop;
  Tensor<accumulation_t<ScalarType> const> const& delta;
  MmaBackwardTile const& tile;

  KOKKOS_FORCEINLINE_FUNCTION void operator()(Member const& member) const {
    MmaBiasEngine<ScalarType, Member, shape_number> engine(member, loop.arguments, delta, tile);
    for (index_t item = member.league_rank(); item < loop.items(); item += member.league_size()) loop(engine, item);
  }
};

}  // namespace KokkosAttention::Impl

#endif
