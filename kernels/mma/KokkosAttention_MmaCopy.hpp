// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMACOPY_HPP
#define KOKKOSATTENTION_MMACOPY_HPP

#include <KokkosAttention_Loops.hpp>
#include <KokkosAttention_MatrixRows.hpp>
#include <KokkosAttention_MmaArithmetic.hpp>

#include <Kokkos_Core.hpp>

#include <cstddef>
#include <cstdint>

/// \file
/// Asynchronous copies of rows into team scratch: they arrive while the team computes.

namespace KokkosAttention::Impl {

/// Some of a team's warps, which copy for all; the rank of one that does not is negative.
template <int warps>
struct MmaCopyingWarps {
  int rank;

  KOKKOS_FORCEINLINE_FUNCTION int team_rank() const { return rank; }
  KOKKOS_FORCEINLINE_FUNCTION static int team_size() { return warps; }
};

/// Begins to copy a number, or writes zero. Copies of less than 4 bytes are made at once.
template <class T>
KOKKOS_FORCEINLINE_FUNCTION void copy_number_ahead(T* to, T const* from, bool filled) {
  if constexpr (sizeof(T) >= 4)
    copy_ahead<sizeof(T)>(to, from, filled);
  else
    *to = filled ? *from : T(0);
}

/// Begins to copy rows to scratch, number (i, d) to scratch[place(i, d)], with zeros up to padded_rows and
/// padded_columns.
template <class Member, class T, class Place>
KOKKOS_FORCEINLINE_FUNCTION void copy_numbers_ahead(Member const& member, MatrixRows<T const> const& source,
                                                    int padded_rows, int padded_columns, T* scratch,
                                                    Place const& place) {
  int const lane = MmaLane::here().number();
  KOKKOSATTENTION_ROLLED
  for (int i = member.team_rank(); i < padded_rows; i += member.team_size()) {
    KOKKOSATTENTION_ROLLED
    for (int d = lane; d < padded_columns; d += 32) {
      bool const inside = i < source.rows && d < source.columns;
      copy_number_ahead(scratch + place(i, d), inside ? &source(i, d) : source.data, inside);
    }
  }
}

/// The same of 16-bit numbers, two at a time, to rows that are a stride apart.
template <class Member, class T>
KOKKOS_FORCEINLINE_FUNCTION void copy_pairs_ahead(Member const& member, MatrixRows<T const> const& source,
                                                  int padded_rows, int padded_columns, T* scratch, int stride) {
  int const lane = MmaLane::here().number();
  KOKKOSATTENTION_ROLLED
  for (int i = member.team_rank(); i < padded_rows; i += member.team_size()) {
    KOKKOSATTENTION_ROLLED
    for (int d = 2 * lane; d < padded_columns; d += 64) {
      bool const inside = i < source.rows && d < source.columns;
      copy_ahead<4>(scratch + i * stride + (d ^ swapped_columns<T>(i, stride)), inside ? &source(i, d) : source.data,
                    inside);
    }
  }
}

/// Whether rows lie so that some bytes at a time can be copied.
template <int bytes = 16, class T>
KOKKOS_FORCEINLINE_FUNCTION bool copies_in_packs(MatrixRows<T> const& source) {
  constexpr int pack = bytes / int(sizeof(T));
  return source.column_stride == 1 && source.row_stride % pack == 0 && source.columns % pack == 0 &&
         reinterpret_cast<std::uintptr_t>(source.data) % bytes == 0;
}

/// How a team's warps share rows that they copy in packs of 16 bytes to rows that are a stride apart: one row at once,
/// or several if they are short. Of swapped rows a warp copies 128 bytes of each of four at once: all that a lane
/// copies of a row is then a constant away from what it copies first, here and there, and takes no addresses of its
/// own.
template <class T, int padded_rows, int padded_columns, int stride, int warps>
class MmaPackCopy {
  static constexpr int pack     = 16 / int(sizeof(T));
  static constexpr int most     = swaps_columns<T>(stride) ? 8 : 32;
  static constexpr int lanes    = padded_columns / pack < most ? padded_columns / pack : most;  // for a row
  static constexpr int width    = pack * lanes;
  static constexpr int parts    = (padded_columns + width - 1) / width;  // of a row
  static constexpr int row_step = 32 / lanes * warps;
  static constexpr int count    = padded_rows / row_step + (padded_rows % row_step != 0);

  int m_row, m_column;  // of the lane's first pack

 public:
  KOKKOS_FORCEINLINE_FUNCTION explicit MmaPackCopy(int warp, int lane = MmaLane::here().number()) {
    // The compiler does not know that there are no more than 32.
    m_row    = lanes == 32 ? warp : warp * (32 / lanes) + lane / lanes;
    m_column = (lanes == 32 ? lane : lane % lanes) * pack;
  }

  /// From where rows begin to where the lane's first pack does.
  KOKKOS_FORCEINLINE_FUNCTION index_t offset(index_t row_stride) const { return m_row * row_stride + m_column; }

