// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_PORTABLEPRODUCT_HPP
#define KOKKOSATTENTION_PORTABLEPRODUCT_HPP

#include <KokkosAttention_Loops.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The product of two tiles in team scratch, blocked for registers.

namespace KokkosAttention::Impl {

/// Whether a team is one host thread, whose lanes are those of vector instructions.
template <class ExecutionSpace>
inline constexpr bool runs_on_host = std::is_same_v<typename ExecutionSpace::memory_space, Kokkos::HostSpace>;

#if defined(__AVX512F__)
constexpr int native_vector_bytes = 64;
#elif defined(__AVX__)
constexpr int native_vector_bytes = 32;
#else
constexpr int native_vector_bytes = 16;
#endif

/// The block of a product that one thread keeps in registers: on hosts two vectors wide, and as high as the register
/// file allows; on devices square, since there a thread holds scalars.
/// \tparam VectorBytes width of the host's vectors, a parameter so that translation units compiled for different
///         instruction sets do not share a symbol
template <class T, bool OnHost, int VectorBytes = native_vector_bytes>
struct RegisterBlock {
  static constexpr int rows    = OnHost && VectorBytes == 64 ? 8 : 4;
  static constexpr int columns = OnHost ? 2 * VectorBytes / int(sizeof(T)) : 4;
  static constexpr int lanes   = OnHost ? columns : 1;  // neighbouring columns in one thread
};

/// An operand in scratch: element (row, step) or (step, column) at data[row * row_stride + step * step_stride].
template <class T>
struct LeftOperand {
  T const* data;
  int row_stride;
  int step_stride;
};

/// Columns lie next to each other.
template <class T>
struct RightOperand {
  T const* data;
  int step_stride;
};

/// Computes left * right in blocks, and gives each element to `target(row)(column, value)`.
///
/// Blocks are divided among the team's threads and lanes. On devices the columns of a block lie `column_blocks` apart,
/// so that neighbouring lanes read neighbouring words; on hosts they are adjacent, so that they make vectors.
/// \param rows, columns multiples of the block's; \param steps length of the inner products
template <class Block, class Member, class T, class Target>
KOKKOS_FUNCTION void multiply_tiles(Member const& member, int rows, int columns, int steps, LeftOperand<T> left,
                                    RightOperand<T> right, Target const& target) {
  int const row_blocks     = rows / Block::rows;
  int const column_blocks  = columns / Block::columns;
  int const column_stride  = Block::lanes == 1 ? column_blocks : 1;
  auto const compute_block = [&](int block) {
    int const row    = block / column_blocks * Block::rows;
    int const column = block % column_blocks * Block::lanes;
    T const* const a = left.data + row * left.row_stride;
    T const* const b = right.data + column;

    T sum[Block::rows][Block::columns] = {};
    for (int step = 0; step < steps; ++step) {
      KOKKOSATTENTION_UNROLL
      for (int i = 0; i < Block::rows; ++i) {
        T const x = a[i * left.row_stride + step * left.step_stride];
        KOKKOSATTENTION_LANES
        for (int j = 0; j < Block::columns; ++j)
          sum[i][j] += x * b[step * right.step_stride + (Block::lanes == 1 ? j * column_stride : j)];
      }
    }
    KOKKOSATTENTION_UNROLL
    for (int i = 0; i < Block::rows; ++i) {
      auto const write = target(row + i);
      KOKKOSATTENTION_LANES
      for (int j = 0; j < Block::columns; ++j) write(column + (Block::lanes == 1 ? j * column_stride : j), sum[i][j]);
    }
  };
  Kokkos::parallel_for(Kokkos::TeamVectorRange(member, row_blocks * column_blocks), compute_block);
}

}  // namespace KokkosAttention::Impl

#endif
