// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_UNFUSEDFORWARD_HPP
#define KOKKOSATTENTION_UNFUSEDFORWARD_HPP

#include <KokkosAttention_Config.hpp>
#include <KokkosAttention_ForwardLoop.hpp>
#include <KokkosAttention_Launch.hpp>
#include <KokkosAttention_Modifiers.hpp>
#include <KokkosAttention_PortableRows.hpp>
#include <KokkosAttention_Workspace.hpp>

#if defined(KokkosAttention_ENABLE_KOKKOS_KERNELS)
#include <KokkosAttention_UnfusedProductKokkosKernels.hpp>
#else
#include <KokkosAttention_UnfusedProductPortable.hpp>
#endif

#include <KokkosAttention_Loops.hpp>

#include <Kokkos_Core.hpp>
#include <Kokkos_Profiling_ScopedRegion.hpp>

/// \file
/// The unfused engine: stores the scores, softmax row by row, two matrix products. What FlashAttention is measured
/// against, and the module's `flash = false`.

namespace KokkosAttention::Impl::inline KOKKOSATTENTION_VECTORS {

#if defined(KokkosAttention_ENABLE_KOKKOS_KERNELS)
using UnfusedMatrixProduct = KokkosKernelsMatrixProduct;
#else
using UnfusedMatrixProduct = PortableMatrixProduct;
#endif

/// The arrays of an unfused call in its workspace, all contiguous in the accumulation type.
template <class T>
struct UnfusedArrays {
  MatrixBatch<T> q, k, v, scores, out;

  /// Takes the arrays out of a workspace; from an empty one, only its size is counted.
  template <Scalar ScalarType>
  UnfusedArrays(WorkspaceCarver& carver, ForwardArguments<ScalarType> const& a) {
    index_t const q_matrices = index_t(a.batch) * a.q_heads, kv_matrices = index_t(a.batch) * a.kv_heads;
    auto const take = [&carver](index_t matrices, index_t rows, index_t columns) {
      return MatrixBatch<T>{carver.take<T>(matrices * rows * columns), matrices, rows, columns};
    };
    q      = take(q_matrices, a.q_len, a.head_dim);
    k      = take(kv_matrices, a.k_len, a.head_dim);
    v      = take(kv_matrices, a.k_len, a.value_dim);
    scores = take(q_matrices, a.q_len, a.k_len);
    out    = take(q_matrices, a.q_len, a.value_dim);
  }
};

template <Scalar ScalarType>
std::size_t unfused_workspace_size(ForwardArguments<ScalarType> const& arguments) {
  WorkspaceCarver carver(nullptr);
  UnfusedArrays<accumulation_t<ScalarType>> const arrays(carver, arguments);
  return carver.bytes();
}

/// Copies a strided tensor of `heads` heads into a contiguous batch of matrices.
/// (A functor: nvcc mixes up extended lambdas of templates that several translation units instantiate.)
template <class ScalarType, class T>
struct PackKernel {
  Tensor<ScalarType const> tensor;
  int heads;
  MatrixBatch<T> batch;

  KOKKOS_FUNCTION void operator()(index_t e) const {
    index_t const row = e / batch.columns, matrix = row / batch.rows;
    batch.data[e] = static_cast<T>(tensor(matrix / heads, matrix % heads, row % batch.rows, e % batch.columns));
  }
};

/// Copies the other way.
template <class ScalarType, class T>
struct UnpackKernel {
  MatrixBatch<T> batch;
  int heads;
  Tensor<ScalarType> tensor;

  KOKKOS_FUNCTION void operator()(index_t e) const {
    index_t const row = e / batch.columns, matrix = row / batch.rows;
    tensor(matrix / heads, matrix % heads, row % batch.rows, e % batch.columns) =
        static_cast<ScalarType>(batch.data[e]);
  }
};

template <class ExecutionSpace, class ScalarType, class T>
void pack(ExecutionSpace const& space, Tensor<ScalarType const> const& tensor, int heads, MatrixBatch<T> const& batch) {
  Kokkos::parallel_for("KokkosAttention::pack (unfused)",
                       Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<index_t>>(space, 0, batch.size()),
                       PackKernel<ScalarType, T>{tensor, heads, batch});
}

template <class ExecutionSpace, class ScalarType, class T>
void unpack(ExecutionSpace const& space, MatrixBatch<T> const& batch, int heads, Tensor<ScalarType> const& tensor) {
  Kokkos::parallel_for("KokkosAttention::unpack (unfused)",
                       Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<index_t>>(space, 0, batch.size()),
                       UnpackKernel<ScalarType, T>{batch, heads, tensor});
}

/// Softmax of the stored scores, a row a thread: the same score functions, masks and row operations as in the fused
/// engines, on one tile of all keys.
template <class ExecutionSpace, Scalar ScalarType, class Scores, Mask M>
struct UnfusedSoftmaxKernel {
  using T      = accumulation_t<ScalarType>;
  using Member = typename Kokkos::TeamPolicy<ExecutionSpace>::member_type;

