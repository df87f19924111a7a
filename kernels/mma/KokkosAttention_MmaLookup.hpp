// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMALOOKUP_HPP
#define KOKKOSATTENTION_MMALOOKUP_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_Loops.hpp>
#include <KokkosAttention_MmaPlace.hpp>

#include <Kokkos_Core.hpp>

#include <cstdint>

/// \file
/// How a lane looks up what an array (a bias) has for each of its scores: from one place a row, with all loads
/// of a row before the first number is used.

namespace KokkosAttention::Impl {

/// The numbers of a matrix that belong to a lane's part of a tile.
/// \tparam own the side whose numbers the tile's rows are; its columns are those of the other
template <Side own, int row_blocks, int column_blocks, class Number>
class MmaLookup {
  struct alignas(2 * sizeof(Number)) Pair {
    Number value[2];
  };

  MmaPlace const& m_place;
  Number const* m_first;
  index_t m_row_stride, m_column_stride;

 public:
  KOKKOS_FORCEINLINE_FUNCTION MmaLookup(Tensor<Number const> const& numbers, int b, int h, MmaPlace const& place)
      : m_place(place),
        m_first(own == Side::queries ? &numbers(b, h, place.row, place.column)
                                     : &numbers(b, h, place.column, place.row)),
        m_row_stride(numbers.stride[own == Side::queries ? 2 : 3]),
        m_column_stride(numbers.stride[own == Side::queries ? 3 : 2]) {}

  /// f(b, n, h, e, number) for the elements that the tile has.
  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void for_each(F const& f) const {
    if (!m_place.template holds_all<row_blocks, column_blocks>())
      return with_rows([&](int r, Number const* row) { look_up<false>(r, row, m_column_stride, f); });
    // Numbers that lie side by side: of keys, in the columns of tiles of queries.
    if constexpr (own == Side::queries) {
      if (m_column_stride == 1 && m_row_stride % 2 == 0 &&
          reinterpret_cast<std::uintptr_t>(m_first) % sizeof(Pair) == 0)
        return with_rows([&](int r, Number const* row) { look_up_pairs(r, reinterpret_cast<Pair const*>(row), f); });
      with_rows([&](int r, Number const* row) { look_up<true>(r, row, m_column_stride, f); });
    } else {
      with_rows([&](int r, Number const* row) { look_up<true>(r, row, m_column_stride, f); });
    }
  }

 private:
  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void with_rows(F const& f) const {
    KOKKOSATTENTION_UNROLL
    for (int r = 0; r < 2 * row_blocks; ++r) f(r, m_first + 8 * r * m_row_stride);
  }

  template <bool whole, class F>
  KOKKOS_FORCEINLINE_FUNCTION void look_up(int r, Number const* row, index_t column_stride, F const& f) const {
    Number numbers[column_blocks][2];
    for_each_column([&](int n, int e) {
      if (whole || m_place.holds(8 * r, 8 * n + e)) numbers[n][e] = row[(8 * n + e) * column_stride];
    });
    for_each_column([&](int n, int e) {
      if (whole || m_place.holds(8 * r, 8 * n + e)) f(r / 2, n, r % 2, e, numbers[n][e]);
    });
  }
  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void look_up_pairs(int r, Pair const* row, F const& f) const {
    Pair pairs[column_blocks];
    KOKKOSATTENTION_UNROLL
    for (int n = 0; n < column_blocks; ++n) pairs[n] = row[4 * n];
    for_each_column([&](int n, int e) { f(r / 2, n, r % 2, e, pairs[n].value[e]); });
  }
  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION static void for_each_column(F const& f) {
    KOKKOSATTENTION_UNROLL
    for (int n = 0; n < column_blocks; ++n) {
      KOKKOSATTENTION_UNROLL
      for (int e = 0; e < 2; ++e) f(n, e);
    }
  }
};

}  // namespace KokkosAttention::Impl

#endif
