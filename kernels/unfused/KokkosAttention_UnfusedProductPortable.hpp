// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_UNFUSEDPRODUCTPORTABLE_HPP
#define KOKKOSATTENTION_UNFUSEDPRODUCTPORTABLE_HPP

#include <KokkosAttention_MatrixBatch.hpp>
#include <KokkosAttention_Launch.hpp>
#include <KokkosAttention_PortableProduct.hpp>

#include <KokkosAttention_Loops.hpp>

#include <Kokkos_Core.hpp>

#include <climits>

namespace KokkosAttention::Impl::inline KOKKOSATTENTION_VECTORS {

/// Matrix products by the portable engine's tiles, where there are no Kokkos Kernels:
/// league = (matrix, row tile, column tile).
template <Transposed transposed, class ExecutionSpace, class T>
struct TiledProductKernel {
  using Member                          = typename Kokkos::TeamPolicy<ExecutionSpace>::member_type;
  using Block                           = RegisterBlock<T, runs_on_host<ExecutionSpace>>;
  static constexpr int tile             = 32;  // rows, and steps of the inner products taken at a time
  static constexpr int columns          = 64;
  static constexpr int pad              = runs_on_host<ExecutionSpace> ? 0 : 4;  // against bank conflicts
  static constexpr int scratch_elements = tile * (tile + pad) + tile * (columns + pad) + tile * (columns + pad);
  // On hosts level 1 is the roomy one.
  KOKKOS_FUNCTION static constexpr int scratch_level() { return runs_on_host<ExecutionSpace> ? 1 : 0; }
  static_assert(tile % Block::rows == 0 && columns % Block::columns == 0);

  T factor;
  MatrixBatch<T> left, right, result;
  int group;

  KOKKOS_FUNCTION index_t row_tiles() const { return (result.rows + tile - 1) / tile; }
  KOKKOS_FUNCTION index_t column_tiles() const { return (result.columns + columns - 1) / columns; }
  KOKKOS_FUNCTION index_t tiles() const { return result.matrices * row_tiles() * column_tiles(); }

  KOKKOS_FUNCTION void operator()(Member const& member) const {
    T* const a =
        static_cast<T*>(member.team_scratch(scratch_level()).get_shmem_aligned(scratch_elements * sizeof(T), 64));
    T* const b   = a + tile * (tile + pad);
    T* const sum = b + tile * (columns + pad);
    for (index_t item = member.league_rank(); item < tiles(); item += member.league_size()) {
      index_t const row    = item / column_tiles() % row_tiles() * tile;
      index_t const column = item % column_tiles() * columns;
      compute_tile(member, item / column_tiles() / row_tiles(), row, column, a, b, sum);
    }
  }

 private:
  KOKKOS_FUNCTION void compute_tile(Member const& member, index_t m, index_t row, index_t column, T* a, T* b,
                                    T* sum) const {
    T const* const left_matrix  = left.matrix(m);
    T const* const right_matrix = right.matrix(m / group);
    Kokkos::parallel_for(Kokkos::TeamVectorRange(member, tile * (columns + pad)), [&](int e) { sum[e] = 0; });
    member.team_barrier();
    for (index_t step = 0; step < left.columns; step += tile) {
      Kokkos::parallel_for(Kokkos::TeamVectorRange(member, tile * tile), [&](int e) {
        int const i = e / tile, p = e % tile;
        bool const inside       = row + i < left.rows && step + p < left.columns;
        a[i * (tile + pad) + p] = inside ? left_matrix[(row + i) * left.columns + step + p] : T(0);
      });
      Kokkos::parallel_for(Kokkos::TeamVectorRange(member, tile * columns), [&](int e) {
        // Neighbouring lanes read neighbouring elements of the right factor, whichever way it lies.
        int const p                = transposed == Transposed::yes ? e % tile : e / columns;
        int const j                = transposed == Transposed::yes ? e / tile : e % columns;
        bool const inside          = step + p < left.columns && column + j < result.columns;
        index_t const at           = transposed == Transposed::yes ? (column + j) * right.columns + step + p
                                                                   : (step + p) * right.columns + column + j;
        b[p * (columns + pad) + j] = inside ? right_matrix[at] : T(0);
      });
      member.team_barrier();
      multiply_tiles<Block>(member, tile, columns, tile, LeftOperand<T>{a, tile + pad},
                            RightOperand<T>{b, columns + pad}, [&](int i) {
                              return TargetRow<T>{sum + i * (columns + pad), T(1), T(1)};
                            });
      member.team_barrier();
    }
    Kokkos::parallel_for(Kokkos::TeamVectorRange(member, tile * columns), [&](int e) {
      int const i = e / columns, j = e % columns;
      if (row + i < result.rows && column + j < result.columns)
        result.matrix(m)[(row + i) * result.columns + column + j] = factor * sum[i * (columns + pad) + j];
    });
    member.team_barrier();
  }
};

/// Matrix products by the library itself.
struct PortableMatrixProduct {
  static constexpr char const* name = "portable tile products";

  /// result[m] = factor * left[m] * right[m / group].
  template <Transposed transposed, class ExecutionSpace, class T>
  static void multiply(ExecutionSpace const& space, T factor, MatrixBatch<T> const& left, MatrixBatch<T> const& right,
                       int group, MatrixBatch<T> const& result) {
    using Kernel = TiledProductKernel<transposed, ExecutionSpace, T>;
    Kernel const kernel{factor, left, right, result, group};
    if (kernel.tiles() == 0) return;
    constexpr bool on_host = runs_on_host<ExecutionSpace>;
    Kokkos::TeamPolicy<ExecutionSpace> policy(space, static_cast<int>(Kokkos::min(kernel.tiles(), index_t(INT_MAX))),
                                              on_host ? 1 : 4, on_host ? 1 : 32);
    policy.set_scratch_size(Kernel::scratch_level(), Kokkos::PerTeam(Kernel::scratch_elements * sizeof(T) + 64));
    Kokkos::parallel_for("KokkosAttention::product (unfused)", as_kernel_argument(policy), kernel);
  }
};

}  // namespace KokkosAttention::Impl::inline KOKKOSATTENTION_VECTORS

#endif
