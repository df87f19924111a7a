// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MATRIXBATCH_HPP
#define KOKKOSATTENTION_MATRIXBATCH_HPP

#include <KokkosAttention_Types.hpp>

#include <Kokkos_Core.hpp>

namespace KokkosAttention::Impl {

/// Contiguous matrices one after the other, each row by row.
template <class T>
struct MatrixBatch {
  T* data;
  index_t matrices, rows, columns;

  KOKKOS_FUNCTION T* matrix(index_t m) const { return data + m * rows * columns; }
  KOKKOS_FUNCTION index_t size() const { return matrices * rows * columns; }
};

/// Whether the right factor of a product is taken transposed.
enum class Transposed : bool { no, yes };

}  // namespace KokkosAttention::Impl

#endif
