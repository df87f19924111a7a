// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_PORTABLELOAD_HPP
#define KOKKOSATTENTION_PORTABLELOAD_HPP

#include <KokkosAttention_MatrixRows.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// Bringing rows of an array into team scratch.

namespace KokkosAttention::Impl {

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
