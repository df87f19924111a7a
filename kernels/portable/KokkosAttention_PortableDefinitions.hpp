// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_PORTABLEDEFINITIONS_HPP
#define KOKKOSATTENTION_PORTABLEDEFINITIONS_HPP

#include <KokkosAttention_PortableBackward.hpp>
#include <KokkosAttention_PortableForward.hpp>
#include <KokkosAttention_PortableInstances.hpp>

/// \file
/// The definition of PortableInstance, for the library's own translation units, one an execution space.

namespace KokkosAttention::Impl {

template <class ExecutionSpace, Scalar ScalarType>
void PortableInstance<ExecutionSpace, ScalarType>::forward(ExecutionSpace const& space,
                                                           ForwardArguments<ScalarType> const& arguments,
                                                           OptionScores<ScalarType> const& scores,
                                                           OptionMask const& mask, Dropout const& dropout) {
  portable_forward(space, arguments, scores, mask, dropout);
}

template <class ExecutionSpace, Scalar ScalarType>
void PortableInstance<ExecutionSpace, ScalarType>::backward(ExecutionSpace const& space,
                                                            BackwardArguments<ScalarType> const& arguments,
                                                            OptionScores<ScalarType> const& scores,
                                                            OptionMask const& mask, Dropout const& dropout,
                                                            std::byte* workspace) {
  portable_backward(space, arguments, scores, mask, dropout, workspace);
}

template <class ExecutionSpace, Scalar ScalarType>
PortableTile PortableInstance<ExecutionSpace, ScalarType>::tile(AttentionArguments<ScalarType> const& arguments) {
  return portable_tile<ExecutionSpace>(arguments);
}

template <class ExecutionSpace, Scalar ScalarType>
PortableBackwardTile PortableInstance<ExecutionSpace, ScalarType>::backward_tile(
    AttentionArguments<ScalarType> const& arguments, GradientOf target) {
  return choose_backward_tile(tile_query<ExecutionSpace>(arguments), target);
}

template <class ExecutionSpace, Scalar ScalarType>
std::size_t PortableInstance<ExecutionSpace, ScalarType>::backward_workspace(
    BackwardArguments<ScalarType> const& arguments) {
  return portable_backward_workspace<ExecutionSpace>(arguments);
}

}  // namespace KokkosAttention::Impl

#define KOKKOSATTENTION_PORTABLE_INSTANCES(SPACE)                                          \
  template struct KokkosAttention::Impl::PortableInstance<SPACE, double>;                  \
  template struct KokkosAttention::Impl::PortableInstance<SPACE, float>;                   \
  template struct KokkosAttention::Impl::PortableInstance<SPACE, KokkosAttention::half_t>; \
  template struct KokkosAttention::Impl::PortableInstance<SPACE, KokkosAttention::bhalf_t>;

#endif
