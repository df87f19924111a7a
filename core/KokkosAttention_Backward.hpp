// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_BACKWARD_HPP
#define KOKKOSATTENTION_BACKWARD_HPP

#include <KokkosAttention_Checks.hpp>
#include <KokkosAttention_Concepts.hpp>
#include <KokkosAttention_Gradients.hpp>
#include <KokkosAttention_HostBackward.hpp>
#include <KokkosAttention_MmaBackward.hpp>
#include <KokkosAttention_MmaChoice.hpp>
#include <KokkosAttention_Modifiers.hpp>
#include <KokkosAttention_Options.hpp>
#include <KokkosAttention_PortableBackward.hpp>
#include <KokkosAttention_PortableInstances.hpp>
#include <KokkosAttention_Workspace.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The backward pass: gradients of q, k, v and bias.

namespace KokkosAttention {
namespace Impl {

template <AttentionView DOut, AttentionView Q, AttentionView K, AttentionView V, AttentionView Out, class Lse>
auto make_backward_arguments(DOut const& d_out, Q const& q, K const& k, V const& v, Out const& out, Lse const& lse,
                             gradients_t<Q> const& gradients, options_t<Q> const& options) {
  using ScalarType = typename Q::non_const_value_type;
  BackwardArguments<ScalarType> arguments{
      make_attention_arguments(q, k, v, options), {}, {}, {}, {}, {}, {}, {}, {}, {}};
  arguments.d_out = make_tensor<ScalarType const>(d_out);
  arguments.out   = make_tensor<ScalarType const>(out);
  arguments.lse   = make_tensor<accumulation_t<ScalarType> const>(lse);
  arguments.dq    = make_tensor<ScalarType>(gradients.q);
  arguments.dk    = make_tensor<ScalarType>(gradients.k);
  arguments.dv    = make_tensor<ScalarType>(gradients.v);
  arguments.dbias = make_tensor<ScalarType>(gradients.bias);
  for (int d = 0; d < 4; ++d) arguments.dbias_extent[d] = static_cast<index_t>(gradients.bias.extent(d));
  arguments.adds_bias = options.bias.data() != nullptr;
  return arguments;
}

template <bool with_functors, class Space, class ScalarType>
std::size_t backward_workspace([[maybe_unused]] Space const& space, BackwardArguments<ScalarType> const& arguments) {
  if constexpr (compiled_for_mma<Space>) {
    if (MmaBackwardTiles const tiles = mma_backward_tiles(space, arguments); tiles.count > 0) {
      if constexpr (with_functors)
        return mma_backward_workspace<Space>(arguments, tiles);
      else
        return MmaBackwardInstance<Space, ScalarType>::workspace(arguments, tiles);
    }
  }
  if constexpr (with_functors) {
    return portable_backward_workspace<Space>(arguments);
  } else {
    if constexpr (runs_on_host<Space>) {
      if (HostKernels const* const host = host_kernels_for<Space>(arguments); host != nullptr)
        return host_backward_workspace(space, *host, arguments);
    }
    return PortableInstance<Space, ScalarType>::backward_workspace(arguments);
  }
}

/// Checks all arguments, and returns them as kernels take them.
template <ExecutionSpace Space, AttentionView DOut, AttentionView Q, AttentionView K, AttentionView V,
          AttentionView Out, class Lse, class... Functors>
auto checked_backward_arguments(Space const& space, ArgumentChecker const& check, DOut const& d_out, Q const& q,
                                K const& k, V const& v, Out const& out, Lse const& lse, gradients_t<Q> const& gradients,
                                options_t<Q> const& options, Functors const&... functors) {
  using Accumulation = accumulation_t<typename Q::non_const_value_type>;
  static_assert(same_scalar<Q, K> && same_scalar<Q, V> && same_scalar<Q, Out> && same_scalar<Q, DOut>,
                "KokkosAttention::backward: d_out, q, k, v and out must have the same scalar type");
  static_assert(is_lse_input<Q, Lse>,
                "KokkosAttention::backward: lse must be a View of rank 3 in the accumulation type");
  static_assert((UserFunctor<Functors, Accumulation> && ...),
                "KokkosAttention::backward: what follows the options must be score functions, "
                "score(score, batch, head, query, key), or masks, bool(batch, head, query, key)");
  static_assert(((!UserFunctor<Functors, Accumulation> || DifferentiableFunctor<Functors, Accumulation>)&&...),
                "KokkosAttention::backward: a score function must tell its derivative with respect to the score, "
                "derivative(score, batch, head, query, key) const, or, without the score, if it is linear");
  check_tensors<Space>(check, q, k, v, out);
  check.require(q.extent(3) <= largest_backward_head_dim, "q", "head_dim of at most 32768", q.extent(3));
  check.require(v.extent(3) <= largest_backward_head_dim, "v", "value_dim of at most 32768", v.extent(3));
  check.template accessible<Space>(d_out, "d_out");
  for (int d = 0; d < 4; ++d)
    check.extent(d_out, "d_out", d, out.extent(d), "extent(" + std::to_string(d) + ") of out");
  check_lse<Space>(check, q, lse);
  check_options(check, q, k, options);
  (check_functor<Space>(check, functors), ...);
  check_gradients(check, q, k, v, options, gradients);
  auto const place = [&](auto const& gradient, std::string const& name, auto const&... others) {
    check_place(check, gradient, name, d_out, q, k, v, out, lse, options.bias, others...);
  };
  place(gradients.q, "q", gradients.k, gradients.v, gradients.bias);
  place(gradients.k, "k", gradients.v, gradients.bias);
  place(gradients.v, "v", gradients.bias);
  place(gradients.bias, "bias");
  auto arguments = make_backward_arguments(d_out, q, k, v, out, lse, gradients, options);
  OptionInUse const in_use =
      option_in_use(arguments, make_scores(options), make_mask(options), WeightDropout<Accumulation>(options.dropout));
  arguments.single = in_use == OptionInUse::none ||
                     (in_use != OptionInUse::several && in_use != OptionInUse::dropout && sizeof...(Functors) == 0);
  arguments.plain         = arguments.single && (in_use == OptionInUse::none || in_use == OptionInUse::alibi);
  arguments.scored        = in_use != OptionInUse::none || !(Mask<Functors> && ...);
  std::size_t const bytes = backward_workspace<sizeof...(Functors) != 0>(space, arguments);
  check_workspace(check, options.workspace, bytes);
  return std::pair(arguments, bytes);
}

}  // namespace Impl

/// Gradients of a scalar with respect to the inputs of `forward`, from its gradient with respect to the output.
///
/// Computes the weights again from the LSE that `forward` stored, so that memory beyond the arguments is linear in the
/// lengths: one number a query (three in 16 bits on some GPUs, and one for every 64 keys); in 16 bits on GPUs, and on
/// hosts with few sequences for the threads, the gradients of all queries in the accumulation type; in float32 on GPUs,
/// of many keys, a copy of q and d_out; and for some broadcast biases partial sums of the bias gradient.
/// Every sum has a fixed order: the same bits on every run, and an entry's gradients do not depend on the rest of the
/// batch. Enqueues on `space` and returns. A query with nothing to attend contributes nothing and has a gradient of 0,
/// as long as its numbers and those of its gradient are finite. To exclude keys, use a mask or a bias of -inf: a weight
/// is exp(score - LSE), so a query whose every score is a huge finite number, such as -1e30, gets wrong
/// gradients.
///
/// Algorithm: Dao, FlashAttention-2, arXiv:2307.08691, algorithm 2, without additions in an order of chance.
/// \param space execution-space instance
/// \param d_out gradient with respect to the output (B, Hq, Lq, Dv)
/// \param q, k, v, out as given to and written by `forward`
/// \param lse (B, Hq, Lq), written by `forward`
/// \param gradients where to write, see Gradients
/// \param options those given to `forward`
/// \param functors those given to `forward`; score functions must have a member `derivative`, see
///        KokkosAttention_Functors.hpp
/// \throws std::invalid_argument as `forward` does, for head dimensions above 32768, and for gradients whose extents
/// are
///         not those of their inputs, that are in the place of another argument, or of a bias that is not given;
///         nothing is written then
template <ExecutionSpace Space, AttentionView DOut, AttentionView Q, AttentionView K, AttentionView V,
          AttentionView Out, class Lse, class... Functors>
requires Kokkos::is_view_v<Lse>
void backward(Space const& space, DOut const& d_out, Q const& q, K const& k, V const& v, Out const& out, Lse const& lse,
              gradients_t<Q> const& gradients, options_t<Q> const& options = {}, Functors const&... functors) {
  using ScalarType              = typename Q::non_const_value_type;
  auto const [arguments, bytes] = Impl::checked_backward_arguments(space, Impl::ArgumentChecker("backward"), d_out, q,
                                                                   k, v, out, lse, gradients, options, functors...);
  auto const workspace          = Impl::workspace_or_allocate(space, options.workspace, bytes);
  auto const scores             = Impl::make_scores(options, functors...);
  auto const mask               = Impl::make_mask(options, functors...);
  Impl::WeightDropout<accumulation_t<ScalarType>> const dropout(options.dropout);
  if constexpr (Impl::compiled_for_mma<Space>) {
    if (Impl::MmaBackwardTiles const tiles = Impl::mma_backward_tiles(space, arguments); tiles.count > 0) {
      if constexpr (sizeof...(Functors) == 0)
        Impl::MmaBackwardInstance<Space, ScalarType>::run(space, arguments, scores, mask, dropout, tiles,
                                                          workspace.data());
      else
        Impl::mma_backward(
            space, arguments, scores, mask, dropout,
            [&, &call = arguments](auto const& f) {
              Impl::with_functors_and_option_in_use(call, options, dropout, f, functors...);
            },
            tiles, workspace.data());
      return;
    }
  }
  if constexpr (sizeof...(Functors) != 0) {
    Impl::portable_backward(space, arguments, scores, mask, dropout, workspace.data());
  } else {
    if constexpr (Impl::runs_on_host<Space>) {
      if (Impl::HostKernels const* const host = Impl::host_kernels_for<Space>(arguments); host != nullptr)
        return Impl::host_backward(space, *host, arguments, scores, mask, dropout, workspace.data());
    }
    Impl::PortableInstance<Space, ScalarType>::backward(space, arguments, scores, mask, dropout, workspace.data());
  }
}

/// As above, on the default instance of q's execution space.
template <AttentionView DOut, AttentionView Q, AttentionView K, AttentionView V, AttentionView Out, class Lse,
          class... Functors>
requires Kokkos::is_view_v<Lse>
void backward(DOut const& d_out, Q const& q, K const& k, V const& v, Out const& out, Lse const& lse,
              gradients_t<Q> const& gradients, options_t<Q> const& options = {}, Functors const&... functors) {
  backward(typename Q::execution_space(), d_out, q, k, v, out, lse, gradients, options, functors...);
}

}  // namespace KokkosAttention

#endif
