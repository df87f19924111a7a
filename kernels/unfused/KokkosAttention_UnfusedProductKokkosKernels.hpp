// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_UNFUSEDPRODUCTKOKKOSKERNELS_HPP
#define KOKKOSATTENTION_UNFUSEDPRODUCTKOKKOSKERNELS_HPP

#include <KokkosAttention_MatrixBatch.hpp>

#include <KokkosBlas3_gemm.hpp>
#include <Kokkos_Core.hpp>

namespace KokkosAttention::Impl {

/// Matrix products by Kokkos Kernels and, below it, the vendor's BLAS.
struct KokkosKernelsMatrixProduct {
  static constexpr char const* name = "KokkosBlas::gemm";

  /// result[m] = factor * left[m] * right[m / group].
  template <Transposed transposed, class ExecutionSpace, class T>
  static void multiply(ExecutionSpace const& space, T factor, MatrixBatch<T> const& left, MatrixBatch<T> const& right,
                       int group, MatrixBatch<T> const& result) {
    using Matrix = Kokkos::View<T**, Kokkos::LayoutRight, typename ExecutionSpace::memory_space,
                                Kokkos::MemoryTraits<Kokkos::Unmanaged>>;
    if (result.size() == 0) return;
    if (left.columns == 0) {
      Kokkos::deep_copy(space, Kokkos::View<T*, typename ExecutionSpace::memory_space>(result.data, result.size()),
                        T(0));
      return;
    }
    for (index_t m = 0; m < result.matrices; ++m) {
      KokkosBlas::gemm(space, "N", transposed == Transposed::yes ? "T" : "N", factor,
                       Matrix(left.matrix(m), left.rows, left.columns),
                       Matrix(right.matrix(m / group), right.rows, right.columns), T(0),
                       Matrix(result.matrix(m), result.rows, result.columns));
    }
  }
};

}  // namespace KokkosAttention::Impl

#endif
