// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_TENSOR_HPP
#define KOKKOSATTENTION_TENSOR_HPP

#include <KokkosAttention_Types.hpp>

#include <Kokkos_Core.hpp>

#include <cstdint>

/// \file
/// The form in which arrays enter a kernel. Views are converted once, at the boundary: kernels are then the same for
/// every layout, and carry nothing whose size host and device compilers could disagree on.

namespace KokkosAttention::Impl {

/// Pointer and strides, in elements, of an array of rank 4; a stride of 0 broadcasts.
template <class T>
struct Tensor {
  T* data           = nullptr;
  index_t stride[4] = {0, 0, 0, 0};

  KOKKOS_FORCEINLINE_FUNCTION T& operator()(index_t b, index_t h, index_t i, index_t j) const {
    return data[b * stride[0] + h * stride[1] + i * stride[2] + j * stride[3]];
  }
  /// The same tensor from row i and column j on.
  KOKKOS_FORCEINLINE_FUNCTION Tensor from(index_t i, index_t j) const {
    Tensor part = *this;
    if (data != nullptr) part.data += i * stride[2] + j * stride[3];
    return part;
  }
  /// The matrix of one batch entry and head, for all of them, from row i and column j on.
  KOKKOS_FORCEINLINE_FUNCTION Tensor matrix_from(index_t b, index_t h, index_t i, index_t j) const {
    return {data == nullptr ? data : &(*this)(b, h, i, j), {0, 0, stride[2], stride[3]}};
  }
  Tensor<T const> read_only() const { return {data, {stride[0], stride[1], stride[2], stride[3]}}; }
  /// Where the matrix of one batch entry and head begins.
  KOKKOS_FORCEINLINE_FUNCTION T* matrix(index_t b, index_t h) const { return data + b * stride[0] + h * stride[1]; }
};

/// The same of rank 1.
template <class T>
struct Vector {
  T* data        = nullptr;
  index_t stride = 0;

  KOKKOS_FORCEINLINE_FUNCTION T& operator()(index_t n) const { return data[n * stride]; }
};

template <class T, class View>
Vector<T> make_vector(View const& view) {
  static_assert(View::rank() == 1);
  return {view.data(), static_cast<index_t>(view.stride(0))};
}

/// Converts a View of rank 4 or less: its dimensions are the tensor's first ones, and an extent of 1 broadcasts.
template <class T, class View>
Tensor<T> make_tensor(View const& view) {
  static_assert(View::rank() <= 4);
  Tensor<T> tensor;
  tensor.data = view.data();
  for (std::size_t d = 0; d < View::rank(); ++d)
    tensor.stride[d] = view.extent(d) == 1 ? 0 : static_cast<index_t>(view.stride(d));
  return tensor;
}

/// Whether all rows of a tensor can be copied 16 bytes at a time; those of none can.
template <class T>
bool lies_in_packs(Tensor<T> const& tensor, int columns) {
  constexpr int pack = 16 / int(sizeof(T));
  if (tensor.data == nullptr) return true;
  bool aligned =
      tensor.stride[3] == 1 && columns % pack == 0 && reinterpret_cast<std::uintptr_t>(tensor.data) % 16 == 0;
  for (int d = 0; d < 3; ++d) aligned = aligned && tensor.stride[d] % pack == 0;
  return aligned;
}

}  // namespace KokkosAttention::Impl

#endif
