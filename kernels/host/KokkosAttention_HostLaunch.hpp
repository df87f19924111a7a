// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTLAUNCH_HPP
#define KOKKOSATTENTION_HOSTLAUNCH_HPP

#include <KokkosAttention_HostKernels.hpp>
#include <KokkosAttention_PortableProduct.hpp>

#include <Kokkos_Core.hpp>

#include <climits>
#include <string>

/// \file
/// How work items of the host engine are given to the threads of a Kokkos execution space, and which calls it takes.

namespace KokkosAttention::Impl {

template <class ExecutionSpace, class Call>
struct HostKernel {
  // Rows of a causal problem differ in length: threads that finish early take the next tile.
  using Policy = Kokkos::TeamPolicy<ExecutionSpace, Kokkos::Schedule<Kokkos::Dynamic>>;
  using Member = typename Policy::member_type;

  Call call;
  HostItemsFunction<Call> function;
  index_t items, together;
  std::size_t scratch_bytes;
  index_t* next;  // item, where they are to be begun in their order

  void operator()(Member const& member) const {
    auto* const scratch = static_cast<std::byte*>(member.team_scratch(1).get_shmem_aligned(scratch_bytes, 64));
    if (next != nullptr)
      for (index_t n; (n = Kokkos::atomic_fetch_add(next, index_t(1))) < items;) function(call, n, n + 1, scratch);
    else
      for (index_t n = member.league_rank() * together; n < items; n += member.league_size() * together)
        function(call, n, Kokkos::min(n + together, items), scratch);
  }
};

/// \param next a counter that is 0: items are begun in their order
template <class ExecutionSpace, class Call>
void launch_on_host(ExecutionSpace const& space, char const* label, Call const& call, HostItemsFunction<Call> function,
                    index_t items, std::size_t scratch_bytes, index_t* next = nullptr) {
  using Kernel = HostKernel<ExecutionSpace, Call>;
  if (items == 0) return;
  index_t const threads = space.concurrency(), together = items_together(items, threads);
  index_t const teams =
      next != nullptr ? Kokkos::min(items, threads) : Kokkos::min((items + together - 1) / together, index_t(INT_MAX));
  auto policy = typename Kernel::Policy(space, static_cast<int>(teams), 1, 1);
  policy.set_scratch_size(1, Kokkos::PerTeam(scratch_bytes + 64));
  Kokkos::parallel_for(label, policy, Kernel{call, function, items, together, scratch_bytes, next});
}

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

}  // namespace KokkosAttention::Impl

#endif
