// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_PORTABLETILEQUERY_HPP
#define KOKKOSATTENTION_PORTABLETILEQUERY_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_PortableProduct.hpp>
#include <KokkosAttention_PortableTiles.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// What the portable engine's tiles depend on, for a call on an execution space.

namespace KokkosAttention::Impl::inline KOKKOSATTENTION_VECTORS {

template <class ExecutionSpace, Scalar ScalarType>
TileQuery tile_query(AttentionArguments<ScalarType> const& arguments) {
  using Policy = Kokkos::TeamPolicy<ExecutionSpace>;
  using Block  = RegisterBlock<accumulation_t<ScalarType>, runs_on_host<ExecutionSpace>>;
  return {.on_host       = runs_on_host<ExecutionSpace>,
          .element_bytes = int(sizeof(accumulation_t<ScalarType>)),
          .block_rows    = Block::rows,
          .block_columns = Block::columns,
          .head_dim      = arguments.head_dim,
          .value_dim     = arguments.value_dim,
          .q_len         = arguments.q_len,
          .k_len         = arguments.k_len,
          .scratch_limit = {std::size_t(Policy::scratch_size_max(0)), std::size_t(Policy::scratch_size_max(1))}};
}

}  // namespace KokkosAttention::Impl::inline KOKKOSATTENTION_VECTORS

#endif
