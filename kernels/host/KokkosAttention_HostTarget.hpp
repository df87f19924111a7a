// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTTARGET_HPP
#define KOKKOSATTENTION_HOSTTARGET_HPP

/// \file
/// Switches to the instructions of one variant of the host engine, which the build names, for the rest of a translation
/// unit, and tells the other headers what there is. Processors without prefetches for writing (prfchw) ignore them.
/// (GCC 12 does not define __AVX512F__ and the like here.)

#if defined(KOKKOSATTENTION_HOST_TARGET_AMX)
#pragma GCC target("arch=x86-64-v4,prfchw,avx512bf16,amx-tile,amx-bf16,prefer-vector-width=512")
#define KOKKOSATTENTION_HOST_VECTOR_BYTES 64
#define KOKKOSATTENTION_HOST_BF16
#define KOKKOSATTENTION_HOST_AMX
#elif defined(KOKKOSATTENTION_HOST_TARGET_BF16)
#pragma GCC target("arch=x86-64-v4,prfchw,avx512bf16,prefer-vector-width=512")
#define KOKKOSATTENTION_HOST_VECTOR_BYTES 64
#define KOKKOSATTENTION_HOST_BF16
#elif defined(KOKKOSATTENTION_HOST_TARGET_V4)
#pragma GCC target("arch=x86-64-v4,prfchw,prefer-vector-width=512")
#define KOKKOSATTENTION_HOST_VECTOR_BYTES 64
#elif defined(KOKKOSATTENTION_HOST_TARGET_V3)
#pragma GCC target("arch=x86-64-v3,prfchw")
#define KOKKOSATTENTION_HOST_VECTOR_BYTES 32
#endif

#endif
