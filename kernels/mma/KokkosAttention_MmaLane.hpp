// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMALANE_HPP
#define KOKKOSATTENTION_MMALANE_HPP

#include <KokkosAttention_MmaInstructions.hpp>

#include <Kokkos_Core.hpp>

namespace KokkosAttention::Impl {

/// Where a lane is in its warp: it is one of a quad of four, and of eight quads.
struct MmaLane {
  int quad;    // 0 ... 7
  int member;  // 0 ... 3, of the quad

  KOKKOS_FORCEINLINE_FUNCTION int number() const { return 4 * quad + member; }

  KOKKOS_FORCEINLINE_FUNCTION static MmaLane of(int number) { return {number / 4, number % 4}; }
  KOKKOS_FORCEINLINE_FUNCTION static MmaLane here() { return of(warp_lane()); }
  /// The same in a register: compilers read the hardware's number again wherever it is used in a loop, which takes
  /// longer than what they compute of it, but not what has been exchanged.
  KOKKOS_FORCEINLINE_FUNCTION static MmaLane kept() { return of(exchange_lanes(warp_lane(), 0)); }
};

}  // namespace KokkosAttention::Impl

#endif
