// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMASPLITAHEAD_HPP
#define KOKKOSATTENTION_MMASPLITAHEAD_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_Launch.hpp>
#include <KokkosAttention_MatrixRows.hpp>
#include <KokkosAttention_MmaArithmetic.hpp>
#include <KokkosAttention_MmaBackwardTiles.hpp>
#include <KokkosAttention_MmaCopy.hpp>
#include <KokkosAttention_MmaTiles.hpp>
#include <KokkosAttention_Workspace.hpp>

#include <Kokkos_Core.hpp>

#include <cstddef>
#include <type_traits>

/// \file
/// Rows of types whose numbers are split (MmaArithmetic::splits), split once for all tiles that read them: keys and
/// values for tiles of queries, queries and dO for tiles of keys. They lie in the workspace as they do in scratch, with
/// their powers, so results are the same.

namespace KokkosAttention::Impl {

/// Queries of a sequence that read the same keys, or tiles of keys that read the same queries: for fewer, splitting
/// these in each tile takes less time than a kernel that reads and writes them once more.
inline constexpr index_t least_queries_of_split_keys = 2048, least_key_tiles_of_split_queries = 8;

/// Shapes for short sequences have none.
constexpr bool has_split_ahead_kernel(MmaShape const& shape) { return shape.longest == 0; }
/// Kernels of five products have one.
constexpr bool has_split_ahead_kernel(MmaBackwardShape const& shape) { return shape.turns; }

/// How many sequences there are in a batch entry.
template <Scalar ScalarType>
index_t sequence_count(AttentionArguments<ScalarType> const& arguments) {
  return arguments.packed() ? Kokkos::max(1, arguments.packed_sequences) : 1;
}

/// Whether matrices share their rows.
template <class T>
bool broadcasts(Tensor<T> const& tensor, int batch, int heads) {
  return (batch > 1 && tensor.stride[0] == 0) || (heads > 1 && tensor.stride[1] == 0);
}

/// Whether a forward call splits keys and values ahead. Not where the copy would be much larger than they are, nor
/// where the output is computed in parts, as powers then are those of a part of the values' columns.
template <Scalar ScalarType>
bool splits_ahead(ForwardArguments<ScalarType> const& arguments, MmaForwardTiles const& tiles) {
  if constexpr (MmaArithmetic<ScalarType>::splits) {
    if (!arguments.plain || tiles.count != 1 || tiles.tile[0].value_parts != 1) return false;
    MmaShape const& shape = mma_shapes<ScalarType>[tiles.tile[0].shape];
    if (!has_split_ahead_kernel(shape)) return false;
    if (2 * arguments.head_dim < shape.head_columns || 2 * arguments.value_dim < shape.value_columns) return false;
    if (broadcasts(arguments.k, arguments.batch, arguments.kv_heads)) return false;
    if (broadcasts(arguments.v, arguments.batch, arguments.kv_heads)) return false;
    return arguments.q_len / sequence_count(arguments) * arguments.group() >= least_queries_of_split_keys;
  } else {
    return false;
  }
}

/// Whether a backward kernel's queries and dO are split ahead.
template <Scalar ScalarType>
bool splits_ahead(BackwardArguments<ScalarType> const& arguments, MmaBackwardTile const& tile) {
  if constexpr (MmaArithmetic<ScalarType>::splits) {
    MmaBackwardShape const& shape = mma_backward_shapes<ScalarType>[tile.shape];
    return arguments.plain && !arguments.scored && has_split_ahead_kernel(shape) &&
           2 * arguments.head_dim >= shape.head_columns && 2 * arguments.value_dim >= shape.head_columns &&
           arguments.k_len / sequence_count(arguments) >= least_key_tiles_of_split_queries * tile.rows;
  } else {
    return false;
  }
}

/// A tensor's rows, and where they go: to rows as they lie in scratch.
template <Scalar ScalarType>
struct MmaSplitJob {
  Tensor<ScalarType const> from;
  ScalarType* to;
  int batch, heads;
  index_t length;
  int columns;
};

/// Splits some rows of one matrix.
template <Scalar ScalarType, class Member, int padded_columns>
struct MmaSplitTeam {
  using Arithmetic = MmaArithmetic<ScalarType>;

