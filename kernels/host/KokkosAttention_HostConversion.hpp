// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTCONVERSION_HPP
#define KOKKOSATTENTION_HOSTCONVERSION_HPP

#include <KokkosAttention_HostVector.hpp>
#include <KokkosAttention_MatrixRows.hpp>
#include <KokkosAttention_Types.hpp>

#include <Kokkos_Core.hpp>

#include <cstring>

#if KOKKOSATTENTION_HOST_VECTOR_BYTES >= 32
#include <immintrin.h>
#endif

/// \file
/// Vectors of neighbouring numbers in memory, converted to the type that is computed in, and back.

namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT {

typedef std::uint16_t Bits16 __attribute__((vector_size(KOKKOSATTENTION_HOST_VECTOR_BYTES / 2)));
typedef std::uint32_t Bits32 __attribute__((vector_size(KOKKOSATTENTION_HOST_VECTOR_BYTES)));

template <Scalar ScalarType>
KOKKOS_FORCEINLINE_FUNCTION HostVector<accumulation_t<ScalarType>> load(ScalarType const* from) {
  using Vector = HostVector<accumulation_t<ScalarType>>;
  if constexpr (std::is_same_v<ScalarType, accumulation_t<ScalarType>>) {
    return Vector::load(from);
  } else if constexpr (std::is_same_v<ScalarType, bhalf_t>) {
    Bits16 bits;
    std::memcpy(&bits, from, sizeof(bits));
    return (typename VectorTypes<float>::Numbers)(__builtin_convertvector(bits, Bits32) << 16);
  } else {
#if KOKKOSATTENTION_HOST_VECTOR_BYTES == 64
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<__m256i const*>(from)));
#elif KOKKOSATTENTION_HOST_VECTOR_BYTES == 32
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<__m128i const*>(from)));
#else
    float numbers[Vector::lanes];
    for (int n = 0; n < Vector::lanes; ++n) numbers[n] = static_cast<float>(from[n]);
    return Vector::load(numbers);
#endif
  }
}

/// Rounds to the nearest, ties to even.
template <Scalar ScalarType>
KOKKOS_FORCEINLINE_FUNCTION void store(HostVector<accumulation_t<ScalarType>> vector, ScalarType* to) {
  if constexpr (std::is_same_v<ScalarType, accumulation_t<ScalarType>>) {
    vector.store(to);
  } else if constexpr (std::is_same_v<ScalarType, bhalf_t>) {
    auto const numbers   = vector.numbers();
    auto const bits      = (Bits32)numbers;
    Bits32 const rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
    Bits16 const result  = __builtin_convertvector((numbers == numbers ? rounded : bits | 0x400000u) >> 16, Bits16);
    std::memcpy(static_cast<void*>(to), &result, sizeof(result));
  } else {
#if KOKKOSATTENTION_HOST_VECTOR_BYTES == 64
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtps_ph(vector.numbers(), _MM_FROUND_TO_NEAREST_INT));
#elif KOKKOSATTENTION_HOST_VECTOR_BYTES == 32
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_cvtps_ph(vector.numbers(), _MM_FROUND_TO_NEAREST_INT));
#else
    float numbers[HostVector<float>::lanes];
    vector.store(numbers);
    for (int n = 0; n < HostVector<float>::lanes; ++n) to[n] = static_cast<ScalarType>(numbers[n]);
#endif
  }
}

/// Rows one after the other, `stride` numbers apart.
template <Scalar ScalarType>
void copy_rows(MatrixRows<ScalarType const> const& rows, accumulation_t<ScalarType>* to, index_t stride) {
  constexpr int lanes = HostVector<accumulation_t<ScalarType>>::lanes;
  for (int i = 0; i < rows.rows; ++i) {
    int d = 0;
    if (rows.column_stride == 1)
      for (; d + lanes <= rows.columns; d += lanes) load(&rows(i, d)).store(to + i * stride + d);
    for (; d < rows.columns; ++d) to[i * stride + d] = static_cast<accumulation_t<ScalarType>>(rows(i, d));
  }
}

}  // namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT

#endif
