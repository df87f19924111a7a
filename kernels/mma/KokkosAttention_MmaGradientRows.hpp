// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMAGRADIENTROWS_HPP
#define KOKKOSATTENTION_MMAGRADIENTROWS_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_MmaFlags.hpp>
#include <KokkosAttention_MmaLookup.hpp>
#include <KokkosAttention_MmaPlace.hpp>
#include <KokkosAttention_MmaRows.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The lane's part of a backward tile, scores and their gradients, in registers: rows are queries and columns keys, or
/// the other way round.

namespace KokkosAttention::Impl {

/// What pairs have in common with their query; prepared (MmaStatistics) if the exponential puts factors off.
template <class T, int queries>
struct MmaQueryStatistics {
  T lse[queries], delta[queries];
};

/// \tparam less_delta gradients have delta subtracted already
template <class Arithmetic, class T, Side own, int row_blocks, int column_blocks, bool less_delta>
class MmaGradientRows {
  using Sum         = typename Arithmetic::Sum;
  using Exponential = typename Arithmetic::Exponential;

 public:
  using value_type = T;

  static constexpr bool takes_masks_apart        = true;
  static constexpr bool gradients_are_less_delta = less_delta;
  /// Queries of which the lane holds pairs.
  static constexpr int queries = own == Side::queries ? 2 * row_blocks : 2 * column_blocks;
  using Statistics             = MmaQueryStatistics<T, queries>;

 private:
  Sum (&m_scores)[row_blocks][column_blocks];
  Sum (&m_gradients)[row_blocks][column_blocks];
  T& m_factor;
  Statistics const& m_statistics;
  unsigned const (&m_kept)[2 * row_blocks];
  Exponential m_exponential;
  MmaPlace m_place;

 public:
  /// \param factor of all scores, above 0, which may be put off until their exponentials
  KOKKOS_FORCEINLINE_FUNCTION MmaGradientRows(Sum (&scores)[row_blocks][column_blocks],
                                              Sum (&gradients)[row_blocks][column_blocks], T& factor,
                                              Statistics const& statistics, unsigned const (&kept)[2 * row_blocks],
                                              Exponential const& exponential, MmaPlace const& place)
      : m_scores(scores),
        m_gradients(gradients),
        m_factor(factor),
        m_statistics(statistics),
        m_kept(kept),
        m_exponential(exponential),
        m_place(place) {}

  KOKKOS_FORCEINLINE_FUNCTION T weight(index_t i, T score) const {
    if constexpr (puts_factor_off<Exponential>)
      return m_exponential.of_product(score, m_exponential.in_base_2(m_factor), m_statistics.lse[query(i)]);
    else
      return m_exponential(score - m_statistics.lse[query(i)]);
  }
  KOKKOS_FORCEINLINE_FUNCTION T delta(index_t i) const {
    T const x = m_statistics.delta[query(i)];
    return puts_factor_off<Exponential> ? -x : x;
  }

  KOKKOS_FORCEINLINE_FUNCTION bool kept(index_t i, index_t j) const {
    int const r = static_cast<int>((own == Side::queries ? i : j) - m_place.row) / 8;
    int const c = static_cast<int>((own == Side::queries ? j : i) - m_place.column);
    return m_kept[r] >> (c / 8 * 2 + c % 8) & 1u;
  }

  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void update(F const& f) const {
    if constexpr (puts_factor_off<Exponential>) apply_factor(m_scores, m_factor);
    for_each_element_within<row_blocks, column_blocks>(m_place,
                                                       [&](int b, int n, int h, int e) { apply(f, b, n, h, e); });
  }

  KOKKOS_FORCEINLINE_FUNCTION bool is_whole() const { return m_place.template holds_all<row_blocks, column_blocks>(); }
  /// The same of a tile that is whole.
  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void update_whole(F const& f) const {
    T const factor = m_factor;
    m_factor       = 1;
    for_each_element<row_blocks, column_blocks>([&](int b, int n, int h, int e) {
      m_scores[b][n].value[2 * h + e] *= factor;
      apply(f, b, n, h, e);
    });
  }

