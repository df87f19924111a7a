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

/// Bytes of a vector: 64 with AVX-512, 32 with AVX2 and F16C, else 16.
#if !defined(KOKKOSATTENTION_HOST_VECTOR_BYTES)
#define KOKKOSATTENTION_HOST_VECTOR_BYTES 16
#endif

#define KOKKOSATTENTION_HOST_VECTOR_REGISTERS (KOKKOSATTENTION_HOST_VECTOR_BYTES == 64 ? 32 : 16)

#endif
