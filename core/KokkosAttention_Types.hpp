// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_TYPES_HPP
#define KOKKOSATTENTION_TYPES_HPP

#include <KokkosAttention_Half.hpp>

#include <Kokkos_Core.hpp>

#include <concepts>
#include <cstdint>
#include <type_traits>

/// \file
/// The scalar types that attention is computed for, and what each one accumulates in.

namespace KokkosAttention {

/// IEEE binary16 and bfloat16: Kokkos' own types where those are 16 bits wide, else bit-compatible storage types.
using half_t  = std::conditional_t<sizeof(Kokkos::Experimental::half_t) == 2, Kokkos::Experimental::half_t,
                                  Impl::Storage16<Impl::Binary16>>;
using bhalf_t = std::conditional_t<sizeof(Kokkos::Experimental::bhalf_t) == 2, Kokkos::Experimental::bhalf_t,
                                   Impl::Storage16<Impl::Bfloat16>>;

/// Lengths, positions and offsets: 64 bits throughout.
using index_t = std::int64_t;

/// A type whose attention this library computes.
template <class T>
concept Scalar =
    std::same_as<T, double> || std::same_as<T, float> || std::same_as<T, half_t> || std::same_as<T, bhalf_t>;

/// The type that scores, softmax and sums are computed in, and the type of the LSE: double for double, else float.
template <Scalar T>
using accumulation_t = std::conditional_t<std::is_same_v<T, double>, double, float>;

namespace Impl {

template <Scalar T>
constexpr char const* scalar_name() {
  if constexpr (std::is_same_v<T, double>)
    return "double";
  else if constexpr (std::is_same_v<T, float>)
    return "float";
  else if constexpr (std::is_same_v<T, half_t>)
    return "half_t";
  else
    return "bhalf_t";
}

}  // namespace Impl
}  // namespace KokkosAttention

#endif
