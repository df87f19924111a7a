// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_GRADIENTS_HPP
#define KOKKOSATTENTION_GRADIENTS_HPP

#include <KokkosAttention_Types.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// Where the backward pass writes.

namespace KokkosAttention {

/// A strided, writable View of rank 4.
template <class T, class MemorySpace>
using GradientView = Kokkos::View<T****, Kokkos::LayoutStride, MemorySpace>;

/// Gradients of the inputs, an aggregate for designated initialisers: `{.q = dq, .k = dk, .v = dv}`. Each has the
/// extents of its input, and so is summed over the dimensions in which that input is broadcast (a key-value head that
/// several query heads share, an extent of 1 of the bias). One left empty is not computed; every element of the others
/// is written. They must not overlap the inputs or each other.
template <Scalar ScalarType, class MemorySpace>
struct Gradients {
  GradientView<ScalarType, MemorySpace> q    = {};
  GradientView<ScalarType, MemorySpace> k    = {};
  GradientView<ScalarType, MemorySpace> v    = {};
  GradientView<ScalarType, MemorySpace> bias = {};
};

}  // namespace KokkosAttention

#endif
