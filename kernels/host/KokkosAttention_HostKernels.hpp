// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTKERNELS_HPP
#define KOKKOSATTENTION_HOSTKERNELS_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_BiasGradient.hpp>
#include <KokkosAttention_HostSharedKeys.hpp>
#include <KokkosAttention_HostSplit.hpp>
#include <KokkosAttention_HostTiles.hpp>
#include <KokkosAttention_HostTurns.hpp>
#include <KokkosAttention_Modifiers.hpp>
#include <KokkosAttention_WeightDropout.hpp>

#include <cstddef>

/// \file
/// What the host engine's variants, one an instruction set, offer to code that is compiled for any processor.

namespace KokkosAttention::Impl {

template <Scalar ScalarType>
struct HostForwardCall {
  using T = accumulation_t<ScalarType>;

  ForwardArguments<ScalarType> arguments;
  OptionScores<ScalarType> scores;
  OptionMask mask;
  WeightDropout<T> dropout;
  HostTile tile;
  HostSplit<T> split;
  HostSharedKeys shared;

  index_t items() const {
    return split.chunks == 1 ? work_items(arguments, Side::queries, tile.queries)
                             : arguments.batch * arguments.kv_heads * split.chunks *
                                   tile_slots(arguments, Side::queries, tile.queries);
  }
};

template <Scalar ScalarType>
struct HostBackwardCall {
  using T = accumulation_t<ScalarType>;

  BiasGradientLoop<ScalarType, OptionScores<ScalarType>, OptionMask> loop;
  Tensor<T> delta;  // (B, Hq, Lq): rowsum(dO O)
  HostBackwardTile tile;
  HostTurns<T> turns;
};

/// Rows of delta that a thread computes at a time.
inline constexpr index_t host_delta_rows = 256;

template <Scalar ScalarType>
index_t host_delta_slots(AttentionArguments<ScalarType> const& arguments) {
  return (arguments.q_len + host_delta_rows - 1) / host_delta_rows;
}

/// Items that a thread takes at a time: several where there are many, but so few that threads end together.
constexpr index_t items_together(index_t items, index_t threads) {
  index_t const few = items / (64 * threads);
  return few < 1 ? 1 : few > 8 ? 8 : few;
}

/// Computes work items [begin, end) in scratch of the tile's scratch_bytes, aligned to 64.
template <class Call>
using HostItemsFunction = void (*)(Call const&, index_t begin, index_t end, std::byte* scratch);

template <Scalar ScalarType>
struct HostFunctions {
  HostTile (*forward_tile)(AttentionArguments<ScalarType> const&, int threads);
  HostItemsFunction<HostForwardCall<ScalarType>> pack, forward, combine;

  HostBackwardTile (*backward_tile)(AttentionArguments<ScalarType> const&, GradientOf);
  HostItemsFunction<HostBackwardCall<ScalarType>> delta, queries, keys_and_values, all, turn, bias;
};

struct HostKernels {
  char const* name;
  HostKernels const* base;  // has the functions of types for which there are none here
  HostFunctions<double> const* of_double;
  HostFunctions<float> const* of_float;
  HostFunctions<half_t> const* of_half;
  HostFunctions<bhalf_t> const* of_bhalf;

  template <Scalar ScalarType>
  HostFunctions<ScalarType> const& of() const {
    HostFunctions<ScalarType> const* const own = [this] {
      if constexpr (std::is_same_v<ScalarType, double>)
        return of_double;
      else if constexpr (std::is_same_v<ScalarType, float>)
        return of_float;
      else if constexpr (std::is_same_v<ScalarType, half_t>)
        return of_half;
      else
        return of_bhalf;
    }();
    return own != nullptr ? *own : base->template of<ScalarType>();
  }
};

/// The fastest variant that this processor and its operating system can run; none where the library has no such one.
/// The environment variable KOKKOSATTENTION_HOST_VARIANT names another one, or "none".
/// \throws std::invalid_argument for a variant that does not exist or cannot run here
HostKernels const* host_kernels();

}  // namespace KokkosAttention::Impl

#endif
