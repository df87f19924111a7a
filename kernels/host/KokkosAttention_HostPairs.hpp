// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTPAIRS_HPP
#define KOKKOSATTENTION_HOSTPAIRS_HPP

#include <KokkosAttention_HostVariant.hpp>

#if defined(KOKKOSATTENTION_HOST_BF16)

#include <KokkosAttention_HostConversion.hpp>
#include <KokkosAttention_HostPairProduct.hpp>
#include <KokkosAttention_HostTranspose.hpp>

#include <Kokkos_Core.hpp>

#include <cstddef>

/// \file
/// Factors of products as pairs of bfloat16, two neighbouring steps each, as the processor's instructions for them take
/// them. Steps are padded with zeros to what a tile register holds.

namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT {

/// The same members as HostNumbers.
class HostPairs {
 public:
  using T      = float;
  using Vector = HostVector<float>;
  using Left   = HostLeft<HostPair>;
  using Right  = HostRight<Bits32>;
  using Source = MatrixRows<bhalf_t const>;

  static constexpr bool pairs          = true;
  static constexpr bool tile_registers = left_tiles;
  static constexpr int part_steps      = 32;

  struct Both {
    Left rows, columns;
  };

  /// A tile register loads a row at a time: where all tiles have 16 whole rows, near each other, these are left there.
  static Left rows(Source const& source, std::byte* to) {
    if (left_tiles && source.column_stride == 1 && source.columns % chunk_steps == 0 && source.row_stride % 2 == 0 &&
        source.row_stride <= 2 * source.columns && source.rows % width == 0)
      return {reinterpret_cast<HostPair const*>(source.data), source.row_stride / 2, 1};
    pack_rows(source, to);
    return packed_rows(to, source.columns);
  }

  static void pack_rows(Source const& source, std::byte* to) {
    auto* const vectors = reinterpret_cast<Bits32*>(to);
    int const chunks    = step_chunks(source.columns);
    for (int i = 0; i < source.rows; ++i)
      for (int c = 0; c < chunks; ++c) vectors[left_place(i, c, chunks)] = neighbours(source, i, c * chunk_steps);
  }
  /// What pack_rows packed there, of rows of so many columns.
  static Left packed_rows(std::byte const* at, int columns) { return left(at, step_chunks(columns)); }

  static Left columns(Source const& source, std::byte* to) {
    auto* const vectors = reinterpret_cast<Bits32*>(to);
    int const chunks    = step_chunks(source.rows);
    for (int c = 0; c < chunks; ++c)
      for (int d = 0; d < source.columns; d += width) {
        Bits32 block[width];
        for (int n = 0; n < width; ++n) block[n] = interleaved_rows(source, c * chunk_steps + 2 * n, d);
        transpose(block);
        for (int n = 0; n < width; ++n)
          if (d + n < source.columns) vectors[left_place(d + n, c, chunks)] = block[n];
      }
    return packed_columns(to, source.rows);
  }
  /// What columns() packed there, of so many rows.
  static Left packed_columns(std::byte const* at, int rows) { return left(at, step_chunks(rows)); }

  static Both both(Source const& source, std::byte* rows_to, std::byte* columns_to) {
    return {rows(source, rows_to), columns(source, columns_to)};
  }

  static Left from_step(Left const& left, int step) { return left.from_step(step / 2); }

  static Right lanes(Source const& source, int vectors, std::byte* to) {
    auto* const pairs = reinterpret_cast<Bits32*>(to);
    int const chunks  = step_chunks(source.columns);
    for (int v = 0; v < vectors; ++v)
      for (int c = 0; c < chunks; ++c) {
        Bits32 block[width];
        for (int n = 0; n < width; ++n) block[n] = neighbours(source, v * width + n, c * chunk_steps);
        transpose(block);
        for (int n = 0; n < width; ++n) pairs[(v * chunks + c) * width + n] = block[n];
      }
    return packed_lanes(to, source.columns, vectors);
  }

  static Right packed_lanes(std::byte const* at, int steps, int /*vectors*/) { return right(at, steps); }

  static Right steps(Source const& source, std::byte* to) {
    auto* const pairs = reinterpret_cast<Bits32*>(to);
    int const rows    = step_chunks(source.rows) * width;
    for (int v = 0; v * width < source.columns; ++v)
      for (int r = 0; r < rows; ++r) pairs[v * rows + r] = interleaved_rows(source, 2 * r, v * width);
    return right(to, source.rows);
  }

  /// Vector by vector, so that those of a column are neighbours.
  static HostStrides strides(index_t rows, int /*vectors*/) { return {1, (rows + width - 1) / width * width}; }

  struct WeightWriter {
    Bits32* pairs;

    KOKKOS_FORCEINLINE_FUNCTION void set(int j, Vector first, Vector second) const {
      pairs[j / 2] = pairs_of_lanes(first, second);
    }
    KOKKOS_FORCEINLINE_FUNCTION void set_last(int j, Vector last) const {
      pairs[j / 2] = pairs_of_lanes(last, Vector(0.f));
    }
  };
  static WeightWriter weight_writer(int v, int room, std::byte* to) {
    return {reinterpret_cast<Bits32*>(to) + v * step_chunks(room) * width};
  }
  /// Where those of vector v from step j on are written, an even one.
  static std::byte* weight_place(int v, int j, int room, std::byte* to) {
    return reinterpret_cast<std::byte*>(weight_writer(v, room, to).pairs + j / 2);
  }
  static void finish_weights(Vector const* scores, HostStrides const& strides, int steps, int vectors, int room,
                             bool in_place, std::byte* to) {
    for (int v = 0; v < vectors; ++v) {
      WeightWriter const writer = weight_writer(v, room, to);
      if (in_place) {
        Vector const* const column = scores + strides(0, v);
        int j                      = 0;
        for (; j + 2 <= steps; j += 2) writer.set(j, column[j * strides.row], column[(j + 1) * strides.row]);
        if (j < steps) writer.set_last(j, column[j * strides.row]);
      }
      for (int n = (steps + 1) / 2; n < step_chunks(steps) * width; ++n) writer.pairs[n] = Bits32{};
    }
  }
  static Right weights(Vector const*, HostStrides const&, int room, std::byte* to) { return right(to, room); }

  /// Rows of pairs of neighbouring lanes.
  struct WeightRowWriter {
    std::uint16_t* numbers;
    int chunks, columns;

    /// Vector v of row i.
    KOKKOS_FORCEINLINE_FUNCTION void set(int i, int v, Vector vector) const {
      // Lanes beyond the columns hold anything, and would be multiplied by zeros.
      Bits16 const bits = rounded_lanes(first_lanes(vector, columns - v * width));
      std::memcpy(place(i, v), &bits, sizeof(bits));
    }
    KOKKOS_FORCEINLINE_FUNCTION std::uint16_t* place(int i, int v) const {
      return numbers + left_place(i, v / 2, chunks) * chunk_steps + v % 2 * width;
    }
  };
  static WeightRowWriter weight_row_writer(int columns, int vectors, std::byte* to) {
    return {reinterpret_cast<std::uint16_t*>(to), step_chunks(vectors * width), columns};
  }
  static void pad_weight_rows(int rows, int vectors, std::byte* to) {
    if (vectors % 2 == 0) return;
    WeightRowWriter const writer = weight_row_writer(0, vectors, to);
    for (int i = 0; i < rows; ++i) std::memset(writer.place(i, vectors), 0, width * sizeof(std::uint16_t));
  }
  static Left weight_rows(Vector const*, bool, int vectors, std::byte* to) {
    return left(to, step_chunks(vectors * width));
  }

  /// exp(factor * score - shift) as 2^x, within 2^-22 and the rounding of x: a pair's numbers have 8 bits, but the sum
  /// of weights 24. Results below the smallest normal number are 0. The polynomial is the one of least relative error
  /// for what is above the integer below x (Lawson's algorithm).
  KOKKOS_FORCEINLINE_FUNCTION static Vector exponential(float factor, Vector score, Vector shift) {
    constexpr float log2_e         = 1.44269504f;
    constexpr float coefficient[6] = {0x1.ec3206p-10f, 0x1.26900ep-7f, 0x1.c95446p-5f,
                                      0x1.ebd5a8p-3f,  0x1.62e4f6p-1f, 0x1.fffffep-1f};
    auto const x                   = (factor * log2_e) * score.numbers() - log2_e * shift.numbers();
    auto const r                   = Vector::fraction(x);
    auto p                         = coefficient[0] + VectorTypes<float>::Numbers{};
    KOKKOSATTENTION_UNROLL
    for (int i = 1; i < 6; ++i) p = p * r + coefficient[i];
    return Vector::scaled(p, x, x, -126.f);
  }

  /// Whether all lanes are in [low, high].
  KOKKOS_FORCEINLINE_FUNCTION static bool all_between(Vector numbers, float low, float high) {
    return _mm512_cmp_ps_mask(numbers.numbers(), _mm512_set1_ps(low), _CMP_NGE_UQ) == 0 &&
           _mm512_cmp_ps_mask(numbers.numbers(), _mm512_set1_ps(high), _CMP_NLE_UQ) == 0;
  }

  template <class Target>
  static void product(int rows, int vectors, int steps, Left const& left, Right const& right, Target const& target,
                      HostPrefetch& prefetch) {
    multiply(rows, vectors, (steps + 1) / 2, left, right, target, prefetch);
  }
  static constexpr int blocks(int rows, int vectors) { return pair_product_blocks(rows, vectors); }

 private:
  static constexpr int width       = Vector::lanes;
  static constexpr int chunk_steps = 2 * width;  // of a vector of pairs
  static_assert(part_steps % chunk_steps == 0);

  static int step_chunks(int steps) { return (steps + chunk_steps - 1) / chunk_steps; }

  /// Of the vector with a chunk of the steps of row i.
  KOKKOS_FORCEINLINE_FUNCTION static index_t left_place(int i, int chunk, int chunks) {
    constexpr int rows = left_tiles ? width : 1;
    return (i / rows * chunks + chunk) * rows + i % rows;
  }
  static Left left(std::byte const* data, int chunks) {
    return {reinterpret_cast<HostPair const*>(data), chunks * width, left_tiles ? width : 1};
  }
  static Right right(std::byte const* data, int steps) {
    return {reinterpret_cast<Bits32 const*>(data), {1, step_chunks(steps) * width}};
  }

  /// Numbers [d, d + count) of row i, 0 where there are none.
  template <class Bits>
  KOKKOS_FORCEINLINE_FUNCTION static Bits numbers(Source const& source, int i, int d) {
    constexpr int count = sizeof(Bits) / sizeof(std::uint16_t);
    Bits bits           = {};
    if (i >= source.rows) return bits;
    if (source.column_stride == 1 && d + count <= source.columns) {
      std::memcpy(&bits, &source(i, d), sizeof(bits));
    } else {
      std::uint16_t some[count] = {};
      for (int n = 0; n < count && d + n < source.columns; ++n)
        std::memcpy(some + n, &source(i, d + n), sizeof(some[n]));
      std::memcpy(&bits, some, sizeof(bits));
    }
    return bits;
  }

  /// Pairs of neighbours in row i.
  KOKKOS_FORCEINLINE_FUNCTION static Bits32 neighbours(Source const& source, int i, int d) {
    return numbers<Bits32>(source, i, d);
  }
  /// Pairs of a number of row i and the one below it.
  KOKKOS_FORCEINLINE_FUNCTION static Bits32 interleaved_rows(Source const& source, int i, int d) {
    return pairs_of_rows(numbers<Bits16>(source, i, d), numbers<Bits16>(source, i + 1, d));
  }
};

}  // namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT

#endif
#endif
