// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMAGROUPSENGINE_HPP
#define KOKKOSATTENTION_MMAGROUPSENGINE_HPP

#include <KokkosAttention_MmaLateTurnsEngine.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The tile operations of a backward kernel of five products for plain calls, in which groups of two or four warps own
/// the same keys. One half of a group computes weights, hands them over, and sums dV; the other half computes
/// gradients, and sums dK. In groups of four, each of a half has the scores or gradients of half of the tile's queries,
/// and sums half of the columns, of all queries.
///
/// Weights are handed over in 16 bits, as they are multiplied for dV. With all of its registers for one of the two
/// products, a warp has a larger part of it than of both, and loads fewer factors.

namespace KokkosAttention::Impl {

template <Scalar ScalarType, class Member, int shape_number>
class MmaGroupsEngine : public MmaLateTurnsEngine<ScalarType, Member, shape_number, true, false> {
  using Base = MmaLateTurnsEngine<ScalarType, Member, shape_number, true, false>;
  using Base::blocks_a_step, Base::column_blocks, Base::first_row, Base::groups, Base::other_first, Base::other_second,
      Base::own_first, Base::own_second, Base::row_blocks, Base::shape, Base::stride, Base::sum_columns,
      Base::turned_stride, Base::warps_rows;
  using Base::m_column, Base::m_gradients, Base::m_lane, Base::m_member, Base::m_of_keys, Base::m_scores, Base::m_sum,
      Base::m_visits;
  using typename Base::Arithmetic, typename Base::Left, typename Base::Sum, typename Base::T;

  static constexpr int part         = shape.warp_columns();  // of the tile's queries
  static constexpr int steps        = part / Arithmetic::steps;
  static constexpr bool has_partner = part < shape.columns;
  static_assert(part % Arithmetic::steps == 0 && Base::subtracts_delta);

 public:
  KOKKOS_FORCEINLINE_FUNCTION MmaGroupsEngine(Member const& member, MmaBackwardData<ScalarType> const& data)
      : Base(member, data, has_partner ? part * (member.team_rank() / groups % 2) : 0) {}

  /// The scores of a warp that computes gradients are these.
  KOKKOS_FORCEINLINE_FUNCTION void multiply(Tile const&) {
    Base::begin_step();
    Base::add_to_last_queries();
    Base::multiply_own(warps_rows(m_of_keys ? own_second() : own_first()),
                       (m_of_keys ? other_second() : other_first()) + m_column * stride, T(1), m_scores,
                       [&](auto const& add) {
                         // Only sums of gradients take instructions to begin.
                         if (m_of_keys) {
                           Base::begin_gradients(m_scores);
                           add();
                         } else {
                           Base::clear(m_scores);
                           add();
                         }
                       });
    if (m_of_keys) return;
    Base::complete_scores();
    Base::clear(m_gradients);
  }

  /// Whether the warp has gradients, but no scores: derivatives of score functions are to do without.
  KOKKOS_FORCEINLINE_FUNCTION bool has_gradients_alone() const { return m_of_keys; }

  KOKKOS_FORCEINLINE_FUNCTION void accumulate(Tile const&) {
    Left own[steps][row_blocks], partners[steps][row_blocks];
    if (m_of_keys) {
      barrier_of_warps<shape.sharing>(handover());
      for_each_factor([&](int s, int b) {
        Arithmetic::multiply(m_scores[b] + s * blocks_a_step,
                             Arithmetic::left(turned(b, m_column), turned_stride, s, m_lane));
      });
      put(own);
      exchange(partners);
    } else {
      put(own);
      exchange(partners);
      arrive_at_barrier<shape.sharing>(handover());
    }
    ScalarType const* const rows = (m_of_keys ? other_first() : other_second()) + first_column();
    KOKKOSATTENTION_UNROLL
    for (int s = 0; s < steps; ++s)
      add_step<Arithmetic, stride>(own[s], rows + (m_column + s * Arithmetic::steps) * stride, m_lane, m_sum);
    if constexpr (has_partner) {
      KOKKOSATTENTION_UNROLL
      for (int s = 0; s < steps; ++s)
        add_step<Arithmetic, stride>(partners[s], rows + (part - m_column + s * Arithmetic::steps) * stride, m_lane,
                                     m_sum);
    }
  }

  KOKKOS_FORCEINLINE_FUNCTION void finish(Tile const& tile) { Base::finish(tile, first_column()); }

 private:
  /// Of the warp's sums.
  KOKKOS_FORCEINLINE_FUNCTION int first_column() const {
    return has_partner ? sum_columns * (m_member.team_rank() / groups % 2) : 0;
  }
  /// The place of 16 keys' weights of some queries, and then of gradients of their scores.
  KOKKOS_FORCEINLINE_FUNCTION ScalarType* turned(int block, int query) const {
    return Base::turned_in(m_visits) + (first_row() + 16 * block) * turned_stride + query;
  }
  /// The barrier that says that weights may be read, and written over.
  KOKKOS_FORCEINLINE_FUNCTION int handover() const { return 2 * groups + m_member.team_rank() % groups; }

  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION static void for_each_factor(F const& f) {
    KOKKOSATTENTION_UNROLL
    for (int s = 0; s < steps; ++s) {
      KOKKOSATTENTION_UNROLL
      for (int b = 0; b < row_blocks; ++b) f(s, b);
    }
  }
  /// Puts weights or gradients down.
  KOKKOS_FORCEINLINE_FUNCTION void put(Left (&factors)[steps][row_blocks]) const {
    for_each_factor([&](int s, int b) {
      factors[s][b] = Arithmetic::left(m_scores[b] + s * blocks_a_step);
      Arithmetic::put_left(factors[s][b], turned(b, m_column), turned_stride, s, m_lane);
    });
  }
  /// What the partner has put down.
  KOKKOS_FORCEINLINE_FUNCTION void exchange([[maybe_unused]] Left (&factors)[steps][row_blocks]) const {
    if constexpr (has_partner) {
      barrier_of_warps<2>(m_member.team_rank() % groups + (m_of_keys ? groups : 0));
      for_each_factor([&](int s, int b) {
        factors[s][b] = Arithmetic::left(turned(b, part - m_column), turned_stride, s, m_lane);
      });
    }
  }
};

}  // namespace KokkosAttention::Impl

#endif
