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

template <class Number>
KOKKOS_FORCEINLINE_FUNCTION constexpr bool swaps_columns(int stride) {
  return sizeof(Number) == 2 && stride % 16 == 0;
}

/// Number (row, column) lies at row * stride + (column ^ swapped_columns(row)).
/// \param row counted from one that is a multiple of eight, as columns are from a multiple of 64
/// \param stride from one row to the next: 16, 32, a multiple of 64, or with padding
template <class Number>
KOKKOS_FORCEINLINE_FUNCTION constexpr int swapped_columns(int row, int stride) {
  if (!swaps_columns<Number>(stride)) return 0;
  unsigned const packs = stride < 64 ? unsigned(stride) / 8 : 8, rows = 8 / packs;  // of a line of 128 bytes
  return 8 * static_cast<int>(static_cast<unsigned>(row) / rows % packs);
}

}  // namespace KokkosAttention::Impl

#endif
