// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "table.hpp"

double allowed_part(Table const& table) {
  std::size_t allowed = 0;
  bool const* flags   = table.data();
  Kokkos::parallel_reduce(
      "count pairs", Kokkos::RangePolicy<Kokkos::IndexType<std::size_t>>(0, table.size()),
      KOKKOS_LAMBDA(std::size_t n, std::size_t & partial) { partial += flags[n]; }, allowed);
  return static_cast<double>(allowed) / static_cast<double>(table.size());
}
