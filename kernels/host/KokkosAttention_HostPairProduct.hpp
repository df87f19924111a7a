// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTPAIRPRODUCT_HPP
#define KOKKOSATTENTION_HOSTPAIRPRODUCT_HPP

#include <KokkosAttention_HostVariant.hpp>

#if defined(KOKKOSATTENTION_HOST_BF16)

#include <KokkosAttention_HostConversion.hpp>
#include <KokkosAttention_HostProduct.hpp>

#include <Kokkos_Core.hpp>

#include <immintrin.h>

/// \file
/// Products of pairs of bfloat16, summed in float: by AVX-512 BF16 dot products, or by AMX tiles.

namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT {

/// Two neighbouring steps, the first one in the low half.
struct HostPair {
  std::uint32_t bits;
};

/// Pairs of the first half's and the second half's numbers.
KOKKOS_FORCEINLINE_FUNCTION Bits32 pairs_of_halves(__m512i halves) {
  alignas(64) static constexpr std::uint16_t order[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                          8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return (Bits32)_mm512_permutexvar_epi16(_mm512_load_si512(order), halves);
}

/// Pairs of the lanes of two vectors, rounded to the nearest.
KOKKOS_FORCEINLINE_FUNCTION Bits32 pairs_of_lanes(HostVector<float> even, HostVector<float> odd) {
  return pairs_of_halves((__m512i)_mm512_cvtne2ps_pbh(odd.numbers(), even.numbers()));
}

/// Pairs of the numbers of two rows.
KOKKOS_FORCEINLINE_FUNCTION Bits32 pairs_of_rows(Bits16 even, Bits16 odd) {
  return pairs_of_halves(_mm512_inserti64x4(_mm512_castsi256_si512((__m256i)even), (__m256i)odd, 1));
}

/// The lanes, rounded to the nearest.
KOKKOS_FORCEINLINE_FUNCTION Bits16 rounded_lanes(HostVector<float> vector) {
  return (Bits16)_mm512_cvtneps_pbh(vector.numbers());
}

/// The vector with zeros from lane `count` on.
KOKKOS_FORCEINLINE_FUNCTION HostVector<float> first_lanes(HostVector<float> vector, int count) {
  if (count >= HostVector<float>::lanes) return vector;
  return HostVector<float>(
      _mm512_maskz_mov_ps(static_cast<__mmask16>(count <= 0 ? 0u : (1u << count) - 1u), vector.numbers()));
}

#if defined(KOKKOSATTENTION_HOST_AMX)

/// For LDTILECFG: all eight tiles with 16 rows of 64 bytes.
struct alignas(64) HostTileConfiguration {
  unsigned char palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  unsigned char rows[16]      = {16, 16, 16, 16, 16, 16, 16, 16};
};
inline constexpr HostTileConfiguration host_tile_configuration = {};

/// The thread's tile registers, while it lives.
class HostTileRegisters {
 public:
  HostTileRegisters() { _tile_loadconfig(&host_tile_configuration); }
  ~HostTileRegisters() { _tile_release(); }
  HostTileRegisters(HostTileRegisters const&)            = delete;
  HostTileRegisters& operator=(HostTileRegisters const&) = delete;
};

inline constexpr int amx_rows  = 16;
inline constexpr int amx_pairs = 16;  // steps of a tile

/// Left factors lie tile by tile, in chunks of a tile's steps; those of 16 rows one after the other. Or they lie as
/// matrices do: neighbouring steps are neighbours (step_stride is 1).
inline constexpr bool left_tiles = true;

template <class Target>
inline constexpr bool adds = false;
template <>
inline constexpr bool adds<HostAdd<float>> = true;

/// A block of two by two tiles of the product, or fewer: tiles 0 to 3, of factors in tiles 4, 5 and 6, 7.
template <bool two_rows, bool two_columns, class Target>
KOKKOS_FORCEINLINE_FUNCTION void multiply_tiles_of(int row, int column, int chunks, HostLeft<HostPair> const& left,
                                                   HostRight<Bits32> const& right, Target const& target) {
  constexpr int stride   = 64;  // bytes of a row: tiles are contiguous
  index_t const a_stride = left.step_stride == 1 ? left.row_stride * index_t(sizeof(HostPair)) : stride;
  auto* const c00        = target.data + target.strides(row, column);
  auto* const c01        = c00 + target.strides.column;
  auto* const c10        = c00 + amx_rows;
  auto* const c11        = c01 + amx_rows;
  auto const* a0         = left.data + row * left.row_stride;
  auto const* a1         = a0 + amx_rows * left.row_stride;
  auto const* b0         = right.data + right.strides(0, column);
  auto const* b1         = b0 + right.strides.column;

  if constexpr (adds<Target>) {
    _tile_loadd(0, c00, stride);
    if constexpr (two_columns) _tile_loadd(1, c01, stride);
    if constexpr (two_rows) _tile_loadd(2, c10, stride);
    if constexpr (two_rows && two_columns) _tile_loadd(3, c11, stride);
  } else {
    _tile_zero(0);
    if constexpr (two_columns) _tile_zero(1);
    if constexpr (two_rows) _tile_zero(2);
    if constexpr (two_rows && two_columns) _tile_zero(3);
  }
  for (int chunk = 0; chunk < chunks; ++chunk) {
    _tile_loadd(4, a0, a_stride);
    _tile_loadd(6, b0, stride);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (two_columns) {
      _tile_loadd(7, b1, stride);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (two_rows) {
      _tile_loadd(5, a1, a_stride);
      _tile_dpbf16ps(2, 5, 6);
    }
    if constexpr (two_rows && two_columns) _tile_dpbf16ps(3, 5, 7);
    a0 += amx_pairs * left.step_stride;
    a1 += amx_pairs * left.step_stride;
    b0 += amx_pairs;
    b1 += amx_pairs;
  }
  _tile_stored(0, c00, stride);
  if constexpr (two_columns) _tile_stored(1, c01, stride);
  if constexpr (two_rows) _tile_stored(2, c10, stride);
  if constexpr (two_rows && two_columns) _tile_stored(3, c11, stride);
}

constexpr int pair_product_blocks(int rows, int columns) {
  return (rows + 2 * amx_rows - 1) / (2 * amx_rows) * ((columns + 1) / 2);
}

/// As HostProduct's. Rows are rounded up to those of a tile: factors and target have room for them.
template <class Target>
void multiply(int rows, int columns, int pairs, HostLeft<HostPair> const& left, HostRight<Bits32> const& right,
              Target const& target, HostPrefetch& prefetch) {
  // GCC's tile loads do not say that they read memory.
  asm volatile("" ::: "memory");
  int const chunks = (pairs + amx_pairs - 1) / amx_pairs;
  for (int row = 0; row < rows; row += 2 * amx_rows) {
    bool const two_rows = row + amx_rows < rows;
    int column          = 0;
    for (; column + 2 <= columns; column += 2) {
      prefetch.step();
      if (two_rows)
        multiply_tiles_of<true, true>(row, column, chunks, left, right, target);
      else
        multiply_tiles_of<false, true>(row, column, chunks, left, right, target);
    }
    if (column < columns) {
      prefetch.step();
      if (two_rows)
        multiply_tiles_of<true, false>(row, column, chunks, left, right, target);
      else
        multiply_tiles_of<false, false>(row, column, chunks, left, right, target);
    }
  }
  asm volatile("" ::: "memory");
}

#else

struct HostTileRegisters {};

inline constexpr bool left_tiles = false;

constexpr int pair_product_blocks(int rows, int columns) { return product_blocks(rows, columns); }

KOKKOS_FORCEINLINE_FUNCTION void multiply_add(VectorTypes<float>::Numbers& sum, HostPair x, Bits32 y) {
  sum = _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32(static_cast<int>(x.bits)), (__m512bh)y);
}

#endif

}  // namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT

#endif
#endif
