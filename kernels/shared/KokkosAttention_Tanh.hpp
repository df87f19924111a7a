// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_TANH_HPP
#define KOKKOSATTENTION_TANH_HPP

#include <Kokkos_Core.hpp>

namespace KokkosAttention::Impl {

/// tanh(x) without a branch on NVIDIA GPUs, relatively within 2^-21: 1 - 2 / (1 + exp(2 |x|)) by two approximations of
/// theirs, and below 1/2, where that would cancel, x + x^3 p(x^2) with the polynomial of least relative error (2^-26).
KOKKOS_FORCEINLINE_FUNCTION float quick_tanh(float x) {
#if defined(__CUDA_ARCH__)
  constexpr float two_log2e = 2.88539008f;
  float y                   = two_log2e * Kokkos::abs(x);
  asm("ex2.approx.ftz.f32 %0, %0;" : "+f"(y));
  y += 1;
  asm("rcp.approx.ftz.f32 %0, %0;" : "+f"(y));
  float const large = Kokkos::copysign(1 - 2 * y, x), square = x * x;
  float p = 0.01724149100482464f;
  p       = Kokkos::fma(p, square, -0.05304549261927605f);
  p       = Kokkos::fma(p, square, 0.13325878977775574f);
  p       = Kokkos::fma(p, square, -0.333331435918808f);
  return Kokkos::abs(x) < 0.5f ? Kokkos::fma(p * square, x, x) : large;
#else
  return Kokkos::tanh(x);
#endif
}

}  // namespace KokkosAttention::Impl

#endif
