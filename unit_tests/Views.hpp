// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_TEST_VIEWS_HPP
#define KOKKOSATTENTION_TEST_VIEWS_HPP

#include <KokkosAttention.hpp>

#include <Kokkos_Core.hpp>

#include <limits>

/// \file
/// Moving test data between host and device in every layout.

namespace Test {

namespace KA = KokkosAttention;

using Space       = Kokkos::DefaultExecutionSpace;
using MemorySpace = Space::memory_space;

template <class T>
using HostTensor = Kokkos::View<T****, Kokkos::LayoutRight, Kokkos::HostSpace>;
template <class T, class Layout>
using DeviceTensor = Kokkos::View<T****, Layout, MemorySpace>;
template <class T, class Space>
using Flat = Kokkos::View<T*, Kokkos::LayoutRight, Space, Kokkos::MemoryTraits<Kokkos::Unmanaged>>;

template <class T>
T poison() {
  if constexpr (std::is_same_v<T, bool>)
    return true;
  else
    return static_cast<T>(std::numeric_limits<float>::quiet_NaN());
}

template <class T>
bool is_nan(T value) {
  double const v = static_cast<double>(value);
  return v != v;
}

/// A device array filled with NaN. A strided one lies (batch, length, heads, dim) in memory, as transformer codes
/// store it, with gaps in every dimension, also between neighbouring elements.
template <class T, class Layout>
DeviceTensor<T, Layout> poisoned(std::size_t b, std::size_t h, std::size_t l, std::size_t d) {
  auto const make = [&] {
    if constexpr (std::is_same_v<Layout, Kokkos::LayoutStride>) {
      std::size_t const head = 2 * d + 1, row = h * head + 3, batch = l * row + 5;
      return DeviceTensor<T, Layout>("strided", Kokkos::LayoutStride(b, batch, h, head, l, row, d, 2));
    } else {
      return DeviceTensor<T, Layout>("dense", b, h, l, d);
    }
  };
  DeviceTensor<T, Layout> const view = make();
  Kokkos::deep_copy(Flat<T, MemorySpace>(view.data(), view.span()), poison<T>());
  return view;
}

/// A host copy of all the memory a View spans, gaps included.
template <class View>
Kokkos::View<typename View::non_const_value_type*, Kokkos::HostSpace> memory_of(View const& view) {
  using T = typename View::non_const_value_type;
  Kokkos::View<T*, Kokkos::HostSpace> const memory("memory", view.span());
  Kokkos::deep_copy(memory, Flat<T const, MemorySpace>(view.data(), view.span()));
  return memory;
}

template <class View>
std::size_t offset(View const& view, std::size_t b, std::size_t h, std::size_t i, std::size_t j) {
  return b * view.stride(0) + h * view.stride(1) + i * view.stride(2) + j * view.stride(3);
}

template <class F>
void for_each_index(std::size_t b, std::size_t h, std::size_t l, std::size_t d, F const& f) {
  for (std::size_t n0 = 0; n0 < b; ++n0)
    for (std::size_t n1 = 0; n1 < h; ++n1)
      for (std::size_t n2 = 0; n2 < l; ++n2)
        for (std::size_t n3 = 0; n3 < d; ++n3) f(n0, n1, n2, n3);
}

template <class Layout, class T>
DeviceTensor<T, Layout> to_device(HostTensor<T> const& host) {
  auto const view   = poisoned<T, Layout>(host.extent(0), host.extent(1), host.extent(2), host.extent(3));
  auto const memory = memory_of(view);
  for_each_index(host.extent(0), host.extent(1), host.extent(2), host.extent(3),
                 [&](auto... n) { memory(offset(view, n...)) = host(n...); });
  Kokkos::deep_copy(Flat<T, MemorySpace>(view.data(), view.span()), memory);
  return view;
}

/// A View of rank 3 is returned with a last extent of 1.
template <class View>
HostTensor<typename View::non_const_value_type> to_host(View const& view) {
  using T                = typename View::non_const_value_type;
  auto const memory      = memory_of(view);
  std::size_t const last = View::rank() == 4 ? view.extent(3) : 1;
  HostTensor<T> const host("host", view.extent(0), view.extent(1), view.extent(2), last);
  for_each_index(host.extent(0), host.extent(1), host.extent(2), last, [&](auto b, auto h, auto i, auto j) {
    std::size_t const last_stride = View::rank() == 4 ? view.stride(View::rank() - 1) : 0;
    host(b, h, i, j) = memory(b * view.stride(0) + h * view.stride(1) + i * view.stride(2) + j * last_stride);
  });
  return host;
}

}  // namespace Test

#endif
