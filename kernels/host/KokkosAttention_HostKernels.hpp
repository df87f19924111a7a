// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTKERNELS_HPP
#define KOKKOSATTENTION_HOSTKERNELS_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_HostTiles.hpp>
#include <KokkosAttention_Modifiers.hpp>
#include <KokkosAttention_WeightDropout.hpp>

#include <cstddef>

/// \file
/// What the host engine's variants, one an instruction set, offer to code that is compiled for any processor.

namespace KokkosAttention::Impl {

template <Scalar ScalarType>
struct HostForwardCall {
  ForwardArguments<ScalarType> arguments;
  OptionScores<ScalarType> scores;
  OptionMask mask;
  WeightDropout<accumulation_t<ScalarType>> dropout;
  HostTile tile;
};

template <Scalar ScalarType>
struct HostFunctions {
  HostTile (*forward_tile)(AttentionArguments<ScalarType> const&);
  /// Computes the n-th work item, in scratch of tile.scratch_bytes, aligned to 64.
  void (*forward)(HostForwardCall<ScalarType> const&, index_t n, std::byte* scratch);
};

struct HostKernels {
  char const* name;
  HostFunctions<double> of_double;
  HostFunctions<float> of_float;
  HostFunctions<half_t> of_half;
  HostFunctions<bhalf_t> of_bhalf;

  template <Scalar ScalarType>
  HostFunctions<ScalarType> const& of() const {
    if constexpr (std::is_same_v<ScalarType, double>)
      return of_double;
    else if constexpr (std::is_same_v<ScalarType, float>)
      return of_float;
    else if constexpr (std::is_same_v<ScalarType, half_t>)
      return of_half;
    else
      return of_bhalf;
  }
};

/// The fastest variant that this processor and its operating system can run; none where the library has no such one.
/// The environment variable KOKKOSATTENTION_HOST_VARIANT names another one, or "none". \throws std::invalid_argument
/// for a variant that does not exist or cannot run here
HostKernels const* host_kernels();

}  // namespace KokkosAttention::Impl

#endif
