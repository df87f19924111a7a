// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_PORTABLEINSTANCES_HPP
#define KOKKOSATTENTION_PORTABLEINSTANCES_HPP

#include <KokkosAttention_Modifiers.hpp>
#include <KokkosAttention_PortableBackwardTiles.hpp>
#include <KokkosAttention_PortableTiles.hpp>
#include <KokkosAttention_WeightDropout.hpp>

#include <cstddef>

/// \file
/// What of the portable engine is compiled into the library: calls without user functors. These functions are defined
/// there and only there, with the library's compiler flags.

namespace KokkosAttention::Impl {

/// The passes for one execution space and type.
template <class ExecutionSpace, Scalar ScalarType>
struct PortableInstance {
  using Dropout = WeightDropout<accumulation_t<ScalarType>>;

  static void forward(ExecutionSpace const& space, ForwardArguments<ScalarType> const& arguments,
                      OptionScores<ScalarType> const& scores, OptionMask const& mask, Dropout const& dropout);
  static void backward(ExecutionSpace const& space, BackwardArguments<ScalarType> const& arguments,
                       OptionScores<ScalarType> const& scores, OptionMask const& mask, Dropout const& dropout,
                       std::byte* workspace);

  /// The tiles they would use.
  static PortableTile tile(AttentionArguments<ScalarType> const& arguments);
  static PortableBackwardTile backward_tile(AttentionArguments<ScalarType> const& arguments, GradientOf target);
  static std::size_t backward_workspace(BackwardArguments<ScalarType> const& arguments);
};

}  // namespace KokkosAttention::Impl

#endif
