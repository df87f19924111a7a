// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMABACKWARDDEFINITIONS_HPP
#define KOKKOSATTENTION_MMABACKWARDDEFINITIONS_HPP

#include <KokkosAttention_MmaBackward.hpp>
#include <KokkosAttention_MmaInstances.hpp>
#include <KokkosAttention_MmaOptionInUse.hpp>

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
    mma_backward(
        space, arguments, scores, mask, dropout,
        [&](auto const& f) { with_option_in_use(arguments, scores, mask, dropout, f); }, tiles, workspace);
}

}  // namespace KokkosAttention::Impl

#endif
