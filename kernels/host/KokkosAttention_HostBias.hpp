// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTBIAS_HPP
#define KOKKOSATTENTION_HOSTBIAS_HPP

#include <KokkosAttention_HostConversion.hpp>
#include <KokkosAttention_HostTranspose.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The bias in the host engine: its rows must come into lanes.

namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT {

/// Part of a matrix as it is added to scores.
template <class ScalarType>
struct HostBiasPart {
  ScalarType const* data;
  index_t lane_stride, other_stride;  // from lane to lane, and from vector to vector
};

/// Multiplies each of `others` vectors, `stride` apart, by a factor and adds the bias to its lanes [0, lanes).
template <class ScalarType, class T>
void add_bias(HostBiasPart<ScalarType> const& bias, int lanes, int others, T factor, HostVector<T>* scores,
              int stride) {
  using Vector   = HostVector<T>;
  auto const add = [=](int n, Vector numbers) { scores[n * stride] = factor * scores[n * stride] + numbers; };
  int n          = 0;
  if (bias.lane_stride == 0) {
    for (; n < others; ++n) add(n, Vector(static_cast<T>(bias.data[n * bias.other_stride])));
  } else if (lanes == Vector::lanes && bias.lane_stride == 1) {
    for (; n < others; ++n) add(n, load(bias.data + n * bias.other_stride));
  } else if (lanes == Vector::lanes && bias.other_stride == 1) {
    for (; n + Vector::lanes <= others; n += Vector::lanes) {
      typename VectorTypes<T>::Numbers block[Vector::lanes];
      for (int l = 0; l < Vector::lanes; ++l) block[l] = load(bias.data + l * bias.lane_stride + n).numbers();
      transpose(block);
      for (int l = 0; l < Vector::lanes; ++l) add(n + l, Vector(block[l]));
    }
  }
  for (; n < others; ++n) {
    T* const lane = reinterpret_cast<T*>(scores + n * stride);
    for (int l = 0; l < lanes; ++l)
      lane[l] = factor * lane[l] + static_cast<T>(bias.data[l * bias.lane_stride + n * bias.other_stride]);
  }
}

}  // namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT

#endif
