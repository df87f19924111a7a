// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTBACKWARD_HPP
#define KOKKOSATTENTION_HOSTBACKWARD_HPP

#include <KokkosAttention_BiasGradient.hpp>
#include <KokkosAttention_HostLaunch.hpp>

#include <Kokkos_Core.hpp>
#include <Kokkos_Profiling_ScopedRegion.hpp>

/// \file
/// The host engine's backward pass on a Kokkos execution space: all gradients of a sequence by one thread where there
/// are enough sequences and heads to keep the threads busy, else a kernel for dQ and one for dK and dV. Both form the
/// same sums in the same order.

namespace KokkosAttention::Impl {

template <Scalar ScalarType>
BiasGradientPlan host_bias_plan(HostKernels const& kernels, BackwardArguments<ScalarType> const& arguments) {
  HostBackwardTile const tile = kernels.of<ScalarType>().backward_tile(arguments, GradientOf::bias);
  return {arguments, tile.own, tile.other};
}

template <Scalar ScalarType>
std::size_t host_backward_workspace(HostKernels const& kernels, BackwardArguments<ScalarType> const& arguments) {
  WorkspaceCarver carver(nullptr);
  BackwardArrays<accumulation_t<ScalarType>> const arrays(carver, arguments, host_bias_plan(kernels, arguments));
  return carver.bytes();
}

template <Scalar ScalarType>
index_t host_sequences(AttentionArguments<ScalarType> const& arguments) {
  // What lies before and after packed sequences counts too.
  return (arguments.packed() ? arguments.packed_sequences + index_t(2) : arguments.batch) * arguments.kv_heads;
}

/// Whether threads compute all gradients of a sequence each: five products instead of seven, but fewer work items.
template <class ExecutionSpace, Scalar ScalarType>
bool host_computes_all(ExecutionSpace const& space, HostKernels const& kernels,
                       BackwardArguments<ScalarType> const& arguments) {
  using Policy = Kokkos::TeamPolicy<ExecutionSpace>;
  if (arguments.dq.data == nullptr || (arguments.dk.data == nullptr && arguments.dv.data == nullptr)) return false;
  index_t const sequences = host_sequences(arguments), threads = space.concurrency();
  // Packed sequences may differ much in length.
  bool const busy             = arguments.packed() ? sequences >= 8 * threads
                                                   : 4 * sequences >= 3 * threads * ((sequences + threads - 1) / threads);
  HostBackwardTile const tile = kernels.of<ScalarType>().backward_tile(arguments, GradientOf::all);
  return busy && tile.scratch_bytes + 64 <= static_cast<std::size_t>(Policy::scratch_size_max(1));
}

template <class ExecutionSpace, Scalar ScalarType>
void host_backward(ExecutionSpace const& space, HostKernels const& kernels,
                   BackwardArguments<ScalarType> const& arguments, OptionScores<ScalarType> const& scores,
                   OptionMask const& mask, WeightDropout<accumulation_t<ScalarType>> const& dropout,
                   std::byte* workspace) {
  using T = accumulation_t<ScalarType>;
  Kokkos::Profiling::ScopedRegion const region("KokkosAttention::backward (host)");
  auto const& functions       = kernels.of<ScalarType>();
  BiasGradientPlan const plan = host_bias_plan(kernels, arguments);
  WorkspaceCarver carver(workspace);
  BackwardArrays<T> const arrays(carver, arguments, plan);
  HostBackwardCall<ScalarType> call{
      {arguments, plan, arrays.partial, arrays.part_stride, scores, mask, dropout}, arrays.delta, {}};

  auto const launch = [&](char const* label, auto function, index_t items) {
    launch_on_host(space, label, call, function, items, call.tile.scratch_bytes);
  };
  auto const choose_tile = [&](GradientOf target) { call.tile = functions.backward_tile(arguments, target); };

  if (host_computes_all(space, kernels, arguments)) {
    choose_tile(GradientOf::all);
    launch("KokkosAttention::backward, dq, dk and dv (host)", functions.all, host_sequences(arguments));
  } else {
    launch_on_host(space, "KokkosAttention::backward, delta (host)", call, functions.delta,
                   arguments.batch * arguments.q_heads * host_delta_slots(arguments), 0);
    if (arguments.dq.data != nullptr) {
      choose_tile(GradientOf::queries);
      launch("KokkosAttention::backward, dq (host)", functions.queries,
             work_items(arguments, Side::queries, call.tile.own));
    }
    if (arguments.dk.data != nullptr || arguments.dv.data != nullptr) {
      choose_tile(GradientOf::keys_and_values);
      launch("KokkosAttention::backward, dk and dv (host)", functions.keys_and_values,
             work_items(arguments, Side::keys, call.tile.own));
    }
  }
  if (arguments.dbias.data != nullptr) {
    clear_bias_gradient(space, arguments, plan);
    choose_tile(GradientOf::bias);
    launch("KokkosAttention::backward, dbias (host)", functions.bias, call.loop.items());
    add_bias_gradient_parts(space, arguments, plan, arrays.partial, arrays.part_stride);
  }
}

}  // namespace KokkosAttention::Impl

#endif
