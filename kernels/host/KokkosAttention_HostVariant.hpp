// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTVARIANT_HPP
#define KOKKOSATTENTION_HOSTVARIANT_HPP

/// \file
/// The host engine is compiled several times, for different instruction sets. Each time its code is in a namespace
/// named after the instruction set, which the build gives, so that no two of them share a symbol.

#if !defined(KOKKOSATTENTION_HOST_VARIANT)
#define KOKKOSATTENTION_HOST_VARIANT host_of_this_compilation
#endif

#if defined(__AVX512F__)
#define KOKKOSATTENTION_HOST_VECTOR_BYTES 64
#define KOKKOSATTENTION_HOST_VECTOR_REGISTERS 32
#elif defined(__AVX__)
#define KOKKOSATTENTION_HOST_VECTOR_BYTES 32
#define KOKKOSATTENTION_HOST_VECTOR_REGISTERS 16
#else
#define KOKKOSATTENTION_HOST_VECTOR_BYTES 16
#define KOKKOSATTENTION_HOST_VECTOR_REGISTERS 16
#endif

#endif
