// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTPRODUCT_HPP
#define KOKKOSATTENTION_HOSTPRODUCT_HPP

#include <KokkosAttention_HostPrefetch.hpp>
#include <KokkosAttention_HostVector.hpp>
#include <KokkosAttention_Loops.hpp>
#include <KokkosAttention_Types.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The one product of the host engine: elements of the left factor, broadcast, times vectors of the right one.

namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT {

/// Element (row, step) at data[row * row_stride + step * step_stride].
template <class Element>
struct HostLeft {
  Element const* data;
  index_t row_stride, step_stride;

  HostLeft from_row(int row) const { return {data + row * row_stride, row_stride, step_stride}; }
  HostLeft from_step(int step) const { return {data + step * step_stride, row_stride, step_stride}; }
};

/// Where vectors of a matrix lie: vector (row, column) at row * row + column * column.
struct HostStrides {
  index_t row, column;

  KOKKOS_FORCEINLINE_FUNCTION index_t operator()(index_t r, int c) const { return r * row + c * column; }
};

template <class Vector>
struct HostRight {
  Vector const* data;
  HostStrides strides;

  HostRight from_column(int column) const { return {data + strides(0, column), strides}; }
};

/// Stores the product.
template <class T>
struct HostStore {
  HostVector<T>* data;
  HostStrides strides;

  KOKKOS_FORCEINLINE_FUNCTION void operator()(int row, int column, HostVector<T> product) const {
    data[strides(row, column)] = product;
  }
};

/// Adds the product to what is there.
template <class T>
struct HostAdd {
  HostVector<T>* data;
  HostStrides strides;

  KOKKOS_FORCEINLINE_FUNCTION void operator()(int row, int column, HostVector<T> product) const {
    data[strides(row, column)] += product;
  }
};

template <class T>
KOKKOS_FORCEINLINE_FUNCTION void multiply_add(typename VectorTypes<T>::Numbers& sum, T x, HostVector<T> y) {
  sum += x * y.numbers();
}

/// Rows of a block of so many vectors: what registers can hold beside a row of the right factor and an element.
constexpr int block_rows(int vectors) {
  int const rows = (KOKKOSATTENTION_HOST_VECTOR_REGISTERS - vectors - 1) / vectors;
  return rows > 12 ? 12 : rows;
}

/// Vectors of the widest block.
inline constexpr int widest_block = KOKKOSATTENTION_HOST_VECTOR_REGISTERS == 32 ? 4 : 2;

/// Blocks of a product.
constexpr int product_blocks(int rows, int columns) {
  auto const blocks = [rows](int vectors) { return (rows + block_rows(vectors) - 1) / block_rows(vectors); };
  int const rest    = columns % widest_block;
  return columns / widest_block * blocks(widest_block) + (rest > 0 ? blocks(rest) : 0);
}

template <int rows, int vectors, class T, class Element, class Vector, template <class> class Target>
KOKKOS_FORCEINLINE_FUNCTION void multiply_block(int row, int column, int steps, HostLeft<Element> const& left,
                                                HostRight<Vector> const& right, Target<T> const& target) {
  Element const* const a = left.data + row * left.row_stride;
  Vector const* const b  = right.data + right.strides(0, column);

  typename VectorTypes<T>::Numbers sum[rows][vectors] = {};
  for (int step = 0; step < steps; ++step) {
    Vector y[vectors];
    KOKKOSATTENTION_UNROLL
    for (int v = 0; v < vectors; ++v) y[v] = b[right.strides(step, v)];
    KOKKOSATTENTION_UNROLL
    for (int i = 0; i < rows; ++i) {
      Element const x = a[i * left.row_stride + step * left.step_stride];
      KOKKOSATTENTION_UNROLL
      for (int v = 0; v < vectors; ++v) multiply_add(sum[i][v], x, y[v]);
    }
  }
  KOKKOSATTENTION_UNROLL
  for (int i = 0; i < rows; ++i) {
    KOKKOSATTENTION_UNROLL
    for (int v = 0; v < vectors; ++v) target(row + i, column + v, HostVector<T>(sum[i][v]));
  }
}

/// The last rows, fewer than a block has.
template <int rows, int vectors, class Left, class Right, class Target>
KOKKOS_FORCEINLINE_FUNCTION void multiply_rest(int rest, int row, int column, int steps, Left const& left,
                                               Right const& right, Target const& target) {
  if constexpr (rows > 0) {
    if (rest == rows)
      multiply_block<rows, vectors>(row, column, steps, left, right, target);
    else
      multiply_rest<rows - 1, vectors>(rest, row, column, steps, left, right, target);
  }
}

template <int vectors, class Left, class Right, class Target>
void multiply_columns(int rows, int column, int steps, Left const& left, Right const& right, Target const& target,
                      HostPrefetch& prefetch) {
  constexpr int height = block_rows(vectors);
  int row              = 0;
  for (; row + height <= rows; row += height) {
    prefetch.step();
    multiply_block<height, vectors>(row, column, steps, left, right, target);
  }
  if (row < rows) prefetch.step();
  multiply_rest<height - 1, vectors>(rows - row, row, column, steps, left, right, target);
}

/// The last columns, fewer than a block has.
template <int vectors, class Left, class Right, class Target>
KOKKOS_FORCEINLINE_FUNCTION void multiply_last_columns(int rest, int rows, int column, int steps, Left const& left,
                                                       Right const& right, Target const& target,
                                                       HostPrefetch& prefetch) {
  if constexpr (vectors > 0) {
    if (rest == vectors)
      multiply_columns<vectors>(rows, column, steps, left, right, target, prefetch);
    else
      multiply_last_columns<vectors - 1>(rest, rows, column, steps, left, right, target, prefetch);
  }
}

/// Gives element (row, column) of left * right to target(row, column, product).
/// \param columns in vectors
/// \param steps length of the inner products
/// \param prefetch takes a step with each block
template <class Left, class Right, class Target>
void multiply(int rows, int columns, int steps, Left const& left, Right const& right, Target const& target,
              HostPrefetch& prefetch) {
  int column = 0;
  for (; column + widest_block <= columns; column += widest_block)
    multiply_columns<widest_block>(rows, column, steps, left, right, target, prefetch);
  multiply_last_columns<widest_block - 1>(columns - column, rows, column, steps, left, right, target, prefetch);
}

}  // namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT

#endif
