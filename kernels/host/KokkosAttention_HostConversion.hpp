// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTCONVERSION_HPP
#define KOKKOSATTENTION_HOSTCONVERSION_HPP

#include <KokkosAttention_HostVariant.hpp>
#include <KokkosAttention_Types.hpp>

#include <Kokkos_Core.hpp>

#if KOKKOSATTENTION_HOST_VECTOR_BYTES >= 32
#include <immintrin.h>
#endif

/// \file
/// Conversion of neighbouring numbers to the type that is computed in.

namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT {

template <Scalar ScalarType>
void convert(ScalarType const* from, int count, accumulation_t<ScalarType>* to) {
  int n = 0;
#if KOKKOSATTENTION_HOST_VECTOR_BYTES >= 32
  // Compilers make vectors of the other conversions themselves.
  if constexpr (std::is_same_v<ScalarType, half_t>) {
#if KOKKOSATTENTION_HOST_VECTOR_BYTES == 64
    for (; n + 16 <= count; n += 16)
      _mm512_storeu_ps(to + n, _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<__m256i const*>(from + n))));
#endif
    for (; n + 8 <= count; n += 8)
      _mm256_storeu_ps(to + n, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<__m128i const*>(from + n))));
  }
#endif
  for (; n < count; ++n) to[n] = static_cast<accumulation_t<ScalarType>>(from[n]);
}

}  // namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT

#endif
