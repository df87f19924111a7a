// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMAGROUPSENGINE_HPP
#define KOKKOSATTENTION_MMAGROUPSENGINE_HPP

#include <KokkosAttention_MmaLateTurnsEngine.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The tile operations of a backward kernel of five products, in which groups of two or four warps own the same keys.
/// One half of a group computes weights, hands them over, and sums dV; the other half computes gradients, and sums dK.
/// In groups of four, each of a half has the scores or gradients of half of the tile's queries, and sums half of the
/// columns, of all queries.
///
/// Weights are handed over in 16 bits, as they are multiplied for dV; of score functions whose derivatives need scores,
/// weights times derivatives. With all of its registers for one of the two products, a warp has a larger part of it
/// than of both, and loads fewer factors.

namespace KokkosAttention::Impl {

/// \tparam linear derivatives of scores are known without scores
template <Scalar ScalarType, class Member, int shape_number, bool linear>
class MmaGroupsEngine
    : public MmaLateTurnsEngine<ScalarType, Member, shape_number, true, false,
                                (mma_backward_shapes<ScalarType>[shape_number].head_columns > 64 || !linear)> {
  using Base = MmaLateTurnsEngine<ScalarType, Member, shape_number, true, false,
                                  (mma_backward_shapes<ScalarType>[shape_number].head_columns > 64 || !linear)>;
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

  /// Weights that partners exchange have another place than what is handed over: that of the last visit's gradients,
  /// once all warps have added them.
  static constexpr bool exchanges_apart = has_partner && !linear;
  static constexpr int all_have_added   = 4 * groups;  // the number of a barrier

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
    if (m_of_keys) {
      if constexpr (exchanges_apart) arrive_at_barrier<shape.warps>(all_have_added);
      return;
    }
    Base::complete_scores();
    if constexpr (linear) Base::clear(m_gradients);
  }

  /// Whether the warp has gradients, but no scores: what is handed over to it has derivatives in it, unless score
  /// functions are linear.
  KOKKOS_FORCEINLINE_FUNCTION bool has_gradients_alone() const { return m_of_keys; }

  /// Where gradients of 1 become derivatives, 16 keys after the others: few derivatives are in registers then.
  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void for_each_row(Tile const& tile, F const& f) {
    if constexpr (linear) {
      Base::for_each_row(tile, f);
    } else {
      if constexpr (exchanges_apart) barrier_of_warps<shape.warps>(all_have_added);
      KOKKOSATTENTION_UNROLL
      for (int b = 0; b < row_blocks; ++b) {
        KOKKOSATTENTION_UNROLL
        for (int n = 0; n < column_blocks; ++n) m_gradients[b][n] = {{1, 1, 1, 1}};
        Base::for_each_row_of_block(b, f);
        KOKKOSATTENTION_UNROLL
        for (int s = 0; s < steps; ++s) {
          if constexpr (exchanges_apart) put(m_scores, s, b, m_visits - 1);
          put(m_gradients, s, b, m_visits);
        }
      }
    }
  }

  KOKKOS_FORCEINLINE_FUNCTION void accumulate(Tile const&) {
    Left own[steps][row_blocks], partners[steps][row_blocks];
    if (m_of_keys) {
      barrier_of_warps<shape.sharing>(handover());
      for_each_factor([&](int s, int b) {
        Arithmetic::multiply(m_scores[b] + s * blocks_a_step,
                             Arithmetic::left(place(m_visits, b, m_column), turned_stride, s, m_lane));
      });
      for_each_factor([&](int s, int b) { own[s][b] = put(m_scores, s, b, m_visits); });
      exchange(m_visits, partners);
    } else if constexpr (linear) {
      for_each_factor([&](int s, int b) { own[s][b] = put(m_scores, s, b, m_visits); });
      exchange(m_visits, partners);
      hand_over();
    } else {
      hand_over();
      for_each_factor([&](int s, int b) { own[s][b] = Arithmetic::left(m_scores[b] + s * blocks_a_step); });
      exchange(m_visits - 1, partners);
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

  KOKKOS_FORCEINLINE_FUNCTION void finish() { Base::finish(first_column()); }

 private:
  /// Of the warp's sums.
  KOKKOS_FORCEINLINE_FUNCTION int first_column() const {
    return has_partner ? sum_columns * (m_member.team_rank() / groups % 2) : 0;
  }
  /// The place of 16 keys' weights of some queries, and then of gradients of their scores.
  KOKKOS_FORCEINLINE_FUNCTION ScalarType* place(int visit, int block, int query) const {
    return Base::turned_in(visit) + (first_row() + 16 * block) * turned_stride + query;
  }
  /// The barrier that says that weights may be read, and written over.
  KOKKOS_FORCEINLINE_FUNCTION int handover() const { return 2 * groups + m_member.team_rank() % groups; }

  KOKKOS_FORCEINLINE_FUNCTION void hand_over() const {
    arrive_at_barrier<shape.sharing>(handover());
    if constexpr (Base::passes_on_late) Base::pass_turn_on(2);
  }

  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION static void for_each_factor(F const& f) {
    KOKKOSATTENTION_UNROLL
    for (int s = 0; s < steps; ++s) {
      KOKKOSATTENTION_UNROLL
      for (int b = 0; b < row_blocks; ++b) f(s, b);
    }
  }
  /// Puts factors down, of a step and 16 keys.
  KOKKOS_FORCEINLINE_FUNCTION Left put(Sum const (&numbers)[row_blocks][column_blocks], int s, int b, int visit) const {
    Left const factors = Arithmetic::left(numbers[b] + s * blocks_a_step);
    Arithmetic::put_left(factors, place(visit, b, m_column), turned_stride, s, m_lane);
    return factors;
  }
  /// What the partner has put down.
  KOKKOS_FORCEINLINE_FUNCTION void exchange([[maybe_unused]] int visit,
                                            [[maybe_unused]] Left (&factors)[steps][row_blocks]) const {
    if constexpr (has_partner) {
      barrier_of_warps<2>(m_member.team_rank() % groups + (m_of_keys ? groups : 0));
      for_each_factor([&](int s, int b) {
        factors[s][b] = Arithmetic::left(place(visit, b, part - m_column), turned_stride, s, m_lane);
      });
    }
  }
};

}  // namespace KokkosAttention::Impl

#endif
