// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_BLOCKSPARSEMASK_HPP
#define KOKKOSATTENTION_BLOCKSPARSEMASK_HPP

#include <KokkosAttention_Functors.hpp>

#include <Kokkos_Core.hpp>

#include <stdexcept>
#include <string>

/// \file
/// A mask of blocks of queries by blocks of keys.

namespace KokkosAttention {

/// Block-sparse attention: query i may attend to key j if flags(i / query_block, j / key_block). Give it after the
/// options, as any mask:
/// \code
/// KA::forward(exec, q, k, v, out, {}, KA::BlockSparseMask(flags, 64, 64));
/// \endcode
/// Tiles in which no block is set are neither read nor computed, forward and backward; tiles in which all are set run
/// without a test. What lies in no block of `flags` is not attended to. With packed sequences, the batch index is the
/// number of the sequence, and blocks count from its beginning. Blocks smaller than a tile make most tiles partly set,
/// which cost as much as full ones and a test of every pair.
/// \tparam Flags a View of bool: (query blocks, key blocks), the same for all heads, or (heads, query blocks,
///         key blocks), or (batch, heads, query blocks, key blocks); leading extents of 1 broadcast
template <class Flags>
class BlockSparseMask {
  static_assert(Kokkos::is_view_v<Flags> && Flags::rank() >= 2 && Flags::rank() <= 4 &&
                    std::is_same_v<typename Flags::non_const_value_type, bool>,
                "KokkosAttention::BlockSparseMask: flags must be a bool View of rank 2, 3 or 4");

  typename Flags::const_type m_flags;
  index_t m_query_block, m_key_block;

 public:
  /// Must be accessible from the execution space of a call.
  using memory_space = typename Flags::memory_space;

  /// \throws std::invalid_argument for a block size below 1
  BlockSparseMask(Flags const& flags, index_t query_block, index_t key_block)
      : m_flags(flags), m_query_block(query_block), m_key_block(key_block) {
    if (query_block < 1 || key_block < 1)
      throw std::invalid_argument(
          "KokkosAttention::BlockSparseMask: block size: expected at least 1 query by 1 key, found " +
          std::to_string(query_block) + " by " + std::to_string(key_block));
  }

  KOKKOS_FUNCTION bool operator()(int b, int h, index_t i, index_t j) const {
    return is_set(b, h, i / m_query_block, j / m_key_block);
  }

  KOKKOS_FUNCTION Coverage coverage(Tile const& tile) const {
    bool any = false, all = true;
    for (index_t i = tile.query_begin / m_query_block; i * m_query_block < tile.query_end; ++i) {
      for (index_t j = tile.key_begin / m_key_block; j * m_key_block < tile.key_end; ++j) {
        bool const set = is_set(tile.batch, tile.head, i, j);
        any |= set;
        all &= set;
        if (any && !all) return Coverage::some;
      }
    }
    return any ? Coverage::all : Coverage::none;
  }

 private:
  KOKKOS_FUNCTION bool is_set(int b, int h, index_t i, index_t j) const {
    constexpr int rank = Flags::rank();
    if (!is_inside(rank - 2, i) || !is_inside(rank - 1, j)) return false;
    if constexpr (rank == 2) {
      return m_flags(i, j);
    } else {
      if (m_flags.extent(rank - 3) == 1) h = 0;
      if (!is_inside(rank - 3, h)) return false;
      if constexpr (rank == 3) {
        return m_flags(h, i, j);
      } else {
        if (m_flags.extent(0) == 1) b = 0;
        return is_inside(0, b) && m_flags(b, h, i, j);
      }
    }
  }

  KOKKOS_FUNCTION bool is_inside(int dimension, index_t n) const { return n < index_t(m_flags.extent(dimension)); }
};

}  // namespace KokkosAttention

#endif
