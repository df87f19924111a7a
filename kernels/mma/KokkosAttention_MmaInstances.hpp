// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMAINSTANCES_HPP
#define KOKKOSATTENTION_MMAINSTANCES_HPP

#include <KokkosAttention_MmaBackwardTiles.hpp>
#include <KokkosAttention_MmaTiles.hpp>
#include <KokkosAttention_Modifiers.hpp>
#include <KokkosAttention_WeightDropout.hpp>

#include <Kokkos_Core.hpp>

#include <cstddef>
#include <type_traits>

/// \file
/// What of the mma engine is compiled into the library: calls without user functors.

namespace KokkosAttention::Impl {

/// Whether code for an execution space is compiled for devices that have the instructions.
template <class ExecutionSpace>
#if defined(KOKKOS_ENABLE_CUDA) && !defined(KOKKOS_ARCH_KEPLER) && !defined(KOKKOS_ARCH_MAXWELL) && \
    !defined(KOKKOS_ARCH_PASCAL) && !defined(KOKKOS_ARCH_VOLTA) && !defined(KOKKOS_ARCH_TURING75)
inline constexpr bool compiled_for_mma = std::is_same_v<ExecutionSpace, Kokkos::Cuda>;
#else
inline constexpr bool compiled_for_mma = false;
#endif

/// The passes for one execution space and type.
template <class ExecutionSpace, Scalar ScalarType>
struct MmaForwardInstance {
  static void run(ExecutionSpace const& space, ForwardArguments<ScalarType> const& arguments,
                  OptionScores<ScalarType> const& scores, OptionMask const& mask,
                  WeightDropout<accumulation_t<ScalarType>> const& dropout, MmaForwardTiles const& tiles,
                  std::byte* workspace);
};

template <class ExecutionSpace, Scalar ScalarType>
struct MmaBackwardInstance {
  static std::size_t workspace(BackwardArguments<ScalarType> const& arguments, MmaBackwardTiles const& tiles);
  static void run(ExecutionSpace const& space, BackwardArguments<ScalarType> const& arguments,
                  OptionScores<ScalarType> const& scores, OptionMask const& mask,
                  WeightDropout<accumulation_t<ScalarType>> const& dropout, MmaBackwardTiles const& tiles,
                  std::byte* workspace);
};

}  // namespace KokkosAttention::Impl

#endif
