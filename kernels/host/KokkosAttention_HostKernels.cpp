// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include <KokkosAttention_HostKernels.hpp>
#include <KokkosAttention_HostVariants.hpp>

#include <cstdlib>
#include <sstream>
#include <stdexcept>
#include <string_view>

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

/// \file
/// The choice of the host engine's variant. Compiled for any processor.

namespace KokkosAttention::Impl {

// KOKKOSATTENTION_HOST_VARIANTS(X) is X(name, whether it can run here) for each variant, fastest first.
#define KOKKOSATTENTION_DECLARE(VARIANT, CAN_RUN) \
  namespace VARIANT {                             \
  extern HostKernels const kernels;               \
  }
KOKKOSATTENTION_HOST_VARIANTS(KOKKOSATTENTION_DECLARE)
#undef KOKKOSATTENTION_DECLARE

namespace {

[[maybe_unused]] bool has_avx2() { return __builtin_cpu_supports("x86-64-v3"); }
[[maybe_unused]] bool has_avx512() { return __builtin_cpu_supports("x86-64-v4"); }
[[maybe_unused]] bool has_avx512_bf16() { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }

/// Asks the operating system to save the tile registers, too, when it switches threads.
[[maybe_unused]] bool has_amx_bf16() {
#if defined(__linux__)
  constexpr long request_permission = 0x1023, tile_data = 18;  // of arch_prctl
  return has_avx512_bf16() && __builtin_cpu_supports("amx-bf16") &&
         syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
  return false;
#endif
}

HostKernels const* choose() {
  char const* const wanted = std::getenv("KOKKOSATTENTION_HOST_VARIANT");
  if (wanted != nullptr && std::string_view(wanted) == "none") return nullptr;
  std::ostringstream can_run;
#define KOKKOSATTENTION_TRY(VARIANT, CAN_RUN)                                                             \
  if (CAN_RUN()) {                                                                                        \
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
