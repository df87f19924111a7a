// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMAPLAIN_HPP
#define KOKKOSATTENTION_MMAPLAIN_HPP

#include <KokkosAttention_Modifiers.hpp>
#include <KokkosAttention_WeightDropout.hpp>

namespace KokkosAttention::Impl {

/// Calls f(scores, mask, dropout) with types of their own if a call has none of the options but a causal or window
/// mask: kernels without the other options' branches need fewer registers.
template <Scalar ScalarType, class F>
void with_options_in_use(OptionScores<ScalarType> const& scores, OptionMask const& mask,
                         WeightDropout<accumulation_t<ScalarType>> const& dropout, F const& f) {
  BandMask const& band  = mask.first;
  FlagMask const& flags = mask.rest.first;
  if (scores.active() || flags.flags.data != nullptr || dropout.active())
    f(scores, mask, dropout);
  else
    f(score_chain(), all_of(band), NoDropout<accumulation_t<ScalarType>>());
}

}  // namespace KokkosAttention::Impl

#endif
