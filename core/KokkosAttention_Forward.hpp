// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_FORWARD_HPP
#define KOKKOSATTENTION_FORWARD_HPP

#include <KokkosAttention_Checks.hpp>
#include <KokkosAttention_Concepts.hpp>
#include <KokkosAttention_HostForward.hpp>
#include <KokkosAttention_MmaChoice.hpp>
#include <KokkosAttention_MmaForward.hpp>
#include <KokkosAttention_Modifiers.hpp>
#include <KokkosAttention_Options.hpp>
#include <KokkosAttention_PortableForward.hpp>
#include <KokkosAttention_PortableInstances.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The forward pass: out = softmax(scale q k^T) v and its variations.

namespace KokkosAttention {
namespace Impl {

struct NoLse {};

template <AttentionView Q, AttentionView K, AttentionView V, AttentionView Out, class Lse>
auto make_forward_arguments(Q const& q, K const& k, V const& v, Out const& out, Lse const& lse,
                            options_t<Q> const& options) {
  using ScalarType = typename Q::non_const_value_type;
  ForwardArguments<ScalarType> arguments{make_attention_arguments(q, k, v, options), {}, {}};
  arguments.out = make_tensor<ScalarType>(out);
  if constexpr (!std::is_same_v<Lse, NoLse>) arguments.lse = make_tensor<accumulation_t<ScalarType>>(lse);
  return arguments;
}

struct ForwardWorkspace {
  std::size_t bytes = 0;
  bool needed       = true;  // else the call does without, slower
};

/// Most calls need none, as the fused engines keep their intermediate results in team scratch.
template <bool with_functors, class Space, class ScalarType>
ForwardWorkspace forward_workspace(Space const& space, ForwardArguments<ScalarType> const& arguments) {
  if constexpr (compiled_for_mma<Space>)
    if (MmaForwardTiles const tiles = mma_tiles<Space, ScalarType>(space, arguments); tiles.count > 0)
      return {mma_forward_workspace<ScalarType>(arguments, tiles), false};
  if constexpr (!with_functors && runs_on_host<Space>) {
    if (HostKernels const* const host = host_kernels_for<Space, ScalarType>(arguments); host != nullptr)
      return {host_forward_workspace<ScalarType>(*host, arguments)};
  }
  return {};
}

/// Checks all arguments, and returns them as kernels take them.
template <ExecutionSpace Space, AttentionView Q, AttentionView K, AttentionView V, AttentionView Out, class Lse,
          class... Functors>
auto checked_forward_arguments(Space const& space, ArgumentChecker const& check, Q const& q, K const& k, V const& v,
                               Out const& out, Lse const& lse, options_t<Q> const& options,
                               Functors const&... functors) {
  using Accumulation = accumulation_t<typename Q::non_const_value_type>;
  static_assert(same_scalar<Q, K> && same_scalar<Q, V> && same_scalar<Q, Out>,
                "KokkosAttention::forward: q, k, v and out must have the same scalar type");
  static_assert(is_writable<Out>, "KokkosAttention::forward: out must not be const");
  static_assert((UserFunctor<Functors, Accumulation> && ...),
                "KokkosAttention::forward: what follows the options must be score functions, "
                "score(score, batch, head, query, key), or masks, bool(batch, head, query, key)");

  check_tensors<Space>(check, q, k, v, out);
  if constexpr (!std::is_same_v<Lse, NoLse>) {
    static_assert(is_lse_view<Q, Lse>,
                  "KokkosAttention::forward: lse must be a writable View of rank 3 in the accumulation type");
    check_lse<Space>(check, q, lse);
  }
  check_options(check, q, k, options);
  (check_functor<Space>(check, functors), ...);
  auto arguments = make_forward_arguments(q, k, v, out, lse, options);
  OptionInUse const in_use =
      option_in_use(arguments, make_scores(options), make_mask(options), WeightDropout<Accumulation>(options.dropout));
  arguments.plain     = in_use == OptionInUse::none || (in_use != OptionInUse::several && sizeof...(Functors) == 0);
  arguments.adds_bias = in_use == OptionInUse::bias && sizeof...(Functors) == 0;
  ForwardWorkspace const workspace = forward_workspace<sizeof...(Functors) != 0>(space, arguments);
  if (workspace.needed) check_workspace(check, options.workspace, workspace.bytes);
  return std::pair(arguments, workspace.bytes);
}

template <ExecutionSpace Space, AttentionView Q, AttentionView K, AttentionView V, AttentionView Out, class Lse,
          class... Functors>
void forward(Space const& space, Q const& q, K const& k, V const& v, Out const& out, Lse const& lse,
             options_t<Q> const& options, Functors const&... functors) {
  using ScalarType = typename Q::non_const_value_type;
  auto const [arguments, bytes] =
      checked_forward_arguments(space, ArgumentChecker("forward"), q, k, v, out, lse, options, functors...);
  auto const scores = make_scores(options, functors...);
  auto const mask   = make_mask(options, functors...);
  WeightDropout<accumulation_t<ScalarType>> const dropout(options.dropout);
  if constexpr (compiled_for_mma<Space>) {
    if (MmaForwardTiles tiles = mma_tiles(space, arguments); tiles.count > 0) {
      // Nothing is allocated for it: that would take longer than short calls do, and wait for what runs.
      tiles.tile[0].splits_ahead = tiles.tile[0].splits_ahead && options.workspace.extent(0) >= bytes;
      std::byte* const workspace = options.workspace.data();
      if constexpr (sizeof...(Functors) != 0)
        with_functors_and_option_in_use(
            arguments, options, dropout,
            [&, &call = arguments](auto const&... in_use) { mma_forward(space, call, in_use..., tiles, workspace); },
            functors...);
      else
        MmaForwardInstance<Space, ScalarType>::run(space, arguments, scores, mask, dropout, tiles, workspace);
      return;
    }
  }
  if constexpr (sizeof...(Functors) != 0) {
    portable_forward(space, arguments, scores, mask, dropout);
  } else {
    if constexpr (runs_on_host<Space>) {
      if (HostKernels const* const host = host_kernels_for<Space>(arguments); host != nullptr)
        return host_forward(space, *host, arguments, scores, mask, dropout,
                            workspace_or_allocate(space, options.workspace, bytes).data());
    }
    PortableInstance<Space, ScalarType>::forward(space, arguments, scores, mask, dropout);
  }
}

}  // namespace Impl

/// Exact attention: out = softmax(scale q k^T) v for every batch entry and head, without storing the scores.
///
/// Enqueues on `space` and returns; allocates nothing where `workspace_size` says 0 or the options bring a workspace
/// (Kokkos' own team scratch grows at an instance's first calls). A query with no key to attend gives 0 and an LSE of
/// -inf. Lengths of 0 are allowed. Every element of out and lse is written.
///
/// Algorithm: online softmax over tiles of keys (Dao, FlashAttention-2, arXiv:2307.08691).
/// \param space execution-space instance
/// \param q queries (B, Hq, Lq, D)
/// \param k keys (B, Hkv, Lk, D); Hkv divides Hq: query head h reads key-value head h / (Hq / Hkv)
/// \param v values (B, Hkv, Lk, Dv)
/// \param out output (B, Hq, Lq, Dv), written
/// \param options see Options
/// \param functors score functions and masks of the user's, see KokkosAttention_Functors.hpp; score functions are
///        applied in the order given, after those of the options
/// \throws std::invalid_argument for extents that do not agree, options out of range, or a View that `space` cannot
///         access; nothing is written then. Rank and type are checked at compile time.
template <ExecutionSpace Space, AttentionView Q, AttentionView K, AttentionView V, AttentionView Out, class... Functors>
void forward(Space const& space, Q const& q, K const& k, V const& v, Out const& out, options_t<Q> const& options = {},
             Functors const&... functors) {
  Impl::forward(space, q, k, v, out, Impl::NoLse{}, options, functors...);
}

/// As above, and stores the log-sum-exp of each query's scores, natural logarithm, for backward passes and merges.
/// \param lse (B, Hq, Lq) in the accumulation type, written
template <ExecutionSpace Space, AttentionView Q, AttentionView K, AttentionView V, AttentionView Out, class Lse,
          class... Functors>
requires Kokkos::is_view_v<Lse>
void forward(Space const& space, Q const& q, K const& k, V const& v, Out const& out, Lse const& lse,
             options_t<Q> const& options = {}, Functors const&... functors) {
  Impl::forward(space, q, k, v, out, lse, options, functors...);
}

/// As above, on the default instance of q's execution space.
template <AttentionView Q, AttentionView K, AttentionView V, AttentionView Out, class... Functors>
void forward(Q const& q, K const& k, V const& v, Out const& out, options_t<Q> const& options = {},
             Functors const&... functors) {
  forward(typename Q::execution_space(), q, k, v, out, options, functors...);
}

template <AttentionView Q, AttentionView K, AttentionView V, AttentionView Out, class Lse, class... Functors>
requires Kokkos::is_view_v<Lse>
void forward(Q const& q, K const& k, V const& v, Out const& out, Lse const& lse, options_t<Q> const& options = {},
             Functors const&... functors) {
  forward(typename Q::execution_space(), q, k, v, out, lse, options, functors...);
}

}  // namespace KokkosAttention

#endif
