// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTPREFETCH_HPP
#define KOKKOSATTENTION_HOSTPREFETCH_HPP

#include <KokkosAttention_HostVariant.hpp>
#include <KokkosAttention_MatrixRows.hpp>

#include <Kokkos_Core.hpp>

#include <cstddef>
#include <type_traits>

/// \file
/// While a thread computes, it asks for what it will read next, a few lines with each block of a product, as a core has
/// room for few requests: many short sequences, whose next one no prefetcher of the processor foresees, and few queries
/// against many keys, where computing would else wait for memory and memory for computing. What it will write is asked
/// for as well.

namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT {

class HostPrefetch {
  static constexpr int most_arrays = 8, line_bytes = 64;

  struct Rows {
    std::byte const* data;
    std::ptrdiff_t stride;  // in bytes
    int rows, row_bytes;
    bool writes;
  };
  Rows m_arrays[most_arrays];
  int m_count = 0, m_lines = 0, m_lines_a_step = 0;
  int m_array = 0, m_row = 0, m_byte = 0;  // where it is

 public:
  /// \tparam Element const where the rows will be read
  template <class Element>
  void add(MatrixRows<Element> const& rows) {
    if (rows.column_stride != 1 || m_count == most_arrays) return;
    constexpr int size  = sizeof(Element);
    m_arrays[m_count++] = {reinterpret_cast<std::byte const*>(rows.data), rows.row_stride * size, rows.rows,
                           rows.columns * size, !std::is_const_v<Element>};
    m_lines += rows.rows * ((rows.columns * size + line_bytes - 1) / line_bytes);
  }

  /// Whether something is left to ask for.
  bool active() const { return m_array < m_count; }

  /// Divides what was added into steps.
  void divide(int steps) { m_lines_a_step = steps > 0 ? (m_lines + steps - 1) / steps : 0; }

  KOKKOS_FORCEINLINE_FUNCTION void step() {
    for (int n = 0; n < m_lines_a_step && m_array < m_count; ++n) {
      Rows const& array           = m_arrays[m_array];
      std::byte const* const line = array.data + m_row * array.stride + m_byte;
      if (array.writes)
        __builtin_prefetch(line, 1, 3);
      else
        __builtin_prefetch(line, 0, 2);
      m_byte += line_bytes;
      if (m_byte < array.row_bytes) continue;
      m_byte = 0;
      if (++m_row < array.rows) continue;
      m_row = 0;
      ++m_array;
    }
  }
};

}  // namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT

#endif
