// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMASWAP_HPP
#define KOKKOSATTENTION_MMASWAP_HPP

#include <Kokkos_Core.hpp>

/// \file
/// Where numbers of 16 bits lie in rows of team scratch that have no padding: packs of eight change places, so that the
/// same pack of eight rows hits all banks. Padding would do that too, but then copies of 128 bytes, which memory brings
/// together, lie across two lines of scratch: they take twice as long, and half as much again is asked of the L2.

namespace KokkosAttention::Impl {

/// Whether rows that are a stride apart have no padding.
template <class Number>
KOKKOS_FORCEINLINE_FUNCTION constexpr bool swaps_columns(int stride) {
  return sizeof(Number) == 2 && stride % 64 == 0;
}

/// Number (row, column) lies at row * stride + (column ^ swapped_columns(row)).
/// \param row counted from one that is a multiple of eight, as columns are from a multiple of 64
template <class Number>
KOKKOS_FORCEINLINE_FUNCTION constexpr int swapped_columns(int row, int stride) {
  return swaps_columns<Number>(stride) ? 8 * static_cast<int>(static_cast<unsigned>(row) % 8) : 0;
}

}  // namespace KokkosAttention::Impl

#endif
