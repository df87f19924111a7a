// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_PHILOX_HPP
#define KOKKOSATTENTION_PHILOX_HPP

#include <KokkosAttention_Loops.hpp>

#include <Kokkos_Core.hpp>

#include <cstdint>

/// \file
/// Philox 4x32-10, a random number generator without state: 128 random bits are a function of a 128-bit counter and a
/// 64-bit key (Salmon, Moraes, Dror, Shaw, Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011).

namespace KokkosAttention::Impl {

struct PhiloxCounter {
  std::uint32_t word[4];
};

struct PhiloxKey {
  std::uint32_t word[2];
};

KOKKOS_FORCEINLINE_FUNCTION constexpr PhiloxCounter philox(PhiloxCounter counter, PhiloxKey key) {
  constexpr std::uint64_t multiplier[2] = {0xD2511F53u, 0xCD9E8D57u};
  constexpr std::uint32_t weyl[2]       = {0x9E3779B9u, 0xBB67AE85u};
  KOKKOSATTENTION_UNROLL
  for (int round = 0; round < 10; ++round) {
    std::uint64_t const product0 = multiplier[0] * counter.word[0];
    std::uint64_t const product1 = multiplier[1] * counter.word[2];

    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter.word[1] ^ key.word[0],
               static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter.word[3] ^ key.word[1],
               static_cast<std::uint32_t>(product0)};
    key     = {key.word[0] + weyl[0], key.word[1] + weyl[1]};
  }
  return counter;
}

}  // namespace KokkosAttention::Impl

#endif
