// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMABACKWARDENGINE_HPP
#define KOKKOSATTENTION_MMABACKWARDENGINE_HPP

#include <KokkosAttention_BackwardLoop.hpp>
#include <KokkosAttention_MmaBackwardBase.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The tile operations of backward kernels that compute dQ, dK, dV, or dK and dV. A warp owns 16 rows of queries, or of
/// keys: their scores, gradients and sums stay in its registers. With scores transposed along, both are the same
/// products.

namespace KokkosAttention::Impl {

/// \tparam in_packs all rows can be copied 16 bytes at a time
/// \tparam drops there may be dropout
template <Scalar ScalarType, class Member, int shape_number, bool in_packs, bool drops>
class MmaBackwardEngine : public MmaBackwardBase<ScalarType, Member, shape_number, in_packs, drops> {
  using Base = MmaBackwardBase<ScalarType, Member, shape_number, in_packs, drops>;
  using Base::clear, Base::own, Base::own_first, Base::own_second, Base::other_first, Base::other_second,
      Base::row_blocks, Base::shape, Base::store, Base::stride, Base::warps_rows;
  using Base::m_arguments, Base::m_gradients, Base::m_lane, Base::m_member, Base::m_row, Base::m_scores;
  using typename Base::Arithmetic, typename Base::Sum, typename Base::T;

  static constexpr int first_blocks  = shape.first_columns / 8;
  static constexpr int second_blocks = shape.second_columns / 8;

  int m_part = 0;
  // Arrays have elements, whether there is something to sum or not.
  Sum m_first_sum[row_blocks][first_blocks > 0 ? first_blocks : 1];
  Sum m_second_sum[row_blocks][second_blocks > 0 ? second_blocks : 1];

 public:
  KOKKOS_FORCEINLINE_FUNCTION MmaBackwardEngine(Member const& member, MmaBackwardData<ScalarType> const& data)
      : Base(member, data.arguments, data.delta, data.tile.scratch_bytes, MmaLane::here(),
             16 * row_blocks * member.team_rank(), 0) {}

  /// Which columns of the sums are computed next.
  KOKKOS_FORCEINLINE_FUNCTION void set_part(int part) { m_part = part; }

  KOKKOS_FORCEINLINE_FUNCTION void begin(Sequence const& sequence, Tile const& tile) {
    Base::begin_own(sequence, tile);
    clear(m_first_sum);
    clear(m_second_sum);
  }

  KOKKOS_FORCEINLINE_FUNCTION void multiply(Tile const& tile) {
    Base::await_other(tile);
    m_member.team_barrier();
    Base::copy_next();
    Base::multiply_for_scores(warps_rows(own_first()), other_first());
    // dV needs no gradients of the weights.
    if constexpr (first_blocks > 0)
      Base::multiply_for_gradients(warps_rows(own_second()), other_second());
    else
      clear(m_gradients);
    Base::complete_scores(tile);
  }

  KOKKOS_FORCEINLINE_FUNCTION void accumulate(Tile const&) {
    if constexpr (second_blocks > 0)
      add_product<Arithmetic, stride>(m_scores, other_second(), m_part * shape.second_columns, m_lane, m_second_sum);
    if constexpr (first_blocks > 0)
      add_product<Arithmetic, stride>(m_gradients, other_first(), m_part * shape.first_columns, m_lane, m_first_sum);
  }

  KOKKOS_FORCEINLINE_FUNCTION void finish(Tile const& tile) {
    // The place of the own rows serves for the sums: with no tile of the other side, they may still be on their way.
    wait_for_copies();
    m_member.team_barrier();
    if constexpr (first_blocks > 0)
      store(own == Side::queries ? m_arguments.dq : m_arguments.dk, tile, m_arguments.head_dim,
            m_part * shape.first_columns, m_arguments.scale, m_first_sum, warps_rows(own_first()));
    if constexpr (second_blocks > 0)
      store(m_arguments.dv, tile, m_arguments.value_dim, m_part * shape.second_columns, T(1), m_second_sum,
            warps_rows(own_first()));
  }
};

}  // namespace KokkosAttention::Impl

#endif