  /// \param source its data are those of the lane's first pack
  KOKKOS_FORCEINLINE_FUNCTION void operator()(MatrixRows<T const> const& source, T* scratch) const {
    T const* from = source.data;
    // Compared with constants: a number for each row would take a register all the time.
    int rows[parts];
    KOKKOSATTENTION_UNROLL
    for (int d = 0; d < parts; ++d) rows[d] = (m_column + d * width < source.columns ? source.rows : 0) - m_row;
    KOKKOSATTENTION_UNROLL
    for (int n = 0; n < count; ++n) {
      int const row = m_row + n * row_step;
      T* const to   = scratch + row * stride + (m_column ^ swapped_columns<T>(row, stride));
      KOKKOSATTENTION_UNROLL
      for (int d = 0; d < parts; ++d)
        if (padded_rows % row_step == 0 || row < padded_rows)
          copy_ahead<16>(to + d * width, from + d * width, n * row_step < rows[d]);
      from += row_step * source.row_stride;
    }
  }

  /// The same of the pack that follows the columns of each row.
  KOKKOS_FORCEINLINE_FUNCTION void copy_padding(MatrixRows<T const> const& source, T* scratch) const {
    constexpr int last = padded_columns - (parts - 1) * width;  // what the last part has of the columns
    static_assert(!swaps_columns<T>(stride));
    if (m_column != last - pack) return;
    T const* from = source.data + (parts - 1) * width + pack;
    KOKKOSATTENTION_UNROLL
    for (int n = 0; n < count; ++n) {
      int const row = m_row + n * row_step;
      if (padded_rows % row_step == 0 || row < padded_rows)
        copy_ahead<16>(scratch + row * stride + padded_columns, from, row < source.rows);
      from += row_step * source.row_stride;
    }
  }
};

/// The same to rows that are a stride apart.
/// \param in_packs what copies_in_packs says of the source
template <int padded_rows, int padded_columns, int stride, int warps, class Member, class T>
KOKKOS_FORCEINLINE_FUNCTION void copy_rows_ahead(Member const& member, MatrixRows<T const> const& source, T* scratch,
                                                 bool in_packs, int lane = MmaLane::here().number()) {
  if constexpr (sizeof(T) == 2)
    if (!in_packs && copies_in_packs<4>(source))
      return copy_pairs_ahead(member, source, padded_rows, padded_columns, scratch, stride);
  if (!in_packs)
    return copy_numbers_ahead(member, source, padded_rows, padded_columns, scratch,
                              [](int i, int d) { return i * stride + (d ^ swapped_columns<T>(i, stride)); });
  MmaPackCopy<T, padded_rows, padded_columns, stride, warps> const copy(member.team_rank(), lane);
  MatrixRows<T const> from = source;
  from.data += copy.offset(from.row_stride);
  copy(from, scratch);
}

/// Begins to copy a team's own rows, to lie as left factors are loaded from.
template <class Arithmetic, bool in_packs, int padded_rows, int padded_columns, int warps, class Member, class T>
KOKKOS_FORCEINLINE_FUNCTION void copy_own_rows_ahead(Member const& member, MatrixRows<T const> const& source,
                                                     T* scratch) {
  if constexpr (Arithmetic::packs_own_rows)
    copy_numbers_ahead(member, source, padded_rows, padded_columns, scratch,
                       [](int i, int d) { return i / 16 * 16 * padded_columns + Arithmetic::packed_place(i % 16, d); });
  else
    copy_rows_ahead<padded_rows, padded_columns, Arithmetic::own_stride(padded_columns), warps>(
        member, source, scratch, in_packs || copies_in_packs(source));
}

/// A factor as a power of two, by which numbers are multiplied without rounding, times the rest.
struct FactorParts {
  double power, rest;

  KOKKOS_FORCEINLINE_FUNCTION explicit FactorParts(double factor) {
    constexpr std::uint64_t mask = std::uint64_t(0x7ff) << 52, of_one = std::uint64_t(0x3ff) << 52;
    auto const bits      = Kokkos::bit_cast<std::uint64_t>(factor);
    bool const is_normal = (bits & mask) != 0 && (bits & mask) != mask;
    power                = is_normal ? Kokkos::bit_cast<double>(bits & mask) : 1.;
    rest                 = is_normal ? Kokkos::bit_cast<double>((bits & ~mask) | of_one) : factor;
  }

