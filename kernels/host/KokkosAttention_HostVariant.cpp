// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include <Kokkos_Core.hpp>

#include <atomic>
#include <cmath>
#include <cstddef>
#include <string>
#include <thread>
#include <tuple>

#include <immintrin.h>

// What comes before is compiled for any processor, as Kokkos' headers define objects that are initialised when the
// program starts; what follows for the variant's.
#include <KokkosAttention_HostTarget.hpp>

#include <KokkosAttention_HostGradients.hpp>
#include <KokkosAttention_HostKernels.hpp>
#include <KokkosAttention_HostOutputs.hpp>

/// \file
/// One variant of the host engine; the build compiles it for each instruction set, and names it. Variants that add
/// instructions for bfloat16 to another one's take that one's functions for the other types.

namespace KokkosAttention::Impl {

#if defined(KOKKOSATTENTION_HOST_BF16)
namespace KOKKOSATTENTION_HOST_BASE {
extern HostKernels const kernels;
}
#endif

namespace KOKKOSATTENTION_HOST_VARIANT {

template <Scalar ScalarType>
HostTile forward_tile(AttentionArguments<ScalarType> const& arguments, int threads) {
  return choose_host_tile(host_tile_query(arguments), index_t(arguments.batch) * arguments.q_heads, threads);
}

template <Scalar ScalarType>
HostBackwardTile backward_tile(AttentionArguments<ScalarType> const& arguments, GradientOf target) {
  return choose_host_backward_tile(host_tile_query(arguments), target);
}

/// Items one after the other. To configure and release tile registers takes as long as a tenth of a short one.
template <class Call, void item(Call const&, index_t, std::byte*)>
void each_item(Call const& call, index_t begin, index_t end, std::byte* scratch) {
  [[maybe_unused]] HostTileRegisters const registers;
  for (index_t n = begin; n < end; ++n) item(call, n, scratch);
}
template <Scalar ScalarType, void item(HostForwardCall<ScalarType> const&, index_t, std::byte*)>
constexpr auto forward_items = &each_item<HostForwardCall<ScalarType>, item>;
template <Scalar ScalarType, void item(HostBackwardCall<ScalarType> const&, index_t, std::byte*)>
constexpr auto backward_items = &each_item<HostBackwardCall<ScalarType>, item>;

template <Scalar ScalarType>
constexpr HostFunctions<ScalarType> functions{&forward_tile<ScalarType>,
                                              forward_items<ScalarType, pack_item<ScalarType>>,
                                              forward_items<ScalarType, forward_item<ScalarType>>,
                                              forward_items<ScalarType, combine_item<ScalarType>>,
                                              &backward_tile<ScalarType>,
                                              backward_items<ScalarType, delta_item<ScalarType>>,
                                              backward_items<ScalarType, queries_item<ScalarType>>,
                                              backward_items<ScalarType, keys_item<ScalarType>>,
                                              backward_items<ScalarType, all_item<ScalarType>>,
                                              backward_items<ScalarType, turn_item<ScalarType>>,
                                              backward_items<ScalarType, bias_item<ScalarType>>};

#define KOKKOSATTENTION_TEXT(NAME) #NAME
#define KOKKOSATTENTION_NAME(NAME) KOKKOSATTENTION_TEXT(NAME)

extern HostKernels const kernels;
#if defined(KOKKOSATTENTION_HOST_BF16)
HostKernels const kernels{KOKKOSATTENTION_NAME(KOKKOSATTENTION_HOST_VARIANT),
                          &KOKKOSATTENTION_HOST_BASE::kernels,
                          nullptr,
                          nullptr,
                          nullptr,
                          &functions<bhalf_t>};
#else
HostKernels const kernels{KOKKOSATTENTION_NAME(KOKKOSATTENTION_HOST_VARIANT),
                          nullptr,
                          &functions<double>,
                          &functions<float>,
                          &functions<half_t>,
                          &functions<bhalf_t>};
#endif

}  // namespace KOKKOSATTENTION_HOST_VARIANT
}  // namespace KokkosAttention::Impl
