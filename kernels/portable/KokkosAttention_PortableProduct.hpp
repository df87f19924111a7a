// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_PORTABLEPRODUCT_HPP
#define KOKKOSATTENTION_PORTABLEPRODUCT_HPP

#include <KokkosAttention_Loops.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The product of two tiles in team scratch, blocked for registers.

namespace KokkosAttention::Impl::inline KOKKOSATTENTION_VECTORS {

/// Whether a team is one host thread, whose lanes are those of vector instructions.
template <class ExecutionSpace>
inline constexpr bool runs_on_host = std::is_same_v<typename ExecutionSpace::memory_space, Kokkos::HostSpace>;

/// The block of a product that one thread keeps in registers: on hosts two vectors wide, and as high as the register
/// file allows; on devices square, since there a thread holds scalars.
template <class T, bool OnHost>
struct RegisterBlock {
  static constexpr bool on_host = OnHost;
  static constexpr int width    = OnHost ? KOKKOSATTENTION_VECTOR_BYTES / int(sizeof(T)) : 1;  // of a vector
  static constexpr int vectors  = OnHost ? 2 : 4;                                              // in a row
  static constexpr int columns  = vectors * width;
  static constexpr int rows     = OnHost && KOKKOSATTENTION_VECTOR_BYTES == 64 ? 8 : 4;
};

/// The left factor in scratch, row by row: element (row, step) at data[row * stride + step].
template <class T>
struct LeftOperand {
  T const* data;
  int stride;
};

/// The right factor in scratch, row by row: element (step, column) at data[step * stride + column].
template <class T>
struct RightOperand {
  T const* data;
  int stride;
};

/// Where a row of the product goes: data = keep * data + factor * product; with keep = 0, data is not read.
template <class T>
struct TargetRow {
  T* data;
  T keep;
  T factor;
};

/// Neighbouring numbers that a device thread loads and stores at once.
template <class T, int n>
struct alignas(16) Pack {
  T value[n];

  KOKKOS_FUNCTION static Pack load(T const* from) { return *reinterpret_cast<Pack const*>(from); }
  KOKKOS_FUNCTION void store(T* to) const { *reinterpret_cast<Pack*>(to) = *this; }
};

/// One block on a host. The innermost loops are one vector each: wider ones GCC may leave as loops over memory.
template <class Block, class T, class Target>
KOKKOS_FUNCTION void multiply_block_on_host(int row, int column, int steps, LeftOperand<T> left, RightOperand<T> right,
                                            Target const& target) {
  constexpr int width = Block::width;
  T const* const a    = left.data + row * left.stride;
  T const* const b    = right.data + column;

  T sum[Block::rows][Block::vectors][width] = {};
  for (int step = 0; step < steps; ++step) {
    KOKKOSATTENTION_UNROLL
    for (int i = 0; i < Block::rows; ++i) {
      T const x = a[i * left.stride + step];
      KOKKOSATTENTION_UNROLL
      for (int v = 0; v < Block::vectors; ++v) {
        KOKKOSATTENTION_LANES
        for (int l = 0; l < width; ++l) sum[i][v][l] += x * b[step * right.stride + v * width + l];
      }
    }
  }
  KOKKOSATTENTION_UNROLL
  for (int i = 0; i < Block::rows; ++i) {
    TargetRow<T> const to = target(row + i);
    KOKKOSATTENTION_UNROLL
    for (int v = 0; v < Block::vectors; ++v) {
      T* const data = to.data + column + v * width;
      if (to.keep == T(0)) {
        KOKKOSATTENTION_LANES
        for (int l = 0; l < width; ++l) data[l] = to.factor * sum[i][v][l];
      } else {
        KOKKOSATTENTION_LANES
        for (int l = 0; l < width; ++l) data[l] = to.keep * data[l] + to.factor * sum[i][v][l];
      }
    }
  }
}

/// One block on a device: scratch is read in packs, along the steps from the left and along the columns from the right.
template <class Block, class T, class Target>
KOKKOS_FUNCTION void multiply_block_on_device(int row, int column, int steps, LeftOperand<T> left,
                                              RightOperand<T> right, Target const& target) {
  constexpr int unrolled = 4;
  using Row              = Pack<T, Block::columns>;
  T const* const a       = left.data + row * left.stride;
  T const* const b       = right.data + column;

  T sum[Block::rows][Block::columns] = {};
  int step                           = 0;
  for (; step + unrolled <= steps; step += unrolled) {
    Pack<T, unrolled> x[Block::rows];
    KOKKOSATTENTION_UNROLL
    for (int i = 0; i < Block::rows; ++i) x[i] = Pack<T, unrolled>::load(a + i * left.stride + step);
    KOKKOSATTENTION_UNROLL
    for (int u = 0; u < unrolled; ++u) {
      Row const y = Row::load(b + (step + u) * right.stride);
      KOKKOSATTENTION_UNROLL
      for (int i = 0; i < Block::rows; ++i) {
        KOKKOSATTENTION_UNROLL
        for (int j = 0; j < Block::columns; ++j) sum[i][j] += x[i].value[u] * y.value[j];
      }
    }
  }
  for (; step < steps; ++step) {
    Row const y = Row::load(b + step * right.stride);
    KOKKOSATTENTION_UNROLL
    for (int i = 0; i < Block::rows; ++i) {
      KOKKOSATTENTION_UNROLL
      for (int j = 0; j < Block::columns; ++j) sum[i][j] += a[i * left.stride + step] * y.value[j];
    }
  }
  KOKKOSATTENTION_UNROLL
  for (int i = 0; i < Block::rows; ++i) {
    TargetRow<T> const to = target(row + i);
    Row result            = to.keep == T(0) ? Row{} : Row::load(to.data + column);
    KOKKOSATTENTION_UNROLL
    for (int j = 0; j < Block::columns; ++j) result.value[j] = to.keep * result.value[j] + to.factor * sum[i][j];
    result.store(to.data + column);
  }
}

/// Computes left * right in blocks, divided among the team's threads and lanes, and gives row i to target(i).
/// Strides and the target's rows are multiples of 16 bytes.
/// \param rows, columns multiples of the block's; \param steps length of the inner products
template <class Block, class Member, class T, class Target>
KOKKOS_FUNCTION void multiply_tiles(Member const& member, int rows, int columns, int steps, LeftOperand<T> left,
                                    RightOperand<T> right, Target const& target) {
  int const row_blocks    = rows / Block::rows;
  int const column_blocks = columns / Block::columns;
  Kokkos::parallel_for(Kokkos::TeamVectorRange(member, row_blocks * column_blocks), [&](int block) {
    int const row    = block / column_blocks * Block::rows;
    int const column = block % column_blocks * Block::columns;
    if constexpr (Block::on_host)
      multiply_block_on_host<Block>(row, column, steps, left, right, target);
    else
      multiply_block_on_device<Block>(row, column, steps, left, right, target);
  });
}

}  // namespace KokkosAttention::Impl::inline KOKKOSATTENTION_VECTORS

#endif
