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
std::size_t host_forward_workspace(HostKernels const& kernels, AttentionArguments<ScalarType> const& arguments) {
  WorkspaceCarver carver(nullptr);
  HostSplit<accumulation_t<ScalarType>> const split(carver, arguments);
  // Keys lie alike with any number of threads.
  HostSharedKeys const shared(carver, arguments, kernels.of<ScalarType>().forward_tile(arguments, 1));
  return carver.bytes();
}

template <class ExecutionSpace, Scalar ScalarType>
void host_forward(ExecutionSpace const& space, HostKernels const& kernels,
                  ForwardArguments<ScalarType> const& arguments, OptionScores<ScalarType> const& scores,
                  OptionMask const& mask, WeightDropout<accumulation_t<ScalarType>> const& dropout,
                  std::byte* workspace) {
  auto const& functions = kernels.of<ScalarType>();
  HostTile const tile   = functions.forward_tile(arguments, space.concurrency());
  WorkspaceCarver carver(workspace);
  HostSplit<accumulation_t<ScalarType>> const split(carver, arguments);
  HostSharedKeys const shared(carver, arguments, tile);
  HostForwardCall<ScalarType> const call{arguments, scores, mask, dropout, tile, split, shared};
  launch_on_host(space, "KokkosAttention::forward, keys and values (host)", call, functions.pack, shared.items, 0);
  launch_on_host(space, "KokkosAttention::forward (host)", call, functions.forward, call.items(), tile.scratch_bytes);
  if (split.chunks > 1)
    launch_on_host(space, "KokkosAttention::forward, combine (host)", call, functions.combine, split.rows,
                   sizeof(accumulation_t<ScalarType>) * arguments.value_dim);
}

}  // namespace KokkosAttention::Impl

#endif
