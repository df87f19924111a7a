// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_PORTABLEINSTANCES_HPP
#define KOKKOSATTENTION_PORTABLEINSTANCES_HPP

#include <KokkosAttention_Modifiers.hpp>
#include <KokkosAttention_PortableForward.hpp>

/// \file
/// The instances of the portable engine that are compiled into the library: those without user functors.

#define KOKKOSATTENTION_PORTABLE_INSTANCE(EXTERN, SPACE, SCALAR)            \
  EXTERN template void KokkosAttention::Impl::portable_forward(             \
      SPACE const&, KokkosAttention::Impl::ForwardArguments<SCALAR> const&, \
      KokkosAttention::Impl::OptionScores<SCALAR> const&, KokkosAttention::Impl::OptionMask const&);

#define KOKKOSATTENTION_PORTABLE_INSTANCES(EXTERN, SPACE)                   \
  KOKKOSATTENTION_PORTABLE_INSTANCE(EXTERN, SPACE, double)                  \
  KOKKOSATTENTION_PORTABLE_INSTANCE(EXTERN, SPACE, float)                   \
  KOKKOSATTENTION_PORTABLE_INSTANCE(EXTERN, SPACE, KokkosAttention::half_t) \
  KOKKOSATTENTION_PORTABLE_INSTANCE(EXTERN, SPACE, KokkosAttention::bhalf_t)

#if defined(KOKKOS_ENABLE_SERIAL)
KOKKOSATTENTION_PORTABLE_INSTANCES(extern, Kokkos::Serial)
#endif
#if defined(KOKKOS_ENABLE_OPENMP)
KOKKOSATTENTION_PORTABLE_INSTANCES(extern, Kokkos::OpenMP)
#endif
#if defined(KOKKOS_ENABLE_THREADS)
KOKKOSATTENTION_PORTABLE_INSTANCES(extern, Kokkos::Threads)
#endif
#if defined(KOKKOS_ENABLE_CUDA)
KOKKOSATTENTION_PORTABLE_INSTANCES(extern, Kokkos::Cuda)
#endif
#if defined(KOKKOS_ENABLE_HIP)
KOKKOSATTENTION_PORTABLE_INSTANCES(extern, Kokkos::HIP)
#endif
#if defined(KOKKOS_ENABLE_SYCL)
KOKKOSATTENTION_PORTABLE_INSTANCES(extern, Kokkos::SYCL)
#endif

#endif
