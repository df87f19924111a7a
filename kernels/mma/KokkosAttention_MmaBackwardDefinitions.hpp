// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMABACKWARDDEFINITIONS_HPP
#define KOKKOSATTENTION_MMABACKWARDDEFINITIONS_HPP

#include <KokkosAttention_MmaBackward.hpp>
#include <KokkosAttention_MmaInstances.hpp>
#include <KokkosAttention_MmaPlain.hpp>

/// \file
/// The definition of MmaBackwardInstance, for the library's own translation units, one a type.

namespace KokkosAttention::Impl {

template <class ExecutionSpace, Scalar ScalarType>
std::size_t MmaBackwardInstance<ExecutionSpace, ScalarType>::workspace(BackwardArguments<ScalarType> const& arguments,
                                                                       MmaBackwardTiles const& tiles) {
  return mma_backward_workspace<ExecutionSpace>(arguments, tiles);
}

template <class ExecutionSpace, Scalar ScalarType>
void MmaBackwardInstance<ExecutionSpace, ScalarType>::run(ExecutionSpace const& space,
                                                          BackwardArguments<ScalarType> const& arguments,
                                                          OptionScores<ScalarType> const& scores,
                                                          OptionMask const& mask,
                                                          WeightDropout<accumulation_t<ScalarType>> const& dropout,
                                                          MmaBackwardTiles const& tiles, std::byte* workspace) {
  if constexpr (compiled_for_mma<ExecutionSpace>)
    with_options_in_use(arguments, scores, mask, dropout,
                        [&](auto const&... options) { mma_backward(space, arguments, options..., tiles, workspace); });
}

}  // namespace KokkosAttention::Impl

#endif
