// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMASTORE_HPP
#define KOKKOSATTENTION_MMASTORE_HPP

#include <KokkosAttention_MmaArithmetic.hpp>
#include <KokkosAttention_MmaCopy.hpp>
#include <KokkosAttention_MmaRows.hpp>

#include <Kokkos_Core.hpp>

namespace KokkosAttention::Impl {

struct alignas(16) MmaPack {
  unsigned value[4];
};

/// Stores a warp's sums to rows of an array, by way of scratch: its lanes write what lies side by side.
/// \param factor factor(b, h) of row quad + 16 b + 8 h
/// \param scratch 16 row_blocks rows of a stride of numbers, which only this warp uses
/// \param to may have fewer rows and columns than there are sums
template <class Arithmetic, int stride, bool in_packs, int row_blocks, int blocks, class Factor>
KOKKOS_FORCEINLINE_FUNCTION void store_rows(typename Arithmetic::Sum const (&sums)[row_blocks][blocks],
                                            Factor const& factor, typename Arithmetic::Number* scratch,
                                            MatrixRows<typename Arithmetic::Number> const& to, MmaLane lane) {
  using Number = typename Arithmetic::Number;
  for_each_element<row_blocks, blocks>([&](int b, int n, int h, int e) {
    scratch[(lane.quad + 16 * b + 8 * h) * stride + Arithmetic::column(n, e, lane)] =
        static_cast<Number>(factor(b, h) * sums[b][n].value[2 * h + e]);
  });
  warp_barrier();
  constexpr int rows = 16 * row_blocks, columns = 8 * blocks;
  if (in_packs || copies_in_packs(to)) {
    constexpr int pack = 16 / int(sizeof(Number));
    KOKKOSATTENTION_ROLLED
    for (int n = lane.number(); n < rows * columns / pack; n += 32) {
      int const r = n / (columns / pack), c = n % (columns / pack) * pack;
      if (r < to.rows && c < to.columns)
        *reinterpret_cast<MmaPack*>(&to(r, c)) = *reinterpret_cast<MmaPack const*>(scratch + r * stride + c);
    }
  } else {
    KOKKOSATTENTION_ROLLED
    for (int n = lane.number(); n < rows * columns; n += 32) {
      int const r = n / columns, c = n % columns;
      if (r < to.rows && c < to.columns) to(r, c) = scratch[r * stride + c];
    }
  }
  warp_barrier();
}

}  // namespace KokkosAttention::Impl

#endif