  static constexpr int warps = 8, rows = 64, stride = Arithmetic::stride(padded_columns);

  KOKKOS_INLINE_FUNCTION static constexpr std::size_t scratch_bytes() { return rows * stride * sizeof(ScalarType); }

  MmaSplitJob<ScalarType> job;

  static index_t teams(MmaSplitJob<ScalarType> const& job) {
    return (job.length + rows - 1) / rows * job.batch * job.heads;
  }

  KOKKOS_FORCEINLINE_FUNCTION void operator()(Member const& member) const {
    auto* const scratch = as_shared(
        static_cast<ScalarType*>(member.team_scratch(0).get_shmem_aligned(scratch_bytes(), mma_scratch_alignment)));
    index_t const parts = (job.length + rows - 1) / rows, matrix = member.league_rank() / parts,
                  first = (member.league_rank() - matrix * parts) * rows;
    int const count     = static_cast<int>(Kokkos::min(index_t(rows), job.length - first));
    MatrixRows<ScalarType const> const source(job.from, static_cast<int>(matrix / job.heads),
                                              static_cast<int>(matrix % job.heads), first, count, job.columns);
    bool const in_packs = copies_in_packs(source);
    copy_rows_ahead<rows, padded_columns, stride, warps>(member, source, scratch, in_packs);
    wait_for_copies();
    split_rows<Arithmetic, rows, padded_columns, warps>(member, scratch, in_packs);
    member.team_barrier();
    auto* const to         = reinterpret_cast<Pack*>(job.to + (matrix * job.length + first) * stride);
    auto const* const from = reinterpret_cast<Pack const*>(scratch);
    for (int n = 32 * member.team_rank() + MmaLane::here().number(); n < count * stride / 4; n += 32 * warps)
      to[n] = from[n];
  }

 private:
  struct alignas(16) Pack {
    ScalarType value[4];
  };
};

/// The split rows of a side in a call's workspace: keys and values, or queries and dO.
template <Scalar ScalarType>
struct MmaSplitArrays {
  Side side;
  int first_columns, second_columns;  // padded
  Tensor<ScalarType> first, second;

  /// Takes the arrays out of a workspace; from an empty one, only its size is counted.
  MmaSplitArrays(WorkspaceCarver& carver, AttentionArguments<ScalarType> const& arguments, MmaShape const& shape)
      : MmaSplitArrays(carver, arguments, Side::keys, shape.head_columns, shape.value_columns) {}
  MmaSplitArrays(WorkspaceCarver& carver, AttentionArguments<ScalarType> const& arguments,
                 MmaBackwardShape const& shape)
      : MmaSplitArrays(carver, arguments, Side::queries, shape.head_columns, shape.head_columns) {}

  /// What is left to be done for one of them.
  MmaSplitJob<ScalarType> job(AttentionArguments<ScalarType> const& a, Tensor<ScalarType const> const& from,
                              Tensor<ScalarType> const& to, int columns) const {
    return {from, to.data, a.batch, a.heads(side), a.length(side), columns};
  }

 private:
  MmaSplitArrays(WorkspaceCarver& carver, AttentionArguments<ScalarType> const& arguments, Side of, int first,
                 int second)
      : side(of),
        first_columns(first),
        second_columns(second),
        first(take(carver, arguments, first)),
        second(take(carver, arguments, second)) {}

