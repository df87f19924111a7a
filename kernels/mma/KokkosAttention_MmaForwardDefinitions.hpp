// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMAFORWARDDEFINITIONS_HPP
#define KOKKOSATTENTION_MMAFORWARDDEFINITIONS_HPP

#include <KokkosAttention_MmaForward.hpp>
#include <KokkosAttention_MmaInstances.hpp>
#include <KokkosAttention_MmaOptionInUse.hpp>

/// \file
/// The definition of MmaForwardInstance, for the library's own translation units, one a type.

namespace KokkosAttention::Impl {

template <class ExecutionSpace, Scalar ScalarType>
void MmaForwardInstance<ExecutionSpace, ScalarType>::run(ExecutionSpace const& space,
                                                         ForwardArguments<ScalarType> const& arguments,
                                                         OptionScores<ScalarType> const& scores, OptionMask const& mask,
                                                         WeightDropout<accumulation_t<ScalarType>> const& dropout,
                                                         MmaForwardTiles const& tiles, std::byte* workspace) {
  if constexpr (compiled_for_mma<ExecutionSpace>)
    with_option_in_use(arguments, scores, mask, dropout,
                       [&](auto const&... options) { mma_forward(space, arguments, options..., tiles, workspace); });
}

}  // namespace KokkosAttention::Impl

#endif
