// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef FIT_TENSOR_HPP
#define FIT_TENSOR_HPP

#include <KokkosAttention.hpp>

#include <Kokkos_Core.hpp>

#include <string>

/// What attention takes and gives: (batch, heads, length, dim), here always of one batch entry and one head.
using Tensor = Kokkos::View<float****, Kokkos::LayoutRight, Kokkos::DefaultExecutionSpace::memory_space>;

/// Data that is only read: a tensor, or some of its columns.
using Columns = KokkosAttention::BroadcastView<float, Tensor::memory_space>;

/// A tensor (1, 1, rows, columns) whose numbers are f(row, column), computed on the host in this order.
template <class F>
Tensor make_tensor(std::string const& label, int rows, int columns, F const& f) {
  Tensor const tensor(Kokkos::view_alloc(Kokkos::WithoutInitializing, label), 1, 1, rows, columns);
  auto const host = Kokkos::create_mirror_view(tensor);
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < columns; ++j) host(0, 0, i, j) = static_cast<float>(f(i, j));
  Kokkos::deep_copy(tensor, host);
  return tensor;
}

/// A copy that the host can read.
template <class View>
auto on_host(View const& view) {
  return Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), view);
}

#endif
