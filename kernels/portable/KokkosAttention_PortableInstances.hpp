// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_PORTABLEINSTANCES_HPP
#define KOKKOSATTENTION_PORTABLEINSTANCES_HPP

#include <KokkosAttention_Modifiers.hpp>
#include <KokkosAttention_PortableTiles.hpp>

/// \file
/// What of the portable engine is compiled into the library: calls without user functors. These functions are defined
/// there and only there, with the library's compiler flags.

namespace KokkosAttention::Impl {

/// The forward pass for one execution space and type.
template <class ExecutionSpace, Scalar ScalarType>
struct PortableInstance {
  static void forward(ExecutionSpace const& space, ForwardArguments<ScalarType> const& arguments,
                      OptionScores<ScalarType> const& scores, OptionMask const& mask);
  /// The tile it would use.
  static PortableTile tile(index_t q_len, index_t k_len, int head_dim, int value_dim);
};

}  // namespace KokkosAttention::Impl

#endif
