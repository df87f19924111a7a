// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMAPLAIN_HPP
#define KOKKOSATTENTION_MMAPLAIN_HPP

#include <KokkosAttention_MmaArithmetic.hpp>
#include <KokkosAttention_MmaBackwardTiles.hpp>
#include <KokkosAttention_MmaCopy.hpp>
#include <KokkosAttention_MmaSplitAhead.hpp>
#include <KokkosAttention_Modifiers.hpp>
#include <KokkosAttention_WeightDropout.hpp>

#include <tuple>
#include <type_traits>

/// \file
/// Plain calls have kernels of their own: no options but a causal or window mask, and perhaps a user's functors (in the
/// backward pass, shapes for plain calls take linear score functions only), and rows that can be copied 16 bytes at a
/// time. What kernels need not decide costs no registers, of which there are too few.

namespace KokkosAttention::Impl {

/// Whether kernels with this dropout are those of plain calls.
template <class DropoutOfWeights>
inline constexpr bool is_plain = std::is_same_v<DropoutOfWeights, NoDropout<typename DropoutOfWeights::value_type>>;

/// Whether a backward kernel may be for a call with these scores and dropout.
template <class Scores, class DropoutOfWeights>
constexpr bool may_take(MmaBackwardShape const& shape) {
  return !shape.plain ||
         (is_plain<DropoutOfWeights> && Scores::template is_linear<typename DropoutOfWeights::value_type>);
}

/// Whether a call with these scores and dropout may have a backward kernel whose queries and dO are split ahead.
template <Scalar ScalarType, class Scores, class DropoutOfWeights>
constexpr bool may_split_ahead(MmaBackwardShape const& shape) {
  return MmaArithmetic<ScalarType>::splits && has_split_ahead_kernel(shape) && is_plain<DropoutOfWeights> &&
         std::is_same_v<Scores, ScoreChain<>>;
}

/// Calls launch(constant), true if the kernel needs to multiply only own rows by the scale. Plain calls have kernels
/// for that: scores by a scale such as 1 / 8 need no operation then, where a branch in a loop would cost as much.
template <Scalar ScalarType, class DropoutOfWeights, class T, class Launch>
void with_kind_of_scale([[maybe_unused]] T scale, Launch const& launch) {
  if constexpr (MmaArithmetic<ScalarType>::scales_own_rows && is_plain<DropoutOfWeights>)
    if (FactorParts(scale).is_power()) return launch(std::true_type());
  launch(std::false_type());
}

template <Scalar ScalarType>
bool lies_in_packs(ForwardArguments<ScalarType> const& a) {
  return lies_in_packs(a.q, a.head_dim) && lies_in_packs(a.k, a.head_dim) && lies_in_packs(a.v, a.value_dim) &&
         lies_in_packs(a.out, a.value_dim);
}

template <Scalar ScalarType>
bool lies_in_packs(BackwardArguments<ScalarType> const& a) {
  return lies_in_packs(a.q, a.head_dim) && lies_in_packs(a.k, a.head_dim) && lies_in_packs(a.v, a.value_dim) &&
         lies_in_packs(a.d_out, a.value_dim) && lies_in_packs(a.dq, a.head_dim) && lies_in_packs(a.dk, a.head_dim) &&
         lies_in_packs(a.dv, a.value_dim);
}

/// Whether a call has no option but causal or window, and rows that can be copied 16 bytes at a time.
template <class Arguments, class Scores, class Accumulation>
bool leaves_options_alone(Arguments const& arguments, Scores const& scores, OptionMask const& mask,
                          WeightDropout<Accumulation> const& dropout) {
  FlagMask const& flags = mask.rest.first;
  return !scores.active() && flags.flags.data == nullptr && !dropout.active() && lies_in_packs(arguments);
}

/// Calls f(scores, mask, dropout), for a plain call with the types that tell its kernels so.
template <class Arguments, class Scores, class Accumulation, class F>
void with_options_in_use(Arguments const& arguments, Scores const& scores, OptionMask const& mask,
                         WeightDropout<Accumulation> const& dropout, F const& f) {
  if (leaves_options_alone(arguments, scores, mask, dropout))
    f(score_chain(), all_of(mask.first), NoDropout<Accumulation>());
  else
    f(scores, mask, dropout);
}

/// The same with a user's functors, which come after the options'.
template <class Arguments, class CallOptions, class Accumulation, class F, class... Functors>
void with_functors_and_options_in_use(Arguments const& arguments, CallOptions const& options,
                                      WeightDropout<Accumulation> const& dropout, F const& f,
                                      Functors const&... functors) {
  OptionMask const mask = make_mask(options);
  if (leaves_options_alone(arguments, make_scores(options), mask, dropout)) {
    auto const scores = std::apply([](auto const&... user) { return score_chain(user...); },
                                   std::tuple_cat(keep_if<false>(functors)...));
    auto const masks  = std::apply([&](auto const&... user) { return all_of(mask.first, user...); },
                                  std::tuple_cat(keep_if<true>(functors)...));
    f(scores, masks, NoDropout<Accumulation>());
  } else {
    f(make_scores(options, functors...), make_mask(options, functors...), dropout);
  }
}

}  // namespace KokkosAttention::Impl

#endif
