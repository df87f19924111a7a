// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef DENOISE_PIXELORDER_HPP
#define DENOISE_PIXELORDER_HPP

#include <KokkosAttention.hpp>

#include <Kokkos_Core.hpp>

/// The order in which a picture's pixels make a sequence: strips of eight rows, each strip column by column. So a tile
/// of the attention, which is a piece of the sequence, is a compact piece of the picture too, near few others.
struct PixelOrder {
  using index_t = KokkosAttention::index_t;

  static constexpr int strip_rows = 8;

  struct Position {
    int row, column;
  };

  /// Pixels with rows [row_begin, row_end) and columns [column_begin, column_end).
  struct Box {
    int row_begin, row_end;
    int column_begin, column_end;
  };

  int height, width;

  KOKKOS_FUNCTION index_t length() const { return index_t(height) * width; }

  /// Where in the sequence the strip begins that begins at this row; its end for rows below the picture.
  KOKKOS_FUNCTION index_t strip_begin(int row) const { return index_t(Kokkos::min(row, height)) * width; }

  KOKKOS_FUNCTION Position position(index_t pixel) const {
    // Pictures have fewer than 2^31 pixels, and 32-bit divisions are the faster ones.
    int const strip         = static_cast<int>(pixel) / (strip_rows * width);
    int const in_strip      = static_cast<int>(pixel) - strip * strip_rows * width;
    int const rows_below    = height - strip * strip_rows;
    int const rows_of_strip = rows_below < strip_rows ? rows_below : strip_rows;  // the last strip may have fewer
    return {strip * strip_rows + in_strip % rows_of_strip, in_strip / rows_of_strip};
  }

  /// A box around the pixels [begin, end) of the sequence.
  KOKKOS_FUNCTION Box box(index_t begin, index_t end) const {
    Position const first = position(begin);
    Position const last  = position(end - 1);
    int const row_begin  = first.row / strip_rows * strip_rows;
    int const row_end    = Kokkos::min((last.row / strip_rows + 1) * strip_rows, height);
    bool const one_strip = row_end - row_begin <= strip_rows;
    return {row_begin, row_end, one_strip ? first.column : 0, one_strip ? last.column + 1 : width};
  }
};

#endif
