// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMAHALVESENGINE_HPP
#define KOKKOSATTENTION_MMAHALVESENGINE_HPP

#include <KokkosAttention_MmaLateTurnsEngine.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The tile operations of a backward kernel of five products, in which pairs of warps own the same keys. Each of a pair
/// computes the scores and their gradients of half of the tile's queries; one then sums dV and the other dK, of all
/// queries, with what its partner has put down.

namespace KokkosAttention::Impl {

/// \tparam in_packs all rows can be copied 16 bytes at a time
/// \tparam drops there may be dropout
template <Scalar ScalarType, class Member, int shape_number, bool in_packs, bool drops>
class MmaHalvesEngine : public MmaLateTurnsEngine<ScalarType, Member, shape_number, in_packs, drops,
                                                  (mma_backward_shapes<ScalarType>[shape_number].head_columns > 64)> {
  using Base = MmaLateTurnsEngine<ScalarType, Member, shape_number, in_packs, drops,
                                  (mma_backward_shapes<ScalarType>[shape_number].head_columns > 64)>;
  using Base::blocks_a_step, Base::first_row, Base::groups, Base::layout, Base::other_first, Base::other_second,
      Base::own_first, Base::own_second, Base::row_blocks, Base::shape, Base::stride, Base::turned_stride,
      Base::warps_rows;
  using Base::m_column, Base::m_gradients, Base::m_lane, Base::m_member, Base::m_of_keys, Base::m_scores, Base::m_sum,
      Base::m_visits;
  using typename Base::Arithmetic, typename Base::Left;

  static constexpr int half  = shape.warp_columns();  // of the tile's queries
  static constexpr int steps = half / Arithmetic::steps;
  static_assert(half % Arithmetic::steps == 0);

  static constexpr int weights_stride = Arithmetic::stride(half);

 public:
  KOKKOS_FORCEINLINE_FUNCTION MmaHalvesEngine(Member const& member, MmaBackwardData<ScalarType> const& data)
      : Base(member, data, member.team_rank() < groups ? 0 : half) {}

  KOKKOS_FORCEINLINE_FUNCTION void multiply(Tile const&) {
    Base::begin_step();
    Base::add_to_last_queries();
    Base::multiply_for_scores(warps_rows(own_first()), other_first() + m_column * stride);
    Base::multiply_for_gradients(warps_rows(own_second()), other_second() + m_column * stride);
    Base::complete_scores();
  }

  KOKKOS_FORCEINLINE_FUNCTION void accumulate(Tile const&) {
    if constexpr (shape.exchanges_in_place())
      add_by_places_in_turn();
    else
      add_by_places_apart();
  }

  KOKKOS_FORCEINLINE_FUNCTION void finish() { Base::finish(0); }

 private:
  /// Weights of the later half of the queries, and gradients of both, have places of their own.
  KOKKOS_FORCEINLINE_FUNCTION void add_by_places_apart() {
    ScalarType* const turned = Base::turned_in(m_visits) + first_row() * turned_stride;
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
    barrier_of_warps<2>(m_member.team_rank() % groups);

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

  /// What each of a pair needs first is put down and taken by the other: then the gradients of the later half come to
  /// the place of its weights.
  KOKKOS_FORCEINLINE_FUNCTION void add_by_places_in_turn() {
    ScalarType* const turned = Base::turned_in(m_visits) + first_row() * turned_stride;
    Left own[steps][row_blocks], partners[steps][row_blocks];
    auto const for_each_factor = [](auto const& f) {
      KOKKOSATTENTION_UNROLL
      for (int s = 0; s < steps; ++s) {
        KOKKOSATTENTION_UNROLL
        for (int b = 0; b < row_blocks; ++b) f(s, b);
      }
    };
    auto const put = [&](Left const& factors, int s, int b) {
      Arithmetic::put_left(factors, turned + 16 * b * turned_stride + m_column, turned_stride, s, m_lane);
    };
    for_each_factor([&](int s, int b) {
      Left const weights   = Arithmetic::left(m_scores[b] + s * blocks_a_step);
      Left const gradients = Arithmetic::left(m_gradients[b] + s * blocks_a_step);
      own[s][b]            = choose(gradients, weights);
      put(choose(weights, gradients), s, b);
    });
    barrier_of_warps<2>(m_member.team_rank() % groups);
    for_each_factor([&](int s, int b) {
      partners[s][b] = Arithmetic::left(turned + 16 * b * turned_stride + half - m_column, turned_stride, s, m_lane);
    });
    ScalarType const* const rows = m_of_keys ? other_first() : other_second();
    if (m_of_keys) {
      barrier_of_warps<2>(m_member.team_rank() % groups);
      for_each_factor([&](int s, int b) { put(own[s][b], s, b); });
    } else {
      arrive_at_barrier<2>(m_member.team_rank() % groups);
    }
    KOKKOSATTENTION_UNROLL
    for (int s = 0; s < steps; ++s)
      add_step<Arithmetic, stride>(own[s], rows + (m_column + s * Arithmetic::steps) * stride, m_lane, m_sum);
    KOKKOSATTENTION_UNROLL
    for (int s = 0; s < steps; ++s)
      add_step<Arithmetic, stride>(partners[s], rows + (half - m_column + s * Arithmetic::steps) * stride, m_lane,
                                   m_sum);
  }

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

  /// Weights of the later half of the queries, which the warp that sums dV has not computed: of 16 keys.
  KOKKOS_FORCEINLINE_FUNCTION ScalarType* later_weights(int block) const {
    return Base::template in_scratch<ScalarType>(layout.weights) + (first_row() + 16 * block) * weights_stride;
  }
};

}  // namespace KokkosAttention::Impl

#endif
