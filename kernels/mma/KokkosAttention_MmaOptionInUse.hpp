// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMAOPTIONINUSE_HPP
#define KOKKOSATTENTION_MMAOPTIONINUSE_HPP

#include <KokkosAttention_MmaArithmetic.hpp>
#include <KokkosAttention_MmaBackwardTiles.hpp>
#include <KokkosAttention_MmaCopy.hpp>
#include <KokkosAttention_MmaSplitAhead.hpp>
#include <KokkosAttention_Modifiers.hpp>
#include <KokkosAttention_WeightDropout.hpp>

#include <tuple>
#include <type_traits>

/// \file
/// Calls with one option have kernels of their own: what kernels need not decide costs no registers, of which there are
/// too few. Their rows can be copied 16 bytes at a time. Plain calls have none but a causal or window mask, and perhaps
/// a user's functors.

namespace KokkosAttention::Impl {

/// The one option that a call has beside a causal or window mask; several: or any, of rows that cannot be copied so.
enum class OptionInUse { none, alibi, softcap, bias, mask, dropout, several };

/// Whether a kernel with this dropout is for one option.
template <class DropoutOfWeights>
inline constexpr bool knows_option =
    !std::is_same_v<DropoutOfWeights, WeightDropout<typename DropoutOfWeights::value_type>>;

template <class DropoutOfWeights>
inline constexpr bool never_drops = std::is_same_v<DropoutOfWeights, NoDropout<typename DropoutOfWeights::value_type>>;

/// Whether a backward kernel may be for a call with these scores and dropout.
template <class Scores, class DropoutOfWeights>
constexpr bool may_take(MmaBackwardShape const& shape) {
  constexpr bool drops_none = never_drops<DropoutOfWeights>;
  return !shape.groups || takes_groups(shape, drops_none && Scores::is_quick, drops_none);
}

/// Whether a call with these scores and dropout may have a backward kernel whose queries and dO are split ahead.
template <Scalar ScalarType, class Scores, class DropoutOfWeights>
constexpr bool may_split_ahead(MmaBackwardShape const& shape) {
  return MmaArithmetic<ScalarType>::splits && has_split_ahead_kernel(shape) && never_drops<DropoutOfWeights> &&
         std::is_same_v<Scores, ScoreChain<>>;
}

/// Calls launch(constant), true if the kernel needs to multiply only own rows by the scale. Calls without dropout,
/// whose rows can be copied 16 bytes at a time, have kernels for that: scores by a scale such as 1 / 8 need no
/// operation then, where a branch in a loop would cost as much.
template <Scalar ScalarType, class DropoutOfWeights, class T, class Launch>
void with_kind_of_scale([[maybe_unused]] T scale, Launch const& launch) {
  if constexpr (MmaArithmetic<ScalarType>::scales_own_rows && never_drops<DropoutOfWeights>)
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

template <class Arguments, Scalar ScalarType, class Accumulation>
OptionInUse option_in_use(Arguments const& arguments, OptionScores<ScalarType> const& scores, OptionMask const& mask,
                          WeightDropout<Accumulation> const& dropout) {
  auto const& [softcap, bias, alibi] = std::tie(scores.first, scores.rest.first, scores.rest.rest.first);
  bool const masked                  = mask.rest.first.active();
  if (!lies_in_packs(arguments)) return OptionInUse::several;
  switch (int(softcap.active()) + int(bias.active()) + int(alibi.active()) + int(masked) + int(dropout.active())) {
    case 0:
      return OptionInUse::none;
    case 1:
      break;
    default:
      return OptionInUse::several;
  }
  if (dropout.active()) return OptionInUse::dropout;
  if (masked) return OptionInUse::mask;
  if (softcap.active()) return OptionInUse::softcap;
  return bias.active() ? OptionInUse::bias : OptionInUse::alibi;
}

/// Calls f(scores, mask, dropout) with the types of the kernels for a call.
template <class Arguments, Scalar ScalarType, class Accumulation, class F>
void with_option_in_use(Arguments const& arguments, OptionScores<ScalarType> const& scores, OptionMask const& mask,
                        WeightDropout<Accumulation> const& dropout, F const& f) {
  auto const band       = all_of(mask.first);
  auto const with_score = [&](auto const& score) {
    f(score_chain(InUse<std::remove_cvref_t<decltype(score)>>{score}), band, NoDropout<Accumulation>());
  };
  switch (option_in_use(arguments, scores, mask, dropout)) {
    case OptionInUse::none:
      return f(score_chain(), band, NoDropout<Accumulation>());
    case OptionInUse::alibi:
      return with_score(scores.rest.rest.first);
    case OptionInUse::softcap:
      return with_score(scores.first);
    case OptionInUse::bias:
      return with_score(scores.rest.first);
    case OptionInUse::mask:
      return with_score(Flagged<Accumulation>{mask.rest.first.flags});
    case OptionInUse::dropout:
      return f(score_chain(), band, KnownDropout<Accumulation, true>(dropout));
    case OptionInUse::several:
      return f(scores, mask, dropout);
  }
}

/// The same with a user's functors, which come after the options'. With an option beside them, one kernel is for all.
template <class Arguments, class CallOptions, class Accumulation, class F, class... Functors>
void with_functors_and_option_in_use(Arguments const& arguments, CallOptions const& options,
                                     WeightDropout<Accumulation> const& dropout, F const& f,
                                     Functors const&... functors) {
  auto const mask = make_mask(options);
  if (option_in_use(arguments, make_scores(options), mask, dropout) == OptionInUse::none) {
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