  ForwardArguments<ScalarType> arguments;
  MatrixBatch<T> matrices;
  Scores scores;
  M mask;
  WeightDropout<T> dropout;

  KOKKOS_FUNCTION void operator()(Member const& member) const {
    index_t const rows = matrices.matrices * matrices.rows;
    index_t const step = index_t(member.league_size()) * member.team_size();
    for (index_t r = index_t(member.league_rank()) * member.team_size() + member.team_rank(); r < rows; r += step) {
      index_t const i = r % matrices.rows;
      int const b     = static_cast<int>(r / matrices.rows / arguments.q_heads);
      int const h     = static_cast<int>(r / matrices.rows % arguments.q_heads);
      normalise_row(member, matrices.data + r * matrices.columns, b, h, i);
    }
  }

 private:
  KOKKOS_FUNCTION void normalise_row(Member const& member, T* const row, int b, int h, index_t i) const {
    PortableRow<T, Member> const score(member, row, matrices.columns, i, 0);
    Sequence const sequence = arguments.batch_entry(b);
    scores.of_head(sequence, h).apply(score, sequence, h);
    apply_mask(score, mask.in_sequence(sequence).of_head(sequence, h), Tile{b, h, i, i + 1, 0, matrices.columns});
    SoftmaxState<T> state;
    T const maximum       = score.maximum();
    state.maximum         = maximum == -Kokkos::Experimental::infinity_v<T> ? T(0) : maximum;
    state.sum             = score.exponentiate(state.maximum);
    T const normalisation = state.normalisation();
    score.transform([&](index_t, index_t, T p) { return normalisation * p; });
    if (dropout.active())
      score.transform([&](index_t, index_t j, T p) { return dropout.kept(b, h, i, j) ? dropout.factor() * p : T(0); });
    if (arguments.lse.data != nullptr)
      Kokkos::single(Kokkos::PerThread(member), [&] { arguments.lse(b, h, i, 0) = state.lse(); });
  }
};

template <class ExecutionSpace, Scalar ScalarType, class Scores, Mask M>
void unfused_softmax(ExecutionSpace const& space, ForwardArguments<ScalarType> const& arguments,
                     MatrixBatch<accumulation_t<ScalarType>> const& matrices, Scores const& scores, M const& mask,
                     WeightDropout<accumulation_t<ScalarType>> const& dropout) {
  using Kernel              = UnfusedSoftmaxKernel<ExecutionSpace, ScalarType, Scores, M>;
  constexpr bool on_host    = runs_on_host<ExecutionSpace>;
  constexpr int team_size   = on_host ? 1 : 8;
  index_t const league_size = (matrices.matrices * matrices.rows + team_size - 1) / team_size;
  if (league_size == 0) return;
  Kokkos::TeamPolicy<ExecutionSpace> const policy(space, static_cast<int>(Kokkos::min(league_size, index_t(INT_MAX))),
                                                  team_size, on_host ? 1 : 32);
  Kokkos::parallel_for("KokkosAttention::softmax (unfused)", as_kernel_argument(policy),
                       Kernel{arguments, matrices, scores, mask, dropout});
}

template <class ExecutionSpace, Scalar ScalarType, class Scores, Mask M>
void unfused_forward(ExecutionSpace const& space, ForwardArguments<ScalarType> const& arguments, Scores const& scores,
                     M const& mask, WeightDropout<accumulation_t<ScalarType>> const& dropout, std::byte* workspace) {
  using T = accumulation_t<ScalarType>;
  Kokkos::Profiling::ScopedRegion const region("KokkosAttention::forward (unfused)");
  WorkspaceCarver carver(workspace);
  UnfusedArrays<T> const arrays(carver, arguments);
  int const group = arguments.kv_heads > 0 ? arguments.q_heads / arguments.kv_heads : 1;

  pack(space, arguments.q, arguments.q_heads, arrays.q);
  pack(space, arguments.k, arguments.kv_heads, arrays.k);
  pack(space, arguments.v, arguments.kv_heads, arrays.v);
  UnfusedMatrixProduct::multiply<Transposed::yes>(space, arguments.scale, arrays.q, arrays.k, group, arrays.scores);
  unfused_softmax(space, arguments, arrays.scores, scores, mask, dropout);
  UnfusedMatrixProduct::multiply<Transposed::no>(space, T(1), arrays.scores, arrays.v, group, arrays.out);
  unpack(space, arrays.out, arguments.q_heads, arguments.out);
}

}  // namespace KokkosAttention::Impl::inline KOKKOSATTENTION_VECTORS

#endif
