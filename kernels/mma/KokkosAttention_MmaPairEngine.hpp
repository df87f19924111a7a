// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMAPAIRENGINE_HPP
#define KOKKOSATTENTION_MMAPAIRENGINE_HPP

#include <KokkosAttention_MmaTurnsEngine.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The tile operations of a backward kernel of five products whose warps work in pairs: two own the same 16 or 32 keys,
/// one multiplies for the scores and has the sums of dV in its registers, the other multiplies for the gradients and
/// has those of dK. In between they exchange halves, so that each turns the scores and gradients of half the tile's
/// queries into weights and gradients of scores. For dQ, all warps multiply the gradients that all have put down with
/// the own keys, some columns each.

namespace KokkosAttention::Impl {

/// \tparam in_packs all rows can be copied 16 bytes at a time
/// \tparam drops there may be dropout
/// \tparam scale_is_power see MmaEngine
template <Scalar ScalarType, class Member, int shape_number, bool in_packs, bool drops, bool scale_is_power>
class MmaPairEngine
    : public MmaTurnsEngine<ScalarType, Member, shape_number, in_packs, drops, scale_is_power, false, true> {
  using Base = MmaTurnsEngine<ScalarType, Member, shape_number, in_packs, drops, scale_is_power, false, true>;
  using Base::layout, Base::own_first, Base::own_rows, Base::own_second, Base::other_first, Base::other_second,
      Base::row_blocks, Base::shape, Base::stride;
  using Base::m_arguments, Base::m_gradients, Base::m_lane, Base::m_member, Base::m_row, Base::m_scores;
  using typename Base::Arithmetic, typename Base::Sum, typename Base::T;

  static constexpr int columns = shape.head_columns / shape.warps;  // of dQ that a warp computes
  static_assert(columns == 16 && shape.columns == 16 && Base::column_blocks == 1);

  bool m_of_keys;  // the warp sums dK, of dV otherwise
  Sum m_sum[row_blocks][shape.head_columns / 8];

 public:
  KOKKOS_FORCEINLINE_FUNCTION MmaPairEngine(Member const& member, MmaBackwardData<ScalarType> const& data)
      : Base(member, data, 16 * row_blocks * (member.team_rank() % pairs), member.team_rank() < pairs ? 0 : 8),
        m_of_keys(member.team_rank() >= pairs) {}

  KOKKOS_FORCEINLINE_FUNCTION void begin(Sequence const& sequence, Tile const& tile) {
    Base::begin_item(sequence, tile);
    Base::clear(m_sum);
  }

  KOKKOS_FORCEINLINE_FUNCTION void multiply(Tile const&) {
    Base::begin_step();
    Sum products[row_blocks][2];
    Base::clear(products);
    Base::multiply_own(warps_rows(), m_of_keys ? other_second() : other_first(), T(1), products);
    KOKKOSATTENTION_UNROLL
    for (int b = 0; b < row_blocks; ++b)
      Arithmetic::put_turned(choose(products[b][0], products[b][1]), turned(b, !m_of_keys), m_lane);
    m_member.team_barrier();
    KOKKOSATTENTION_UNROLL
    for (int b = 0; b < row_blocks; ++b) {
      Sum const own     = choose(products[b][1], products[b][0]);
      Sum const got     = Arithmetic::get_turned(turned(b, m_of_keys), m_lane);
      m_scores[b][0]    = choose(got, own);
      m_gradients[b][0] = choose(own, got);
    }
    Base::complete_scores();
  }

  KOKKOS_FORCEINLINE_FUNCTION void accumulate(Tile const&) {
    if constexpr (!scale_is_power) {
      T rest = FactorParts(m_arguments.scale).rest;
      apply_factor(m_gradients, rest);
    }
    Sum own[row_blocks];
    KOKKOSATTENTION_UNROLL
    for (int b = 0; b < row_blocks; ++b) {
      Arithmetic::put_turned(m_gradients[b][0], turned(b, m_of_keys), m_lane);
      if (m_of_keys) Arithmetic::put_turned(m_scores[b][0], weights(b), m_lane);
      // Chosen here: both would wait in registers that the products for dQ need.
      own[b] = hidden(choose(m_gradients[b][0], m_scores[b][0]));
    }
    Base::wait_for_turn();
    m_member.team_barrier();
    add_to_queries();

    Sum factors[row_blocks][2];
    KOKKOSATTENTION_UNROLL
    for (int b = 0; b < row_blocks; ++b) {
      Sum const got = Arithmetic::get_turned(m_of_keys ? turned(b, false) : weights(b), m_lane);
      factors[b][0] = choose(got, own[b]);
      factors[b][1] = choose(own[b], got);
    }
    add_product<Arithmetic, stride>(factors, m_of_keys ? other_first() : other_second(), 0, m_lane, m_sum);
  }

  KOKKOS_FORCEINLINE_FUNCTION void finish() {
    Tile const tile = Base::end_item();
    Base::store(m_of_keys ? m_arguments.dk : m_arguments.dv, tile,
                m_of_keys ? m_arguments.head_dim : m_arguments.value_dim, 0,
                m_of_keys ? power_of_scale<scale_is_power>(m_arguments.scale) : T(1), m_sum, warps_rows());
  }

 private:
  static constexpr int pairs = shape.warps / 2;

  /// Number by number: a choice of places would keep the sums in memory.
  KOKKOS_FORCEINLINE_FUNCTION Sum choose(Sum const& of_keys, Sum const& of_values) const {
    Sum result;
    KOKKOSATTENTION_UNROLL
    for (int i = 0; i < 4; ++i) {
      T const x = of_keys.value[i], y = of_values.value[i];
      result.value[i] = m_of_keys ? x : y;
    }
    return result;
  }

  KOKKOS_FORCEINLINE_FUNCTION static Sum hidden(Sum sum) {
    KOKKOSATTENTION_UNROLL
    for (T& x : sum.value) x = Impl::hidden(x);
    return sum;
  }

  /// The own rows that the warp multiplies.
  KOKKOS_FORCEINLINE_FUNCTION ScalarType* warps_rows() const {
    return Base::warps_rows(m_of_keys ? own_second() : own_first());
  }
  /// Gradients of scores of 16 keys, put down to be turned, and before that what pairs exchange: the tile's first eight
  /// queries or the others.
  KOKKOS_FORCEINLINE_FUNCTION ScalarType* turned(int block, bool later_queries) const {
    return turned_block((m_row - m_lane.quad) / 16 + block) + (later_queries ? Arithmetic::turned_numbers : 0);
  }
  KOKKOS_FORCEINLINE_FUNCTION ScalarType* turned_block(int keys) const {
    return Base::template in_scratch<ScalarType>(layout.turned) + 2 * keys * Arithmetic::turned_numbers;
  }
  /// Weights of the later queries, for the partner.
  KOKKOS_FORCEINLINE_FUNCTION ScalarType* weights(int block) const {
    return Base::template in_scratch<ScalarType>(layout.weights) +
           ((m_row - m_lane.quad) / 16 + block) * Arithmetic::turned_numbers;
  }

  /// dQ = scale dS K of some columns: gradients have one part of the scale, own rows the other.
  KOKKOS_FORCEINLINE_FUNCTION void add_to_queries() const {
    int const first_column = columns * m_member.team_rank();
    Sum sums[1][2]         = {};
    KOKKOSATTENTION_UNROLL
    for (int block = 0; block < own_rows / Arithmetic::steps; ++block) {
      constexpr int blocks_of_16              = 16 / Arithmetic::steps;
      typename Arithmetic::Left const left[1] = {
          Arithmetic::left_of_turned(turned_block(block / blocks_of_16), block % blocks_of_16, m_lane)};
      auto const right = Arithmetic::right_of_own_rows(own_first(), shape.head_columns, block, first_column, m_lane);
      multiply_add_blocks<Arithmetic>(sums, 0, left, right, LargeProducts());
    }
    Base::template add_to_queries<false>(
        sums, T(1), first_column, [&](int, int h) { return Arithmetic::turned_row(h, m_lane); },
        [&](int n, int e) { return Arithmetic::own_column(n, e, m_lane); });
  }
};

}  // namespace KokkosAttention::Impl

#endif
