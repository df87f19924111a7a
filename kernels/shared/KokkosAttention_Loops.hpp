// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_LOOPS_HPP
#define KOKKOSATTENTION_LOOPS_HPP

/// \file
/// How compilers are told what becomes of a short loop.
///
/// KOKKOSATTENTION_UNROLL: write the loop out, so that arrays indexed by its counter live in registers.
/// KOKKOSATTENTION_LANES: on hosts the iterations become the lanes of one vector instruction. GCC left to itself
/// unrolls a short loop before its vectoriser sees it, and then finds nothing to vectorise (measured: 5 instead of 110
/// GFLOP/s), hence the explicit `omp simd`, which the library's target switches on. On devices, where a thread is a
/// lane already, the loop is written out.

#if defined(__CUDA_ARCH__) || defined(__HIP_DEVICE_COMPILE__) || defined(__SYCL_DEVICE_ONLY__)
#define KOKKOSATTENTION_UNROLL _Pragma("unroll")
#define KOKKOSATTENTION_LANES _Pragma("unroll")
/// A loop that is rarely run, or long: written once.
#define KOKKOSATTENTION_ROLLED _Pragma("unroll 1")
#else
#define KOKKOSATTENTION_ROLLED
#define KOKKOSATTENTION_LANES _Pragma("omp simd")
#if defined(__NVCC__)
// nvcc passes the host compiler's pragma on, but warns that it does not know it.
#define KOKKOSATTENTION_UNROLL \
  _Pragma("nv_diagnostic push") _Pragma("nv_diag_suppress 1675") _Pragma("GCC unroll 64") _Pragma("nv_diagnostic pop")
#elif defined(__clang__)
#define KOKKOSATTENTION_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define KOKKOSATTENTION_UNROLL _Pragma("GCC unroll 64")
#else
#define KOKKOSATTENTION_UNROLL
#endif
#endif

/// The width of the host's vectors that this translation unit is compiled for, and a namespace named after it: kernels
/// that depend on it get symbols of their own, so that a library and an application compiled for different processors
/// do not share them.
#if defined(__AVX512F__)
#define KOKKOSATTENTION_VECTOR_BYTES 64
#define KOKKOSATTENTION_VECTORS vectors_of_64_bytes
#elif defined(__AVX__)
#define KOKKOSATTENTION_VECTOR_BYTES 32
#define KOKKOSATTENTION_VECTORS vectors_of_32_bytes
#else
#define KOKKOSATTENTION_VECTOR_BYTES 16
#define KOKKOSATTENTION_VECTORS vectors_of_16_bytes
#endif

#endif
