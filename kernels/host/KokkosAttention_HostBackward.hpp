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
/// are many sequences and heads for each thread; all gradients of a tile of its keys, in turns, where there are fewer;
/// else a kernel for dQ and one for dK and dV. All form the same sums in the same order.

namespace KokkosAttention::Impl {

template <Scalar ScalarType>
BiasGradientPlan host_bias_plan(HostKernels const& kernels, BackwardArguments<ScalarType> const& arguments) {
  HostBackwardTile const tile = kernels.of<ScalarType>().backward_tile(arguments, GradientOf::bias);
  return {arguments, tile.own, tile.other};
}

template <Scalar ScalarType>
index_t host_sequences(AttentionArguments<ScalarType> const& arguments) {
  // What lies before and after packed sequences counts too.
  return (arguments.packed() ? arguments.packed_sequences + index_t(2) : arguments.batch) * arguments.kv_heads;
}

/// What a work item of the gradients of q, k and v is. All gradients of a tile take five products, else seven.
enum class HostBackwardItem {
  sequence,      // all gradients of a sequence
  tile_of_keys,  // all gradients, but those of queries are added to in turns
  tile_of_side   // the gradients of queries, or of keys and values
};

template <class ExecutionSpace, Scalar ScalarType>
HostBackwardItem host_backward_item(ExecutionSpace const& space, HostKernels const& kernels,
                                    BackwardArguments<ScalarType> const& arguments) {
  using Policy                = Kokkos::TeamPolicy<ExecutionSpace>;
  HostBackwardTile const tile = kernels.of<ScalarType>().backward_tile(arguments, GradientOf::all);
  index_t const sequences = host_sequences(arguments), threads = space.concurrency();
  bool const have_all = arguments.dq.data != nullptr && (arguments.dk.data != nullptr || arguments.dv.data != nullptr);
  bool const have_turns = arguments.q_len > 0 && (arguments.packed() || arguments.k_len > tile.own);
  bool const sums_fit   = tile.scratch_bytes + 64 <= static_cast<std::size_t>(Policy::scratch_size_max(1));
  // Threads need not be equally quick, and packed sequences may differ much in length.
  bool const many = threads == 1 || sequences >= 8 * threads;
  bool const even = !arguments.packed() && 4 * sequences >= 3 * threads * ((sequences + threads - 1) / threads);
  if (!have_all) return HostBackwardItem::tile_of_side;
  if (sums_fit && (many || (even && !have_turns))) return HostBackwardItem::sequence;
  // With fewer sequences threads would often wait for their turns. Packed ones are begun one after the other.
  if (have_turns && 4 * index_t(arguments.batch) * arguments.kv_heads >= threads) return HostBackwardItem::tile_of_keys;
  return HostBackwardItem::tile_of_side;
}

template <Scalar ScalarType>
HostBackwardTile host_tile_of_item(HostKernels const& kernels, BackwardArguments<ScalarType> const& arguments,
                                   HostBackwardItem item) {
  HostBackwardTile tile = kernels.of<ScalarType>().backward_tile(arguments, GradientOf::all);
  if (item == HostBackwardItem::tile_of_keys) tile.scratch_bytes = tile.query_sum_offset;  // these are in the workspace
  return tile;
}

/// The arrays of a call in its workspace.
template <class T>
struct HostBackwardArrays {
  BackwardArrays<T> shared;
  HostTurns<T> turns;

  template <Scalar ScalarType>
  HostBackwardArrays(WorkspaceCarver& carver, HostKernels const& kernels,
                     BackwardArguments<ScalarType> const& arguments, HostBackwardItem item, int threads)
      : shared(carver, arguments, host_bias_plan(kernels, arguments)) {
    if (item == HostBackwardItem::tile_of_keys)
      turns = HostTurns<T>(carver, arguments, host_tile_of_item(kernels, arguments, item), threads);
  }
};

template <class ExecutionSpace, Scalar ScalarType>
std::size_t host_backward_workspace(ExecutionSpace const& space, HostKernels const& kernels,
                                    BackwardArguments<ScalarType> const& arguments) {
  WorkspaceCarver carver(nullptr);
  HostBackwardArrays<accumulation_t<ScalarType>> const arrays(
      carver, kernels, arguments, host_backward_item(space, kernels, arguments), space.concurrency());
  return carver.bytes();
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
  HostBackwardItem const item = host_backward_item(space, kernels, arguments);
  WorkspaceCarver carver(workspace);
  HostBackwardArrays<T> const arrays(carver, kernels, arguments, item, space.concurrency());
  auto const& [delta, partial, part_stride] = arrays.shared;
  HostBackwardCall<ScalarType> call{
      {arguments, plan, partial, part_stride, scores, mask, dropout}, delta, {}, arrays.turns};

  auto const launch = [&](char const* label, auto function, index_t items, index_t* next = nullptr) {
    launch_on_host(space, label, call, function, items, call.tile.scratch_bytes, next);
  };
  auto const choose_tile   = [&](GradientOf target) { call.tile = functions.backward_tile(arguments, target); };
  auto const compute_delta = [&] {
    launch_on_host(space, "KokkosAttention::backward, delta (host)", call, functions.delta,
                   arguments.batch * arguments.q_heads * host_delta_slots(arguments), 0);
  };

  char const* const label_of_all = "KokkosAttention::backward, dq, dk and dv (host)";
  if (item != HostBackwardItem::tile_of_side) call.tile = host_tile_of_item(kernels, arguments, item);
  if (item == HostBackwardItem::sequence) {
    launch(label_of_all, functions.all, host_sequences(arguments));
  } else if (item == HostBackwardItem::tile_of_keys) {
    compute_delta();
    launch(label_of_all, functions.turn, call.turns.items(), call.turns.next);
  } else {
    compute_delta();
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
    add_bias_gradient_parts(space, arguments, plan, partial, part_stride);
  }
}

}  // namespace KokkosAttention::Impl

#endif
