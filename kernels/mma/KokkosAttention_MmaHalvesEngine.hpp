// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMAHALVESENGINE_HPP
#define KOKKOSATTENTION_MMAHALVESENGINE_HPP

#include <KokkosAttention_MmaProduct.hpp>
#include <KokkosAttention_MmaTurnsEngine.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The tile operations of a backward kernel of five products, in which pairs of warps own the same keys. Each of a pair
/// computes the scores and their gradients of half of the tile's queries; one then sums dV and the other dK, of all
/// queries, with what its partner has put down. For dQ, all warps multiply the gradients that all have put down with
/// the own keys, some queries and columns each.

namespace KokkosAttention::Impl {

/// \tparam in_packs all rows can be copied 16 bytes at a time
template <Scalar ScalarType, class Member, int shape_number, bool in_packs>
class MmaHalvesEngine : public MmaTurnsEngine<ScalarType, Member, shape_number, in_packs> {
  using Base = MmaTurnsEngine<ScalarType, Member, shape_number, in_packs>;
  using Base::layout, Base::own_first, Base::own_rows, Base::own_second, Base::own_stride, Base::other_first,
      Base::other_second, Base::row_blocks, Base::shape, Base::stride, Base::warps_rows;
  using Base::m_arguments, Base::m_column, Base::m_gradients, Base::m_lane, Base::m_member, Base::m_row, Base::m_scores,
      Base::m_visits;
  using typename Base::Arithmetic, typename Base::Sum, typename Base::T;
  using Left = typename Arithmetic::Left;

  static constexpr int pairs = shape.warps / 2;
  static constexpr int half  = shape.warp_columns();  // of the tile's queries
  static constexpr int steps = half / Arithmetic::steps;

  // Of dQ, a warp computes some columns of some of the tile's queries.
  static constexpr int columns      = MmaSumPlace::columns;
  static constexpr int column_parts = shape.head_columns / columns;
  static constexpr int queries      = shape.columns * column_parts / shape.warps;
  static_assert(half % Arithmetic::steps == 0 && queries % 16 == 0 && own_rows % Arithmetic::steps == 0);

  static constexpr int turned_stride  = Arithmetic::stride(shape.columns);
  static constexpr int weights_stride = Arithmetic::stride(half);

  bool m_of_keys;  // the warp sums dK, of dV otherwise
  Sum m_sum[row_blocks][shape.head_columns / 8];

 public:
  KOKKOS_FORCEINLINE_FUNCTION MmaHalvesEngine(Member const& member, MmaBackwardData<ScalarType> const& data)
      : Base(member, data, 16 * row_blocks * (member.team_rank() % pairs), member.team_rank() < pairs ? 0 : half),
        m_of_keys(member.team_rank() >= pairs) {}

  KOKKOS_FORCEINLINE_FUNCTION void begin(Sequence const& sequence, Tile const& tile) {
    Base::begin_item(sequence, tile);
    Base::clear(m_sum);
  }

  KOKKOS_FORCEINLINE_FUNCTION void multiply(Tile const&) {
    Base::begin_step();
    if (m_visits > 1) add_to_last_queries(m_visits - 1);
    Base::multiply_for_scores(warps_rows(own_first()), other_first() + m_column * stride);
    Base::multiply_for_gradients(warps_rows(own_second()), other_second() + m_column * stride);
    Base::complete_scores();
  }

  KOKKOS_FORCEINLINE_FUNCTION void accumulate(Tile const&) {
    ScalarType* const turned = turned_in(m_visits) + first_row() * turned_stride;
    Left own[steps][row_blocks];
    KOKKOSATTENTION_UNROLL
    for (int s = 0; s < steps; ++s) {
      KOKKOSATTENTION_UNROLL
      for (int b = 0; b < row_blocks; ++b) {
        Left const weights   = Arithmetic::left(m_scores[b] + s * blocks_a_step);
        Left const gradients = Arithmetic::left(m_gradients[b] + s * blocks_a_step);
        Arithmetic::put_left(gradients, turned + 16 * b * turned_stride + m_column, turned_stride, s, m_lane);
        if (m_of_keys) Arithmetic::put_left(weights, later_weights(b), weights_stride, s, m_lane);
        own[s][b] = choose(gradients, weights);
      }
    }
    ScalarType const* const rows = m_of_keys ? other_first() : other_second();
    KOKKOSATTENTION_UNROLL
    for (int s = 0; s < steps; ++s)
      add_step<Arithmetic, stride>(own[s], rows + (m_column + s * Arithmetic::steps) * stride, m_lane, m_sum);
    pair_barrier(m_member.team_rank() % pairs);

    KOKKOSATTENTION_UNROLL
    for (int s = 0; s < steps; ++s) {
      Left partners[row_blocks];
      KOKKOSATTENTION_UNROLL
      for (int b = 0; b < row_blocks; ++b)
        partners[b] = m_of_keys ? Arithmetic::left(turned + 16 * b * turned_stride, turned_stride, s, m_lane)
                                : Arithmetic::left(later_weights(b), weights_stride, s, m_lane);
      add_step<Arithmetic, stride>(partners, rows + (half - m_column + s * Arithmetic::steps) * stride, m_lane, m_sum);
    }
  }

  KOKKOS_FORCEINLINE_FUNCTION void finish(Tile const& tile) {
    Base::await_last_turn();
    m_member.team_barrier();
    if (m_visits > 0) add_to_last_queries(m_visits);
    Base::end_item();
    Base::store(m_of_keys ? m_arguments.dk : m_arguments.dv, tile,
                m_of_keys ? m_arguments.head_dim : m_arguments.value_dim, 0, m_of_keys ? m_arguments.scale : T(1),
                m_sum, warps_rows(m_of_keys ? own_second() : own_first()));
  }

 private:
  static constexpr int blocks_a_step = Arithmetic::steps / 8;

  /// Number by number: a choice of places would keep the factors in memory.
  KOKKOS_FORCEINLINE_FUNCTION Left choose(Left const& of_keys, Left const& of_values) const {
    Left result;
    KOKKOSATTENTION_UNROLL
    for (int i = 0; i < 4; ++i) {
      unsigned const x = of_keys.value[i], y = of_values.value[i];
      result.value[i] = m_of_keys ? x : y;
    }
    return result;
  }

  KOKKOS_FORCEINLINE_FUNCTION int first_row() const { return m_row - m_lane.quad; }
  /// Gradients of scores, a row for each of the own rows. Those of a visit are used in the next one.
  KOKKOS_FORCEINLINE_FUNCTION ScalarType* turned_in(int visit) const {
    return Base::template in_scratch<ScalarType>(layout.turned) + visit % 2 * own_rows * turned_stride;
  }
  /// Likewise weights of the later half of the queries, which the warp that sums dV has not computed: of 16 keys.
  KOKKOS_FORCEINLINE_FUNCTION ScalarType* later_weights(int block) const {
    return Base::template in_scratch<ScalarType>(layout.weights) + (first_row() + 16 * block) * weights_stride;
  }

  /// dS K of some queries and columns, of the last visit.
  KOKKOS_FORCEINLINE_FUNCTION void add_to_last_queries(int visit) const {
    int const first_column              = columns * (m_member.team_rank() % column_parts);
    int const first_query               = queries * (m_member.team_rank() / column_parts);
    Sum sums[queries / 16][columns / 8] = {};
    ScalarType const* const turned      = turned_in(visit);
    KOKKOSATTENTION_UNROLL
    for (int row = 0; row < own_rows; row += Arithmetic::steps) {
      if constexpr (row_blocks == 1) load_fence();
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
