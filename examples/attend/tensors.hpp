// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTEND_TENSORS_HPP
#define ATTEND_TENSORS_HPP

#include "npy.hpp"

#include <KokkosAttention.hpp>

#include <Kokkos_Core.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

/// \file
/// Between the arrays of files and the Views of attention.

using DeviceMemory = Kokkos::DefaultExecutionSpace::memory_space;

template <class T, class MemorySpace = DeviceMemory>
using Tensor = Kokkos::View<T****, Kokkos::LayoutRight, MemorySpace>;

/// The numbers of a View, on the host and as double.
template <class T>
Tensor<double, Kokkos::HostSpace> to_double(Tensor<T> const& tensor) {
  auto const host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), tensor);
  Tensor<double, Kokkos::HostSpace> const result(tensor.label(), tensor.extent(0), tensor.extent(1), tensor.extent(2),
                                                 tensor.extent(3));
  for (std::size_t i = 0; i < host.span(); ++i) result.data()[i] = static_cast<double>(host.data()[i]);
  return result;
}

/// Element i of an array, as stored.
template <class T>
T stored_element(NpyArray const& array, std::size_t i) {
  T element;
  std::memcpy(&element, array.data.data() + i * sizeof(T), sizeof(T));
  return element;
}

/// Element i of an array of floating-point numbers.
inline double number(NpyArray const& array, std::size_t i) {
  switch (array.type) {
    case NpyType::float16:
      return static_cast<double>(stored_element<KokkosAttention::half_t>(array, i));
    case NpyType::float32:
      return stored_element<float>(array, i);
    case NpyType::float64:
      return stored_element<double>(array, i);
    case NpyType::boolean:
      break;
  }
  throw std::logic_error("flags are no numbers");
}

/// Brings an array to where attention runs, in type T. Dimensions that it lacks are 1, and come first.
/// \throws std::invalid_argument for an array of flags where T is a number, or the reverse, or of more than 4
/// dimensions
template <class T>
Tensor<T> to_tensor(NpyArray const& array, std::string const& what) {
  constexpr bool wants_flags = std::is_same_v<T, bool>;
  if ((array.type == NpyType::boolean) != wants_flags)
    throw std::invalid_argument(what + " must hold " + (wants_flags ? "bool" : "floating-point numbers") + ", not " +
                                name(array.type));
  if (array.shape.size() > 4)
    throw std::invalid_argument(what + " has " + std::to_string(array.shape.size()) + " dimensions, more than 4");
  std::array<std::size_t, 4> extents{1, 1, 1, 1};
  std::copy_backward(array.shape.begin(), array.shape.end(), extents.end());

  Tensor<T> const tensor(Kokkos::view_alloc(Kokkos::WithoutInitializing, what), extents[0], extents[1], extents[2],
                         extents[3]);
  auto const host = Kokkos::create_mirror_view(tensor);
  for (std::size_t i = 0; i < host.span(); ++i) {
    if constexpr (wants_flags)
      host.data()[i] = array.data[i] != std::byte(0);
    else
      host.data()[i] = static_cast<T>(number(array, i));
  }
  Kokkos::deep_copy(tensor, host);
  return tensor;
}

/// The array to store a View in; bfloat16, which NumPy does not have, becomes float32.
template <class View>
NpyArray to_array(View const& view, std::vector<std::size_t> const& shape) {
  using T         = typename View::non_const_value_type;
  using Stored    = std::conditional_t<std::is_same_v<T, KokkosAttention::bhalf_t>, float, T>;
  auto const host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), view);
  NpyArray array{.type  = sizeof(Stored) == 8   ? NpyType::float64
                          : sizeof(Stored) == 4 ? NpyType::float32
                                                : NpyType::float16,
                 .shape = shape,
                 .data  = std::vector<std::byte>(host.span() * sizeof(Stored))};
  for (std::size_t i = 0; i < host.span(); ++i) {
    Stored const element = static_cast<Stored>(host.data()[i]);
    std::memcpy(array.data.data() + i * sizeof(Stored), &element, sizeof(Stored));
  }
  return array;
}

#endif
