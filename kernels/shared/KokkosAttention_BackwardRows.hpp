// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_BACKWARDROWS_HPP
#define KOKKOSATTENTION_BACKWARDROWS_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_Functors.hpp>
#include <KokkosAttention_MatrixRows.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// Which rows of which arrays a tile of the backward pass has, on either side: queries and keys change roles between
/// the gradients of q and of k and v. "First" is what scores are products of, q and k; "second" is dO and v.

namespace KokkosAttention::Impl {

/// A query with nothing to attend gets an LSE of +inf, so that all its weights are 0.
template <class T>
KOKKOS_FORCEINLINE_FUNCTION T usable_lse(T lse) {
  constexpr T infinity = Kokkos::Experimental::infinity_v<T>;
  return lse == -infinity ? infinity : lse;
}

/// Base of engines.
template <Scalar ScalarType>
class BackwardRows {
 protected:
  using T    = accumulation_t<ScalarType>;
  using Rows = MatrixRows<ScalarType const>;

  BackwardArguments<ScalarType> const& m_arguments;
  Sequence m_sequence = {};
  int m_kv_head       = 0;

  KOKKOS_FORCEINLINE_FUNCTION explicit BackwardRows(BackwardArguments<ScalarType> const& arguments)
      : m_arguments(arguments) {}

  /// Where the next tiles are: all in one sequence, their heads all readers of the same keys.
  KOKKOS_FORCEINLINE_FUNCTION void begin_rows(Sequence const& sequence, Tile const& tile) {
    m_sequence = sequence;
    m_kv_head  = m_arguments.kv_head(tile.head);
  }

  KOKKOS_FORCEINLINE_FUNCTION static index_t begin_of(Side side, Tile const& tile) {
    return side == Side::queries ? tile.query_begin : tile.key_begin;
  }
  KOKKOS_FORCEINLINE_FUNCTION static int count(Side side, Tile const& tile) {
    return static_cast<int>((side == Side::queries ? tile.query_end : tile.key_end) - begin_of(side, tile));
  }
  KOKKOS_FORCEINLINE_FUNCTION int head(Side side, Tile const& tile) const {
    return side == Side::queries ? tile.head : m_kv_head;
  }
  KOKKOS_FORCEINLINE_FUNCTION index_t array_row(Side side, Tile const& tile) const {
    return begin_of(side, tile) + (side == Side::queries ? m_sequence.q_begin : m_sequence.k_begin);
  }

  /// The tile's rows of q or k.
  KOKKOS_FORCEINLINE_FUNCTION Rows first(Side side, Tile const& tile) const {
    return rows(side == Side::queries ? m_arguments.q : m_arguments.k, side, tile, m_arguments.head_dim);
  }
  /// The tile's rows of dO or v.
  KOKKOS_FORCEINLINE_FUNCTION Rows second(Side side, Tile const& tile) const {
    return rows(side == Side::queries ? m_arguments.d_out : m_arguments.v, side, tile, m_arguments.value_dim);
  }

 private:
  KOKKOS_FORCEINLINE_FUNCTION Rows rows(Tensor<ScalarType const> const& tensor, Side side, Tile const& tile,
                                        int dim) const {
    return {tensor, m_sequence.entry, head(side, tile), array_row(side, tile), count(side, tile), dim};
  }
};

}  // namespace KokkosAttention::Impl

#endif
