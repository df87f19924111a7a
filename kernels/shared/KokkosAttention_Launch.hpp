// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_LAUNCH_HPP
#define KOKKOSATTENTION_LAUNCH_HPP

#include <Kokkos_Core.hpp>

/// \file
/// How kernels are launched.

namespace KokkosAttention::Impl {

/// Makes a functor travel as a kernel argument. From 512 bytes on Kokkos' CUDA backend would put it in constant memory,
/// where a launch waits on the host for the last such kernel, of whatever instance, to begin.
template <class Policy>
auto as_kernel_argument(Policy const& policy) {
  return Kokkos::Experimental::require(policy, Kokkos::Experimental::WorkItemProperty::HintLightWeight);
}

}  // namespace KokkosAttention::Impl

#endif
