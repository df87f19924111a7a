// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTFORWARD_HPP
#define KOKKOSATTENTION_HOSTFORWARD_HPP

#include <KokkosAttention_HostKernels.hpp>
#include <KokkosAttention_PortableProduct.hpp>

#include <Kokkos_Core.hpp>

#include <climits>

/// \file
/// The host engine's forward pass on a Kokkos execution space: a thread a work item.

namespace KokkosAttention::Impl {

template <class ExecutionSpace, Scalar ScalarType>
struct HostForwardKernel {
  // Rows of a causal problem differ in length: threads that finish early take the next tile.
  using Policy = Kokkos::TeamPolicy<ExecutionSpace, Kokkos::Schedule<Kokkos::Dynamic>>;
  using Member = typename Policy::member_type;

  HostForwardCall<ScalarType> call;
  void (*forward)(HostForwardCall<ScalarType> const&, index_t, std::byte*);

  index_t items() const { return work_items(call.arguments, Side::queries, call.tile.queries); }

  void operator()(Member const& member) const {
    auto* const scratch =
        static_cast<std::byte*>(member.team_scratch(1).get_shmem_aligned(call.tile.scratch_bytes, 64));
    for (index_t n = member.league_rank(); n < items(); n += member.league_size()) forward(call, n, scratch);
  }
};

/// Head dimensions beyond it are left to the portable engine: the host engine's tiles would not stay in a cache.
inline constexpr int largest_host_head_dim = 1024;

/// The variant that a call without functors of the user's takes, if any.
template <class ExecutionSpace, Scalar ScalarType>
HostKernels const* host_kernels_for(AttentionArguments<ScalarType> const& arguments) {
  if constexpr (runs_on_host<ExecutionSpace>) {
    if (arguments.head_dim <= largest_host_head_dim && arguments.value_dim <= largest_host_head_dim)
      return host_kernels();
  }
  return nullptr;
}

template <class ExecutionSpace, Scalar ScalarType>
void host_forward(ExecutionSpace const& space, HostKernels const& kernels,
                  ForwardArguments<ScalarType> const& arguments, OptionScores<ScalarType> const& scores,
                  OptionMask const& mask, WeightDropout<accumulation_t<ScalarType>> const& dropout) {
  using Kernel          = HostForwardKernel<ExecutionSpace, ScalarType>;
  auto const& functions = kernels.of<ScalarType>();
  HostTile const tile   = functions.forward_tile(arguments);
  Kernel const kernel{{arguments, scores, mask, dropout, tile}, functions.forward};
  if (kernel.items() == 0) return;
  auto policy = typename Kernel::Policy(space, static_cast<int>(Kokkos::min(kernel.items(), index_t(INT_MAX))), 1, 1);
  policy.set_scratch_size(1, Kokkos::PerTeam(tile.scratch_bytes + 64));
  Kokkos::parallel_for("KokkosAttention::forward (host)", policy, kernel);
}

}  // namespace KokkosAttention::Impl

#endif