  /// The same for all that the registers hold, also beyond the end of the tile: the warp's lanes do it together.
  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void update_lanes(F const& f) const {
    for_each_element<row_blocks, column_blocks>([&](int b, int n, int h, int e) { apply(f, b, n, h, e); });
  }

  /// Beyond the end of the tile, by what its last rows and columns are multiplied by: a branch would cost more.
  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void multiply_gradients(F const& f) const {
    for_each_element<row_blocks, column_blocks>([&](int b, int n, int h, int e) {
      index_t const row    = m_place.row + Kokkos::min(16 * b + 8 * h, m_place.rows - 1);
      index_t const column = m_place.column + Kokkos::min(8 * n + e, m_place.columns - 1);
      m_gradients[b][n].value[2 * h + e] *= own == Side::queries ? f(row, column) : f(column, row);
    });
  }

  /// Adds the bias of batch entry b and head h.
  template <class Number>
  KOKKOS_FORCEINLINE_FUNCTION void add(Tensor<Number const> const& bias, int b, int h) const {
    if constexpr (puts_factor_off<Exponential>) apply_factor(m_scores, m_factor);
    MmaLookup<own, row_blocks, column_blocks, Number>(bias, b, h, m_place)
        .for_each([&](int rb, int n, int hb, int e, Number const& number) {
          m_scores[rb][n].value[2 * hb + e] += static_cast<T>(number);
        });
  }

  KOKKOS_FORCEINLINE_FUNCTION void keep_flagged(Tensor<bool const> const& flags, int b, int h) const {
    MmaFlags<own, row_blocks, column_blocks>(flags, b, h, m_place).for_each_dropped([&](int rb, int n, int hb, int e) {
      drop(rb, n, 2 * hb + e);
    });
  }

  template <class KeysOf, class QueriesOf>
  KOKKOS_FORCEINLINE_FUNCTION void keep(KeysOf const& keys_of, QueriesOf const& queries_of) const {
    auto const columns_of = [&](index_t row) {
      if constexpr (own == Side::queries)
        return MmaColumns(keys_of(row), m_place.column);
      else
        return MmaColumns(queries_of(row), m_place.column);
    };
    KOKKOSATTENTION_UNROLL
    for (int r = 0; r < 2 * row_blocks; ++r) {
      MmaColumns const columns = columns_of(m_place.row + 8 * r);
      KOKKOSATTENTION_UNROLL
      for (int n = 0; n < column_blocks; ++n) {
        KOKKOSATTENTION_UNROLL
        for (int e = 0; e < 2; ++e)
          if (!columns.holds(8 * n + e)) drop(r / 2, n, 2 * (r % 2) + e);
      }
    }
  }

 private:
  KOKKOS_FORCEINLINE_FUNCTION int query(index_t i) const {
    int const n = static_cast<int>(i - (own == Side::queries ? m_place.row : m_place.column));
    return own == Side::queries ? n / 8 : n / 8 * 2 + n % 8;
  }

  KOKKOS_FORCEINLINE_FUNCTION void drop(int b, int n, int e) const {
    m_scores[b][n].value[e]    = -Kokkos::Experimental::infinity_v<T>;
    m_gradients[b][n].value[e] = 0;
  }

  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void apply(F const& f, int b, int n, int h, int e) const {
    int const row = m_place.row + 16 * b + 8 * h, column = m_place.column + 8 * n + e;
    T &score = m_scores[b][n].value[2 * h + e], &gradient = m_gradients[b][n].value[2 * h + e];
    if constexpr (own == Side::queries)
      f(row, column, score, gradient);
    else
      f(column, row, score, gradient);
  }
};

}  // namespace KokkosAttention::Impl

#endif
