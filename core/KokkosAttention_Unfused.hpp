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
template <ExecutionSpace Space, AttentionView Q, AttentionView K, AttentionView V, AttentionView Out, class Lse>
void forward_unfused(Space const& space, Q const& q, K const& k, V const& v, Out const& out, Lse const& lse,
                     options_t<Q> const& options) {
  ArgumentChecker const check("FlashAttention::forward");
  check_tensors<Space>(check, q, k, v, out);
  if constexpr (!std::is_same_v<Lse, NoLse>) check_lse<Space>(check, q, lse);
  check_options(check, q, k, options);
  auto const arguments    = make_forward_arguments(q, k, v, out, lse, options);
  std::size_t const bytes = unfused_workspace_size(arguments);
  check_workspace(check, options.workspace, bytes);
  auto const workspace = workspace_or_allocate(space, options.workspace, bytes);
  unfused_forward(space, arguments, make_scores(options), make_mask(options),
                  WeightDropout<accumulation_t<typename Q::non_const_value_type>>(options.dropout), workspace.data());
}

template <Mask M>
struct FillMaskKernel {
  M mask;
  Tensor<bool> flags;
  index_t k_len;

  KOKKOS_FUNCTION void operator()(index_t e) const {
    index_t const i = e / k_len, j = e % k_len;
    flags.data[i * flags.stride[0] + j * flags.stride[1]] = mask(0, 0, i, j);
  }
};

/// Writes a mask's answers for one batch entry and head.
template <ExecutionSpace Space, Mask M, class View>
void fill_mask(Space const& space, M const& mask, View const& view) {
  index_t const q_len = view.extent(0), k_len = view.extent(1);
  Kokkos::parallel_for("KokkosAttention::get_mask",
                       Kokkos::RangePolicy<Space, Kokkos::IndexType<index_t>>(space, 0, q_len * k_len),
                       FillMaskKernel<M>{mask, make_tensor<bool>(view), k_len});
}

}  // namespace KokkosAttention::Impl

#endif