  Tensor<ScalarType> take(WorkspaceCarver& carver, AttentionArguments<ScalarType> const& a, int columns) const {
    index_t const row    = MmaArithmetic<ScalarType>::stride(columns);
    index_t const matrix = a.length(side) * row, entry = matrix * a.heads(side);
    return {carver.take<ScalarType>(static_cast<std::size_t>(entry) * a.batch), {entry, matrix, row, 1}};
  }
};

template <Scalar ScalarType>
std::size_t mma_forward_workspace(AttentionArguments<ScalarType> const& arguments, MmaForwardTiles const& tiles) {
  WorkspaceCarver carver(nullptr);
  if (tiles.count > 0 && tiles.tile[0].splits_ahead)
    MmaSplitArrays<ScalarType> const arrays(carver, arguments, mma_shapes<ScalarType>[tiles.tile[0].shape]);
  return carver.bytes();
}

/// The arguments of a forward kernel whose keys and values are split ahead, by split(padded columns, job).
template <Scalar ScalarType, class Split>
ForwardArguments<ScalarType> with_split_rows(ForwardArguments<ScalarType> arguments,
                                             MmaSplitArrays<ScalarType> const& to, Split const& split) {
  split(to.first_columns, to.job(arguments, arguments.k, to.first, arguments.head_dim));
  split(to.second_columns, to.job(arguments, arguments.v, to.second, arguments.value_dim));
  arguments.k = to.first.read_only();
  arguments.v = to.second.read_only();
  return arguments;
}
/// The same of a backward kernel whose queries and dO are.
template <Scalar ScalarType, class Split>
BackwardArguments<ScalarType> with_split_rows(BackwardArguments<ScalarType> arguments,
                                              MmaSplitArrays<ScalarType> const& to, Split const& split) {
  split(to.first_columns, to.job(arguments, arguments.q, to.first, arguments.head_dim));
  split(to.second_columns, to.job(arguments, arguments.d_out, to.second, arguments.value_dim));
  arguments.q     = to.first.read_only();
  arguments.d_out = to.second.read_only();
  return arguments;
}

/// Calls f(constant) for the padded columns of a shape that has a kernel for split rows.
template <int columns = 64, class F>
void with_split_columns(int padded_columns, F const& f) {
  if constexpr (columns < largest_mma_head_dim)
    if (columns != padded_columns) return with_split_columns<2 * columns>(padded_columns, f);
  f(std::integral_constant<int, columns>());
}

template <class ExecutionSpace, Scalar ScalarType, int padded_columns>
struct MmaSplitKernel {
  using Policy = Kokkos::TeamPolicy<ExecutionSpace, Kokkos::LaunchBounds<256>>;
  using Member = typename Policy::member_type;
  using Team   = MmaSplitTeam<ScalarType, Member, padded_columns>;

  Team team;

  KOKKOS_FUNCTION void operator()(Member const& member) const { team(member); }
};

template <int padded_columns, class ExecutionSpace, Scalar ScalarType>
void split_rows_ahead(ExecutionSpace const& space, MmaSplitJob<ScalarType> const& job) {
  using Kernel = MmaSplitKernel<ExecutionSpace, ScalarType, padded_columns>;
  using Team   = typename Kernel::Team;
  if (Team::teams(job) == 0) return;
  typename Kernel::Policy policy(space, static_cast<int>(Team::teams(job)), Team::warps, 32);
  policy.set_scratch_size(0, Kokkos::PerTeam(Team::scratch_bytes() + mma_scratch_alignment));
  Kokkos::parallel_for("KokkosAttention::split (mma)", as_kernel_argument(policy), Kernel{{job}});
}

/// Splits a side's rows, and returns the arguments of kernels that read them.
template <class ExecutionSpace, class Arguments, Scalar ScalarType>
Arguments split_ahead(ExecutionSpace const& space, Arguments const& arguments, MmaSplitArrays<ScalarType> const& to) {
  return with_split_rows(arguments, to, [&](int padded_columns, auto const& job) {
    with_split_columns(padded_columns, [&](auto columns) { split_rows_ahead<decltype(columns)::value>(space, job); });
  });
}

}  // namespace KokkosAttention::Impl

#endif
