// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMAPLACE_HPP
#define KOKKOSATTENTION_MMAPLACE_HPP

#include <KokkosAttention_Types.hpp>

#include <Kokkos_Core.hpp>

namespace KokkosAttention::Impl {

/// Where a lane's part of a tile lies: rows row + 16 b + 8 h, columns column + 8 n + e.
struct MmaPlace {
  int row, column;    // positions in the sequence
  int rows, columns;  // how far the tile goes from there

  KOKKOS_FORCEINLINE_FUNCTION bool holds(int r, int c) const { return r < rows && c < columns; }
  /// All elements of a number of blocks.
  template <int row_blocks, int column_blocks>
  KOKKOS_FORCEINLINE_FUNCTION bool holds_all() const {
    return holds(16 * row_blocks - 8, 8 * column_blocks - 7);
  }
};

/// Which of the columns from `first` on are in a range.
struct MmaColumns {
  int begin, end;

  template <class Range>
  KOKKOS_FORCEINLINE_FUNCTION MmaColumns(Range const& range, index_t first)
      : begin(bounded(range.begin - first)), end(bounded(range.end - first)) {}
  KOKKOS_FORCEINLINE_FUNCTION bool holds(int c) const { return c >= begin && c < end; }

 private:
  /// In 32 bits, beyond any tile's columns.
  KOKKOS_FORCEINLINE_FUNCTION static int bounded(index_t n) {
    constexpr index_t beyond = 1024;
    return static_cast<int>(Kokkos::clamp(n, -beyond, beyond));
  }
};

}  // namespace KokkosAttention::Impl

#endif
