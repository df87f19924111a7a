// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_UNFUSED_HPP
#define KOKKOSATTENTION_UNFUSED_HPP

#include <KokkosAttention_Forward.hpp>
#include <KokkosAttention_UnfusedForward.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The module's path with stored scores.

namespace KokkosAttention::Impl {

/// As KokkosAttention::forward, by the unfused engine.
template <ExecutionSpace Space, AttentionView Q, AttentionView K, AttentionView V, AttentionView Out>
void forward_unfused(Space const& space, Q const& q, K const& k, V const& v, Out const& out,
                     options_t<Q> const& options) {
  ArgumentChecker const check("FlashAttention::forward");
  check_tensors<Space>(check, q, k, v, out);
  auto const arguments    = make_forward_arguments(q, k, v, out, NoLse{}, options.scale);
  std::size_t const bytes = unfused_workspace_size(arguments);
  check_options(check, q, k, options, bytes);
  auto const workspace = workspace_or_allocate(space, options.workspace, bytes);
  unfused_forward(space, arguments, make_scores(arguments, options), make_mask(arguments, options), workspace.data());
}

/// Writes a mask's answers for one batch entry and head.
template <ExecutionSpace Space, Mask M, class View>
void fill_mask(Space const& space, M const& mask, View const& view) {
  using Policy         = Kokkos::RangePolicy<Space, Kokkos::IndexType<index_t>>;
  index_t const q_len  = view.extent(0);
  index_t const k_len  = view.extent(1);
  auto const flags     = make_tensor<bool>(view);
  index_t const row    = flags.stride[0];
  index_t const column = flags.stride[1];
  bool* const data     = flags.data;
  Kokkos::parallel_for(
      "KokkosAttention::get_mask", Policy(space, 0, q_len * k_len), KOKKOS_LAMBDA(index_t const e) {
        data[e / k_len * row + e % k_len * column] = mask(0, 0, e / k_len, e % k_len);
      });
}

}  // namespace KokkosAttention::Impl

#endif