  KOKKOS_FORCEINLINE_FUNCTION bool is_power() const { return rest == 1.; }
};

/// The power of a scale. Of one that is a power, nothing is computed: that would take registers of a loop that follows.
template <bool scale_is_power>
KOKKOS_FORCEINLINE_FUNCTION double power_of_scale(double scale) {
  return scale_is_power ? scale : FactorParts(scale).power;
}

/// Multiplies own rows that have arrived by a factor. A lane does so with the numbers that it has copied itself: it
/// needs to have waited for no other.
template <class Arithmetic, int padded_rows, int padded_columns, int warps, class Member, class T>
KOKKOS_FORCEINLINE_FUNCTION void scale_own_rows(Member const& member, T* scratch, T factor) {
  constexpr int packs   = padded_columns / 32;  // of a row's numbers, one for each lane
  constexpr int at_once = packs < 4 ? 4 / packs : 1;
  static_assert(Arithmetic::packs_own_rows && padded_columns % 32 == 0 && padded_rows % (warps * at_once) == 0);
  int const lane = hidden(MmaLane::here().number());
  KOKKOSATTENTION_ROLLED
  for (int first = member.team_rank(); first < padded_rows; first += warps * at_once) {
    T* place[at_once][packs];
    T number[at_once][packs];
    KOKKOSATTENTION_UNROLL
    for (int r = 0; r < at_once; ++r) {
      int const row = first + r * warps;
      KOKKOSATTENTION_UNROLL
      for (int n = 0; n < packs; ++n) {
        place[r][n]  = scratch + row / 16 * 16 * padded_columns + Arithmetic::packed_place(row % 16, 32 * n + lane);
        number[r][n] = factor * *place[r][n];
      }
    }
    KOKKOSATTENTION_UNROLL
    for (int r = 0; r < at_once; ++r) {
      KOKKOSATTENTION_UNROLL
      for (int n = 0; n < packs; ++n) *place[r][n] = number[r][n];
    }
  }
}

/// The larger magnitude, if the number is finite.
KOKKOS_FORCEINLINE_FUNCTION float larger_finite(float largest, float x) {
  float const magnitude = Kokkos::fabs(x);
  return magnitude <= Kokkos::Experimental::finite_max_v<float> ? Kokkos::fmax(largest, magnitude) : largest;
}

/// Splits numbers of rows that copy_rows_ahead has brought, in their place. In packs, a warp splits those that it has
/// copied itself: it needs to have waited for no other.
/// \param in_packs what copy_rows_ahead was told
template <class Arithmetic, int padded_rows, int padded_columns, int warps, class Member>
KOKKOS_FORCEINLINE_FUNCTION void split_rows(Member const& member, typename Arithmetic::Number* scratch, bool in_packs) {
  constexpr int stride = Arithmetic::stride(padded_columns), pack = 4,
                lanes = padded_columns < 128 ? padded_columns / pack : 32;
  constexpr int packs = padded_columns / (pack * lanes), row_step = 32 / lanes * warps;
  constexpr int rows =
      padded_rows / row_step + (padded_rows % row_step != 0);  // that a warp has of those it splits at once
  constexpr int at_once = rows * packs % 4 == 0 ? 4 / packs : rows * packs % 2 == 0 ? 2 / packs : 1;
  static_assert(pack * lanes * packs == padded_columns && 32 % lanes == 0);
  struct alignas(16) Four {
    float value[pack];
  };
  if (!in_packs) member.team_barrier();
  warp_barrier();
  int const lane  = MmaLane::here().number();
  int const first = member.team_rank() * (32 / lanes) + lane / lanes, column = lane % lanes * pack;
  KOKKOSATTENTION_ROLLED
  for (int begin = first; begin < first + rows * row_step; begin += at_once * row_step) {
    Four numbers[at_once][packs];
    float largest[at_once];
    KOKKOSATTENTION_UNROLL
    for (int r = 0; r < at_once; ++r) {
      int const row = begin + r * row_step;
      largest[r]    = 0;
      KOKKOSATTENTION_UNROLL
      for (int n = 0; n < packs; ++n) {
        // Rows beyond the last one are not stored.
        if (padded_rows % row_step == 0 || row < padded_rows)
          numbers[r][n] = *reinterpret_cast<Four const*>(scratch + row * stride + column + pack * lanes * n);
        else
          numbers[r][n] = {};
        KOKKOSATTENTION_UNROLL
        for (int i = 0; i < pack; ++i) largest[r] = larger_finite(largest[r], numbers[r][n].value[i]);
      }
    }
    KOKKOSATTENTION_UNROLL
    for (int difference = 1; difference < lanes; difference *= 2) {
      KOKKOSATTENTION_UNROLL
      for (int r = 0; r < at_once; ++r) largest[r] = Kokkos::fmax(largest[r], exchange_lanes(largest[r], difference));
    }
    warp_barrier();  // until all have loaded
    KOKKOSATTENTION_UNROLL
    for (int r = 0; r < at_once; ++r) {
      int const row = begin + r * row_step;
      if (padded_rows % row_step != 0 && row >= padded_rows) continue;
      RowPower const power(largest[r]);
      float const scale = power.scale();
      KOKKOSATTENTION_UNROLL
      for (int n = 0; n < packs; ++n) {
        KOKKOSATTENTION_UNROLL
        for (int i = 0; i < pack; ++i) numbers[r][n].value[i] *= scale;
        Arithmetic::put(scratch + row * stride, stride, column + pack * lanes * n, numbers[r][n].value);
      }
      if (column == 0) Arithmetic::put_power(scratch + row * stride, stride, power);
    }
  }
}

}  // namespace KokkosAttention::Impl

#endif
