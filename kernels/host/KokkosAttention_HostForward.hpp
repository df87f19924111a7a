// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTFORWARD_HPP
#define KOKKOSATTENTION_HOSTFORWARD_HPP

#include <KokkosAttention_HostLaunch.hpp>
#include <KokkosAttention_Workspace.hpp>

#include <Kokkos_Core.hpp>

#include <cstddef>

/// \file
/// The host engine's forward pass on a Kokkos execution space.

namespace KokkosAttention::Impl {

template <Scalar ScalarType>
std::size_t host_forward_workspace(AttentionArguments<ScalarType> const& arguments) {
  WorkspaceCarver carver(nullptr);
  HostSplit<accumulation_t<ScalarType>> const split(carver, arguments);
  return carver.bytes();
}

template <class ExecutionSpace, Scalar ScalarType>
void host_forward(ExecutionSpace const& space, HostKernels const& kernels,
                  ForwardArguments<ScalarType> const& arguments, OptionScores<ScalarType> const& scores,
                  OptionMask const& mask, WeightDropout<accumulation_t<ScalarType>> const& dropout,
                  std::byte* workspace) {
  auto const& functions = kernels.of<ScalarType>();
  WorkspaceCarver carver(workspace);
  HostForwardCall<ScalarType> const call{
      arguments, scores, mask, dropout, functions.forward_tile(arguments, space.concurrency()), {carver, arguments}};
  launch_on_host(space, "KokkosAttention::forward (host)", call, functions.forward, call.items(),
                 call.tile.scratch_bytes);
  if (call.split.chunks > 1)
    launch_on_host(space, "KokkosAttention::forward, combine (host)", call, functions.combine, call.split.rows,
                   sizeof(accumulation_t<ScalarType>) * arguments.value_dim);
}

}  // namespace KokkosAttention::Impl

#endif
