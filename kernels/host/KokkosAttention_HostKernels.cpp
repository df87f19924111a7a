// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include <KokkosAttention_HostKernels.hpp>
#include <KokkosAttention_HostVariants.hpp>

#include <cstdlib>
#include <sstream>
#include <stdexcept>
#include <string_view>

/// \file
/// The choice of the host engine's variant. Compiled for any processor.

namespace KokkosAttention::Impl {

// KOKKOSATTENTION_HOST_VARIANTS(X) is X(name, what the processor must support) for each variant, fastest first.
#define KOKKOSATTENTION_DECLARE(VARIANT, LEVEL) \
  namespace VARIANT {                           \
  extern HostKernels const kernels;             \
  }
KOKKOSATTENTION_HOST_VARIANTS(KOKKOSATTENTION_DECLARE)
#undef KOKKOSATTENTION_DECLARE

namespace {

HostKernels const* choose() {
  char const* const wanted = std::getenv("KOKKOSATTENTION_HOST_VARIANT");
  if (wanted != nullptr && std::string_view(wanted) == "none") return nullptr;
  std::ostringstream can_run;
#define KOKKOSATTENTION_TRY(VARIANT, LEVEL)                                                               \
  if (__builtin_cpu_supports(LEVEL)) {                                                                    \
    if (wanted == nullptr || std::string_view(wanted) == VARIANT::kernels.name) return &VARIANT::kernels; \
    can_run << VARIANT::kernels.name << ", ";                                                             \
  }
  KOKKOSATTENTION_HOST_VARIANTS(KOKKOSATTENTION_TRY)
#undef KOKKOSATTENTION_TRY
  if (wanted != nullptr)
    throw std::invalid_argument("KokkosAttention: KOKKOSATTENTION_HOST_VARIANT: expected one of " + can_run.str() +
                                "none, found " + wanted);
  return nullptr;
}

}  // namespace

HostKernels const* host_kernels() {
  static HostKernels const* const chosen = choose();
  return chosen;
}

}  // namespace KokkosAttention::Impl
