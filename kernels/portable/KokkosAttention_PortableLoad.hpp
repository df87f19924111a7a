// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_PORTABLELOAD_HPP
#define KOKKOSATTENTION_PORTABLELOAD_HPP

#include <KokkosAttention_Tensor.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// Bringing rows of an array into team scratch.

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

/// Converts rows to T in scratch, element (i, d) to scratch[place(i, d)]; zeros up to padded_rows and padded_columns.
template <class Member, class ScalarType, class T, class Place>
KOKKOS_FUNCTION void load_rows(Member const& member, MatrixRows<ScalarType> const& source, int padded_rows,
                               int padded_columns, T* scratch, Place const& place) {
  Kokkos::parallel_for(Kokkos::TeamThreadRange(member, padded_rows), [&](int i) {
    Kokkos::parallel_for(Kokkos::ThreadVectorRange(member, padded_columns), [&](int d) {
      scratch[place(i, d)] = i < source.rows && d < source.columns ? static_cast<T>(source(i, d)) : T(0);
    });
  });
}

}  // namespace KokkosAttention::Impl

#endif
