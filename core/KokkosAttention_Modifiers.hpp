// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MODIFIERS_HPP
#define KOKKOSATTENTION_MODIFIERS_HPP

#include <KokkosAttention_Concepts.hpp>
#include <KokkosAttention_ForwardLoop.hpp>
#include <KokkosAttention_Masks.hpp>
#include <KokkosAttention_Scores.hpp>

#include <tuple>

/// \file
/// From options and user functors to one chain of score functions and one mask.

namespace KokkosAttention::Impl {

template <Scalar ScalarType>
using OptionScores =
    ScoreChain<Softcap<accumulation_t<ScalarType>>, Bias<ScalarType>, Alibi<accumulation_t<ScalarType>>>;

using OptionMask = AllOf<BandMask, FlagMask>;

/// The functors that are masks, or those that are not, in their order.
template <bool WantMasks, class Functor>
auto keep_if(Functor const& functor) {
  if constexpr (Mask<Functor> == WantMasks)
    return std::tuple<Functor>(functor);
  else
    return std::tuple<>();
}

template <Scalar ScalarType, class Options, class... Functors>
auto make_scores(ForwardArguments<ScalarType> const& arguments, Options const& options, Functors const&... functors) {
  using Accumulation = accumulation_t<ScalarType>;
  Softcap<Accumulation> const softcap{static_cast<Accumulation>(options.softcap)};
  Bias<ScalarType> const bias{make_tensor<ScalarType const>(options.bias)};
  Alibi<Accumulation> const alibi{options.alibi_slopes.data(), static_cast<index_t>(options.alibi_slopes.stride(0)),
                                  diagonal_offset(options.alignment, arguments.q_len, arguments.k_len)};
  return std::apply([&](auto const&... user) { return score_chain(softcap, bias, alibi, user...); },
                    std::tuple_cat(keep_if<false>(functors)...));
}

template <Scalar ScalarType, class Options, class... Functors>
auto make_mask(ForwardArguments<ScalarType> const& arguments, Options const& options, Functors const&... functors) {
  BandMask const band = make_band_mask(options.causal, options.window,
                                       diagonal_offset(options.alignment, arguments.q_len, arguments.k_len));
  FlagMask const flags{make_tensor<bool const>(options.mask)};
  return std::apply([&](auto const&... user) { return all_of(band, flags, user...); },
                    std::tuple_cat(keep_if<true>(functors)...));
}

}  // namespace KokkosAttention::Impl

#endif
