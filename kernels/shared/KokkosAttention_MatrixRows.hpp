// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MATRIXROWS_HPP
#define KOKKOSATTENTION_MATRIXROWS_HPP

#include <KokkosAttention_Tensor.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// What tiles are loaded from.

namespace KokkosAttention::Impl {

/// Some neighbouring rows of the matrix of one batch entry and head.
template <class ScalarType>
struct MatrixRows {
  ScalarType* data;
  index_t row_stride, column_stride;
  int rows, columns;

  KOKKOS_FORCEINLINE_FUNCTION MatrixRows(Tensor<ScalarType> const& tensor, int entry, int head, index_t first,
                                         int row_count, int column_count)
      : data(tensor.matrix(entry, head) + first * tensor.stride[2]),
        row_stride(tensor.stride[2]),
        column_stride(tensor.stride[3]),
        rows(row_count),
        columns(column_count) {}

  KOKKOS_FORCEINLINE_FUNCTION ScalarType& operator()(int i, int d) const {
    return data[i * row_stride + d * column_stride];
  }
};

}  // namespace KokkosAttention::Impl

#endif
