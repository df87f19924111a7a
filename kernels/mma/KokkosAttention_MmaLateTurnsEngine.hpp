// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMALATETURNSENGINE_HPP
#define KOKKOSATTENTION_MMALATETURNSENGINE_HPP

#include <KokkosAttention_MmaProduct.hpp>
#include <KokkosAttention_MmaTurnsEngine.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// What backward kernels of five products for 16-bit types have in common: warps that share keys put gradients of
/// scores down, and some sum dV and others dK. For dQ, all multiply the gradients that all have put down in the step
/// before with the own keys, some queries and columns each.

namespace KokkosAttention::Impl {

/// \tparam in_packs all rows can be copied 16 bytes at a time
/// \tparam drops there may be dropout
/// \tparam notes_item see MmaTurnsEngine
template <Scalar ScalarType, class Member, int shape_number, bool in_packs, bool drops, bool notes_item>
class MmaLateTurnsEngine
    : public MmaTurnsEngine<ScalarType, Member, shape_number, in_packs, drops, false, false, notes_item> {
  using Base = MmaTurnsEngine<ScalarType, Member, shape_number, in_packs, drops, false, false, notes_item>;

 protected:
  using Base::layout, Base::own_first, Base::own_rows, Base::own_second, Base::own_stride, Base::row_blocks,
      Base::shape, Base::warps_rows;
  using Base::m_arguments, Base::m_lane, Base::m_member, Base::m_row, Base::m_visits;
  using typename Base::Arithmetic, typename Base::Sum, typename Base::T;
  using Left = typename Arithmetic::Left;

  static constexpr int groups        = shape.warps / shape.sharing;             // of warps that share keys
  static constexpr int sum_columns   = 2 * shape.head_columns / shape.sharing;  // of a warp
  static constexpr int blocks_a_step = Arithmetic::steps / 8;
  static constexpr int turned_stride = Arithmetic::stride(shape.columns);

 private:
  // Of dQ, a warp computes some columns of some of the tile's queries. Of groups, at 64 columns, only those do that
  // multiply for gradients: they would wait for weights, and four larger parts take fewer loads than eight.
  static constexpr int adding_warps = shape.groups && shape.head_columns == 64 ? shape.warps / 2 : shape.warps;
  static constexpr int columns      = MmaSumPlace::columns;
  static constexpr int column_parts = shape.head_columns / columns;
  static constexpr int queries      = shape.columns * column_parts / adding_warps;
  static_assert(queries % 16 == 0 && own_rows % Arithmetic::steps == 0);

 protected:
  bool m_of_keys;  // the warp sums dK, of dV otherwise
  Sum m_sum[row_blocks][sum_columns / 8];

  /// \param column of the team's tile, from which the warp has its scores and gradients
  KOKKOS_FORCEINLINE_FUNCTION MmaLateTurnsEngine(Member const& member, MmaBackwardData<ScalarType> const& data,
                                                 int column)
      : Base(member, data, 16 * row_blocks * (member.team_rank() % groups), column),
        m_of_keys(member.team_rank() >= shape.warps / 2) {}

 public:
  KOKKOS_FORCEINLINE_FUNCTION void begin(Sequence const& sequence, Tile const& tile) {
    Base::begin_item(sequence, tile);
    Base::clear(m_sum);
  }

 protected:
  /// What the last step's gradients give dQ.
  KOKKOS_FORCEINLINE_FUNCTION void add_to_last_queries() const {
    if (m_visits > 1) add_to_last_queries(m_visits - 1);
  }

  /// Stores the warp's sums.
  /// \param first_column of them
  KOKKOS_FORCEINLINE_FUNCTION void finish(int first_column) {
    Base::await_last_turn();
    m_member.team_barrier();
    if (m_visits > 0) add_to_last_queries(m_visits);
    Tile const tile = Base::end_item();
    Base::store(m_of_keys ? m_arguments.dk : m_arguments.dv, tile,
                m_of_keys ? m_arguments.head_dim : m_arguments.value_dim, first_column,
                m_of_keys ? m_arguments.scale : T(1), m_sum,
                warps_rows(m_of_keys ? own_second() : own_first()) + first_column);
  }

  /// Of the own rows, the warp's first.
  KOKKOS_FORCEINLINE_FUNCTION int first_row() const { return m_row - m_lane.quad; }
  /// Gradients of scores, a row for each of the own rows. Those of a visit are used in the next one.
  KOKKOS_FORCEINLINE_FUNCTION ScalarType* turned_in(int visit) const {
    return Base::template in_scratch<ScalarType>(layout.turned) + visit % 2 * own_rows * turned_stride;
  }

 private:
  /// dS K of some queries and columns, of the last visit.
  KOKKOS_FORCEINLINE_FUNCTION void add_to_last_queries(int visit) const {
    int const rank = m_member.team_rank() - (shape.warps - adding_warps);
    if (adding_warps < shape.warps && rank < 0) return;
    int const first_column              = columns * (rank % column_parts);
    int const first_query               = queries * (rank / column_parts);
    Sum sums[queries / 16][columns / 8] = {};
    ScalarType const* const turned      = turned_in(visit);
    KOKKOSATTENTION_UNROLL
    for (int row = 0; row < own_rows; row += Arithmetic::steps) {
      if constexpr (shape.head_columns > 128) load_fence();
      Left left[queries / 16];
      KOKKOSATTENTION_UNROLL
      for (int b = 0; b < queries / 16; ++b)
        left[b] =
            Arithmetic::left_of_columns(turned + row * turned_stride, turned_stride, first_query + 16 * b, m_lane);
      add_step<Arithmetic, own_stride>(left, own_first() + row * own_stride + first_column, m_lane, sums);
    }
    Base::add_to_last_queries(sums, first_query, first_column);
  }
};

}  // namespace KokkosAttention::Impl

#endif
