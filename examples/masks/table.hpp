// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef MASKS_TABLE_HPP
#define MASKS_TABLE_HPP

#include <KokkosAttention.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// A mask as a table: a flag for each pair of a query and a key, as in `options.mask`.

using Table = Kokkos::View<bool****, Kokkos::LayoutRight>;  // (1, 1, length, length)

/// What `options.causal` says of queries and keys of the same number.
struct CausalMask {
  KOKKOS_FUNCTION bool operator()(int, int, KokkosAttention::index_t i, KokkosAttention::index_t j) const {
    return j <= i;
  }
};

/// Forbids what a mask forbids.
template <KokkosAttention::Mask Mask>
struct Restrict {
  Table table;
  Mask mask;

  KOKKOS_FUNCTION void operator()(int i, int j) const { table(0, 0, i, j) = table(0, 0, i, j) && mask(0, 0, i, j); }
};

template <KokkosAttention::Mask Mask>
void restrict_table(Table const& table, Mask const& mask) {
  Kokkos::parallel_for("restrict table",
                       Kokkos::MDRangePolicy<Kokkos::Rank<2>>({0, 0}, {table.extent(2), table.extent(3)}),
                       Restrict<Mask>{table, mask});
}

/// What all of the masks allow, asked pair by pair.
template <KokkosAttention::Mask... Masks>
Table make_table(int length, bool causal, Masks const&... masks) {
  Table const table(Kokkos::view_alloc(Kokkos::WithoutInitializing, "mask table"), 1, 1, length, length);
  Kokkos::deep_copy(table, true);
  if (causal) restrict_table(table, CausalMask());
  (restrict_table(table, masks), ...);
  return table;
}

/// The part of the pairs that a table allows.
double allowed_part(Table const& table);

#endif
