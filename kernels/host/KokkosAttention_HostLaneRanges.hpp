// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTLANERANGES_HPP
#define KOKKOSATTENTION_HOSTLANERANGES_HPP

#include <KokkosAttention_HostVector.hpp>
#include <KokkosAttention_Types.hpp>

#include <Kokkos_Core.hpp>

#include <cstdint>
#include <cstring>
#include <type_traits>

/// \file
/// Masks in the host engine: which rows of a tile each lane holds.

namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT {

template <class T>
class HostLaneRanges {
  using Integers = typename VectorTypes<T>::Integers;
  using Integer  = std::conditional_t<sizeof(T) == 8, std::int64_t, std::int32_t>;
  using Vector   = HostVector<T>;

  Integers m_begin, m_end;
  int m_rows;
  int m_whole_begin = 0, m_whole_end;  // all lanes hold these rows

 public:
  /// \param range_of range_of(lane).begin and .end
  /// \param lanes those that count; the others hold all rows
  /// \param first position of the first row
  template <class RangeOf>
  HostLaneRanges(RangeOf const& range_of, int lanes, index_t first, int rows) : m_rows(rows), m_whole_end(rows) {
    Integer begin[Vector::lanes], end[Vector::lanes];
    for (int l = 0; l < Vector::lanes; ++l) {
      begin[l] = 0;
      end[l]   = rows;
      if (l >= lanes) continue;
      auto const range = range_of(l);
      begin[l]         = static_cast<Integer>(Kokkos::clamp(range.begin - first, index_t(0), index_t(rows)));
      end[l]           = static_cast<Integer>(Kokkos::clamp(range.end - first, index_t(0), index_t(rows)));
      m_whole_begin    = Kokkos::max(m_whole_begin, static_cast<int>(begin[l]));
      m_whole_end      = Kokkos::min(m_whole_end, static_cast<int>(end[l]));
    }
    std::memcpy(&m_begin, begin, sizeof(begin));
    std::memcpy(&m_end, end, sizeof(end));
  }

  /// f(row) for those that some lane may not hold.
  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void for_each_cut_row(F const& f) const {
    for (int r = 0; r < Kokkos::min(m_whole_begin, m_rows); ++r) f(r);
    for (int r = Kokkos::max(m_whole_begin, m_whole_end); r < m_rows; ++r) f(r);
  }

  /// The number of lanes that hold row r, else `dropped`.
  KOKKOS_FORCEINLINE_FUNCTION Vector held(int r, Vector numbers, T dropped) const {
    Integers const row = Integers{} + r;
    return ((row >= m_begin) & (row < m_end)) ? numbers.numbers() : Vector(dropped).numbers();
  }
};

}  // namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT

#endif
