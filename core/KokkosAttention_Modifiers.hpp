// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MODIFIERS_HPP
#define KOKKOSATTENTION_MODIFIERS_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_Concepts.hpp>
#include <KokkosAttention_Masks.hpp>
#include <KokkosAttention_Scores.hpp>

#include <cmath>
#include <tuple>

/// \file
/// From Views, options and user functors to a kernel's arguments, one chain of score functions and one mask.

namespace KokkosAttention::Impl {

template <AttentionView Q, AttentionView K, AttentionView V>
auto make_attention_arguments(Q const& q, K const& k, V const& v, options_t<Q> const& options) {
  using ScalarType = typename Q::non_const_value_type;
  AttentionArguments<ScalarType> arguments{};
  arguments.q         = make_tensor<ScalarType const>(q);
  arguments.k         = make_tensor<ScalarType const>(k);
  arguments.v         = make_tensor<ScalarType const>(v);
  arguments.batch     = static_cast<int>(q.extent(0));
  arguments.q_heads   = static_cast<int>(q.extent(1));
  arguments.kv_heads  = static_cast<int>(k.extent(1));
  arguments.q_len     = static_cast<index_t>(q.extent(2));
  arguments.k_len     = static_cast<index_t>(k.extent(2));
  arguments.head_dim  = static_cast<int>(q.extent(3));
  arguments.value_dim = static_cast<int>(v.extent(3));
  double const scale  = options.scale != 0. ? options.scale : 1. / std::sqrt(double(q.extent(3)));
  arguments.scale     = static_cast<accumulation_t<ScalarType>>(scale);
  if (options.q_offsets.data() != nullptr) {
    arguments.q_offsets        = make_vector<index_t const>(options.q_offsets);
    arguments.k_offsets        = make_vector<index_t const>(options.k_offsets);
    arguments.packed_sequences = static_cast<int>(options.q_offsets.extent(0)) - 1;
  }
  return arguments;
}

template <Scalar ScalarType>
using OptionScores = ScoreChain<Softcap<ScalarType>, Bias<ScalarType>, Alibi<accumulation_t<ScalarType>>>;

using OptionMask = AllOf<BandMask, FlagMask>;

/// The functors that are masks, or those that are not, in their order.
template <bool WantMasks, class Functor>
auto keep_if(Functor const& functor) {
  if constexpr (Mask<Functor> == WantMasks)
    return std::tuple<Functor>(functor);
  else
    return std::tuple<>();
}

template <Scalar ScalarType, class MemorySpace, class... Functors>
auto make_scores(Options<ScalarType, MemorySpace> const& options, Functors const&... functors) {
  using Accumulation = accumulation_t<ScalarType>;
  Softcap<ScalarType> const softcap(options.softcap);
  Bias<ScalarType> const bias{make_tensor<ScalarType const>(options.bias)};
  Alibi<Accumulation> const alibi{make_vector<Accumulation const>(options.alibi_slopes), options.alignment};
  return std::apply([&](auto const&... user) { return score_chain(softcap, bias, alibi, user...); },
                    std::tuple_cat(keep_if<false>(functors)...));
}

template <Scalar ScalarType, class MemorySpace, class... Functors>
auto make_mask(Options<ScalarType, MemorySpace> const& options, Functors const&... functors) {
  BandMask const band = make_band_mask(options.causal, options.window, options.alignment);
  FlagMask const flags{make_tensor<bool const>(options.mask)};
  return std::apply([&](auto const&... user) { return all_of(band, flags, user...); },
                    std::tuple_cat(keep_if<true>(functors)...));
}

}  // namespace KokkosAttention::Impl

#endif
