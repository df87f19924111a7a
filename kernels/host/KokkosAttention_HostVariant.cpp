// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include <Kokkos_Core.hpp>

#include <cmath>
#include <cstddef>
#include <string>
#include <tuple>

#include <immintrin.h>

// What comes before is compiled for any processor, as Kokkos' headers define objects that are initialised when the
// program starts; what follows for the variant's. (GCC 12 does not define __AVX512F__ and the like here.)
#if defined(KOKKOSATTENTION_HOST_TARGET_V4)
#pragma GCC target("arch=x86-64-v4,prefer-vector-width=512")
#define KOKKOSATTENTION_HOST_VECTOR_BYTES 64
#elif defined(KOKKOSATTENTION_HOST_TARGET_V3)
#pragma GCC target("arch=x86-64-v3")
#define KOKKOSATTENTION_HOST_VECTOR_BYTES 32
#endif

#include <KokkosAttention_HostEngine.hpp>
#include <KokkosAttention_HostKernels.hpp>

/// \file
/// One variant of the host engine; the build compiles it for each instruction set, and names it.

namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT {

template <Scalar ScalarType>
HostTile forward_tile(AttentionArguments<ScalarType> const& arguments) {
  return choose_host_tile({.element_bytes = int(sizeof(accumulation_t<ScalarType>)),
                           .vector_bytes  = KOKKOSATTENTION_HOST_VECTOR_BYTES,
                           .head_dim      = arguments.head_dim,
                           .value_dim     = arguments.value_dim,
                           .q_len         = arguments.q_len});
}

template <Scalar ScalarType>
void forward(HostForwardCall<ScalarType> const& call, index_t n, std::byte* scratch) {
  WorkItem const item = work_item(call.arguments, Side::queries, call.tile.queries, n);
  if (item.begin >= item.end) return;
  HostEngine<ScalarType> engine(call.arguments, call.tile, scratch);
  forward_query_tile(engine, call.scores, call.mask, call.dropout, item.sequence,
                     Tile{item.sequence.batch, item.head, item.begin, item.end, 0, 0}, call.tile.keys);
}

template <Scalar ScalarType>
constexpr HostFunctions<ScalarType> functions{&forward_tile<ScalarType>, &forward<ScalarType>};

#define KOKKOSATTENTION_TEXT(NAME) #NAME
#define KOKKOSATTENTION_NAME(NAME) KOKKOSATTENTION_TEXT(NAME)

extern HostKernels const kernels;
HostKernels const kernels{KOKKOSATTENTION_NAME(KOKKOSATTENTION_HOST_VARIANT), functions<double>, functions<float>,
                          functions<half_t>, functions<bhalf_t>};

}  // namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT
