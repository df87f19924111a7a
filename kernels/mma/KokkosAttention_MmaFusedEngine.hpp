// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMAFUSEDENGINE_HPP
#define KOKKOSATTENTION_MMAFUSEDENGINE_HPP

#include <KokkosAttention_MmaTurnedProduct.hpp>
#include <KokkosAttention_MmaTurnsEngine.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The tile operations of a backward kernel of five products each of whose warps owns 16 or 32 keys, with their sums of
/// dK and dV in its registers. For dQ, all put their gradients of scores down and multiply them with the own keys, some
/// queries and columns each.

namespace KokkosAttention::Impl {

/// \tparam in_packs all rows can be copied 16 bytes at a time
/// \tparam drops there may be dropout
/// \tparam splits_ahead see MmaTurnsEngine
template <Scalar ScalarType, class Member, int shape_number, bool in_packs, bool drops, bool splits_ahead>
class MmaFusedEngine : public MmaTurnsEngine<ScalarType, Member, shape_number, in_packs, drops, false, splits_ahead> {
  using Base = MmaTurnsEngine<ScalarType, Member, shape_number, in_packs, drops, false, splits_ahead>;
  using Base::clear, Base::layout, Base::own_first, Base::own_second, Base::own_stride, Base::other_first,
      Base::other_second, Base::row_blocks, Base::shape, Base::store, Base::stride, Base::warps_rows;
  using Base::m_arguments, Base::m_gradients, Base::m_lane, Base::m_member, Base::m_row, Base::m_scores;
  using typename Base::Arithmetic, typename Base::Sum, typename Base::T;

  // Of dQ, a warp computes 16 columns or more of some of the tile's queries.
  static constexpr int column_parts = shape.head_columns / 16 < shape.warps ? shape.head_columns / 16 : shape.warps;
  static constexpr int columns      = shape.head_columns / column_parts;
  static constexpr int queries      = shape.columns * column_parts / shape.warps;
  static_assert(queries % 16 == 0 && Arithmetic::splits);

  static constexpr int turned_stride = Arithmetic::stride(shape.columns);
  static constexpr int sum_blocks    = shape.head_columns / 8;

  Sum m_key_sum[row_blocks][sum_blocks], m_value_sum[row_blocks][sum_blocks];

 public:
  KOKKOS_FORCEINLINE_FUNCTION MmaFusedEngine(Member const& member, MmaBackwardData<ScalarType> const& data)
      : Base(member, data, 16 * row_blocks * member.team_rank(), 0) {}

  KOKKOS_FORCEINLINE_FUNCTION void begin(Sequence const& sequence, Tile const& tile) {
    Base::begin_item(sequence, tile);
    clear(m_key_sum);
    clear(m_value_sum);
  }

  KOKKOS_FORCEINLINE_FUNCTION void multiply(Tile const&) {
    Base::begin_step();
    if constexpr (shape.head_columns > 64) find_places_anew();
    Base::multiply_for_scores(warps_rows(own_first()), other_first());
    Base::multiply_for_gradients(warps_rows(own_second()), other_second());
    Base::complete_scores();
  }

  KOKKOS_FORCEINLINE_FUNCTION void accumulate(Tile const&) {
    if constexpr (shape.head_columns > 64) find_places_anew();
    add_product<Arithmetic, stride>(m_scores, other_second(), 0, m_lane, m_value_sum);
    add_product<Arithmetic, stride>(m_gradients, other_first(), 0, m_lane, m_key_sum);
    int const first_row = m_row - m_lane.quad;
    put_factors<Arithmetic, own_stride, turned_stride>(m_gradients, warps_rows(own_first()),
                                                       turned() + first_row * turned_stride,
                                                       powers() + m_member.team_rank() * shape.columns, m_lane);
    Base::wait_for_turn();
    m_member.team_barrier();
    find_places_anew();
    add_to_queries();
  }

  KOKKOS_FORCEINLINE_FUNCTION void finish() {
    Tile const tile = Base::end_item();
    store(m_arguments.dk, tile, m_arguments.head_dim, 0, m_arguments.scale, m_key_sum, warps_rows(own_first()));
    store(m_arguments.dv, tile, m_arguments.value_dim, 0, T(1), m_value_sum, warps_rows(own_first()));
  }

 private:
  /// What is computed of the lane from here on is not computed before: compilers would compute places before the loop,
  /// and spill others for them.
  KOKKOS_FORCEINLINE_FUNCTION void find_places_anew() { m_lane = MmaLane::of(hidden(m_lane.number())); }

  /// Gradients of scores, a row for each of the own rows.
  KOKKOS_FORCEINLINE_FUNCTION ScalarType* turned() const {
    return Base::template in_scratch<ScalarType>(layout.turned);
  }
  KOKKOS_FORCEINLINE_FUNCTION float* powers() const { return Base::template in_scratch<float>(layout.weights); }

  /// dQ = scale dS K of some queries and columns.
  KOKKOS_FORCEINLINE_FUNCTION void add_to_queries() const {
    int const first_column = columns * (m_member.team_rank() % column_parts);
    int const first_query  = queries * (m_member.team_rank() / column_parts);
    Sum sums[queries / 16][columns / 8];
    multiply_turned<Arithmetic, shape.warps, 16 * row_blocks, own_stride, turned_stride, shape.columns>(
        turned(), first_query, powers(), own_first(), first_column, m_lane, sums);
    Base::template add_to_queries<true>(
        sums, m_arguments.scale, first_column, [&](int b, int h) { return first_query + 16 * b + 8 * h + m_lane.quad; },
        [&](int n, int e) { return Arithmetic::column(n, e, m_lane); });
  }
};

}  // namespace KokkosAttention::Impl

#endif
