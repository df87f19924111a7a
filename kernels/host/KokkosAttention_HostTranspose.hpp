// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTTRANSPOSE_HPP
#define KOKKOSATTENTION_HOSTTRANSPOSE_HPP

#include <KokkosAttention_HostVector.hpp>
#include <KokkosAttention_Loops.hpp>

#include <Kokkos_Core.hpp>

#include <utility>

/// \file
/// The transpose of as many vectors as each has lanes, in registers.

namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT {

/// Exchanges a bit of the number of a vector with the same bit of the number of a lane.
template <int bit, class Numbers, int... lane>
KOKKOS_FORCEINLINE_FUNCTION void exchange_bit(Numbers& low, Numbers& high, std::integer_sequence<int, lane...>) {
  constexpr int lanes     = sizeof...(lane);
  Numbers const exchanged = __builtin_shufflevector(low, high, ((lane & bit) == 0 ? lane : lanes + lane - bit)...);
  high                    = __builtin_shufflevector(low, high, ((lane & bit) == 0 ? lane + bit : lanes + lane)...);
  low                     = exchanged;
}

template <int bit, class Numbers, int lanes>
KOKKOS_FORCEINLINE_FUNCTION void exchange_bits(Numbers (&vectors)[lanes]) {
  if constexpr (bit < lanes) {
    KOKKOSATTENTION_UNROLL
    for (int n = 0; n < lanes; ++n)
      if ((n & bit) == 0) exchange_bit<bit>(vectors[n], vectors[n | bit], std::make_integer_sequence<int, lanes>());
    exchange_bits<2 * bit>(vectors);
  }
}

/// Lane l of vector n becomes lane n of vector l.
template <class Numbers, int lanes>
KOKKOS_FORCEINLINE_FUNCTION void transpose(Numbers (&vectors)[lanes]) {
  static_assert(lanes * sizeof(vectors[0][0]) == sizeof(Numbers));
  exchange_bits<1>(vectors);
}

}  // namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT

#endif
