// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_PORTABLEDEFINITIONS_HPP
#define KOKKOSATTENTION_PORTABLEDEFINITIONS_HPP

#include <KokkosAttention_PortableForward.hpp>
#include <KokkosAttention_PortableInstances.hpp>

/// \file
/// The definition of PortableInstance, for the library's own translation units, one an execution space.

namespace KokkosAttention::Impl {

template <class ExecutionSpace, Scalar ScalarType>
void PortableInstance<ExecutionSpace, ScalarType>::forward(ExecutionSpace const& space,
                                                           ForwardArguments<ScalarType> const& arguments,
                                                           OptionScores<ScalarType> const& scores,
                                                           OptionMask const& mask) {
  portable_forward(space, arguments, scores, mask);
}

template <class ExecutionSpace, Scalar ScalarType>
PortableTile PortableInstance<ExecutionSpace, ScalarType>::tile(index_t q_len, index_t k_len, int head_dim,
                                                                int value_dim) {
  return portable_tile<ExecutionSpace, ScalarType>(q_len, k_len, head_dim, value_dim);
}

}  // namespace KokkosAttention::Impl

#define KOKKOSATTENTION_PORTABLE_INSTANCES(SPACE)                                          \
  template struct KokkosAttention::Impl::PortableInstance<SPACE, double>;                  \
  template struct KokkosAttention::Impl::PortableInstance<SPACE, float>;                   \
  template struct KokkosAttention::Impl::PortableInstance<SPACE, KokkosAttention::half_t>; \
  template struct KokkosAttention::Impl::PortableInstance<SPACE, KokkosAttention::bhalf_t>;

#endif
