// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_PORTABLEBACKWARD_HPP
#define KOKKOSATTENTION_PORTABLEBACKWARD_HPP

#include <KokkosAttention_Launch.hpp>
#include <KokkosAttention_PortableBackwardEngine.hpp>
#include <KokkosAttention_PortableBiasGradient.hpp>
#include <KokkosAttention_PortableDelta.hpp>
#include <KokkosAttention_PortableTileQuery.hpp>
#include <KokkosAttention_Workspace.hpp>

#include <Kokkos_Core.hpp>
#include <Kokkos_Profiling_ScopedRegion.hpp>

#include <climits>

/// \file
/// The portable engine's backward pass: a kernel for rowsum(dO O), then one for each of dQ, dK and dV together, dBias.

namespace KokkosAttention::Impl::inline KOKKOSATTENTION_VECTORS {

/// dQ: league = (batch, head, query tile). dK and dV: league = (batch, key-value head, key tile).
template <class ExecutionSpace, Scalar ScalarType, GradientOf target, class Scores, Mask M>
struct PortableBackwardKernel {
  // Rows of a causal problem differ in length: threads that finish early take the next tile.
  using Policy =
      Kokkos::TeamPolicy<ExecutionSpace, Kokkos::Schedule<Kokkos::Dynamic>, Kokkos::LaunchBounds<most_team_threads, 1>>;
  using Member = typename Policy::member_type;

  static constexpr Side own = own_side(target);

  BackwardArguments<ScalarType> arguments;
  Tensor<accumulation_t<ScalarType> const> delta;  // (B, Hq, Lq): rowsum(dO O)
  PortableBackwardTile tile;
  Scores scores;
  M mask;
  WeightDropout<accumulation_t<ScalarType>> dropout;

  KOKKOS_FUNCTION index_t items() const { return work_items(arguments, own, tile.rows); }

  KOKKOS_FUNCTION void operator()(Member const& member) const {
    PortableBackwardEngine<ScalarType, Member, target> engine(member, arguments, delta, tile);
    for (index_t n = member.league_rank(); n < items(); n += member.league_size()) {
      auto const [sequence, head, begin, end] = work_item(arguments, own, tile.rows, n);
      if (begin >= end) continue;
      if constexpr (own == Side::queries) {
        backward_query_tile(engine, scores, mask, dropout, sequence, Tile{sequence.batch, head, begin, end, 0, 0},
                            tile.columns);
      } else {
        backward_key_tile(engine, scores, mask, dropout, sequence,
                          Tile{sequence.batch, head * arguments.group(), 0, 0, begin, end}, arguments.readers(),
                          tile.columns);
      }
    }
  }
};

template <GradientOf target, class ExecutionSpace, Scalar ScalarType, class Scores, Mask M>
void portable_gradient(ExecutionSpace const& space, BackwardArguments<ScalarType> const& arguments,
                       Tensor<accumulation_t<ScalarType> const> const& delta, Scores const& scores, M const& mask,
                       WeightDropout<accumulation_t<ScalarType>> const& dropout, int most_teams) {
  using Kernel                    = PortableBackwardKernel<ExecutionSpace, ScalarType, target, Scores, M>;
  PortableBackwardTile const tile = choose_backward_tile(tile_query<ExecutionSpace>(arguments), target);
  Kernel const kernel{arguments, delta, tile, scores, mask, dropout};
  if (kernel.items() == 0) return;
  auto policy = typename Kernel::Policy(space, static_cast<int>(Kokkos::min(kernel.items(), index_t(most_teams))),
                                        tile.team_size, tile.vector_length);
  policy.set_scratch_size(tile.scratch_level, Kokkos::PerTeam(tile.scratch_bytes + 64));
  Kokkos::parallel_for(target == GradientOf::queries ? "KokkosAttention::backward, dq (portable)"
                                                     : "KokkosAttention::backward, dk and dv (portable)",
                       as_kernel_argument(policy), kernel);
}

template <class ExecutionSpace, Scalar ScalarType>
PortableBackwardTile portable_bias_tile(BackwardArguments<ScalarType> const& arguments) {
  return choose_backward_tile(tile_query<ExecutionSpace>(arguments), GradientOf::bias);
}

template <Scalar ScalarType>
BiasGradientPlan portable_bias_plan(BackwardArguments<ScalarType> const& arguments, PortableBackwardTile const& tile) {
  return {arguments, tile.rows, tile.columns};
}

template <class ExecutionSpace, Scalar ScalarType>
std::size_t portable_backward_workspace(BackwardArguments<ScalarType> const& arguments) {
  WorkspaceCarver carver(nullptr);
  BackwardArrays<accumulation_t<ScalarType>> const arrays(
      carver, arguments, portable_bias_plan(arguments, portable_bias_tile<ExecutionSpace>(arguments)));
  return carver.bytes();
}

template <class ExecutionSpace, Scalar ScalarType, class Scores, Mask M>
void portable_backward(ExecutionSpace const& space, BackwardArguments<ScalarType> const& arguments,
                       Scores const& scores, M const& mask, WeightDropout<accumulation_t<ScalarType>> const& dropout,
                       std::byte* workspace, int most_teams = INT_MAX) {
  using T = accumulation_t<ScalarType>;
  Kokkos::Profiling::ScopedRegion const region("KokkosAttention::backward (portable)");
  PortableBackwardTile const bias_tile = portable_bias_tile<ExecutionSpace>(arguments);
  BiasGradientPlan const plan          = portable_bias_plan(arguments, bias_tile);
  WorkspaceCarver carver(workspace);
  BackwardArrays<T> const arrays(carver, arguments, plan);
  Tensor<T const> const delta = arrays.computed_delta();

  compute_delta(space, arguments, PutDelta<T>{arrays.delta});
  if (arguments.dq.data != nullptr)
    portable_gradient<GradientOf::queries>(space, arguments, delta, scores, mask, dropout, most_teams);
  if (arguments.dk.data != nullptr || arguments.dv.data != nullptr)
    portable_gradient<GradientOf::keys_and_values>(space, arguments, delta, scores, mask, dropout, most_teams);
  if (arguments.dbias.data != nullptr)
    portable_bias_gradient(space,
                           BiasGradientLoop<ScalarType, Scores, M>{arguments, plan, arrays.partial, arrays.part_stride,
                                                                   scores, mask, dropout},
                           delta, bias_tile, most_teams);
}

}  // namespace KokkosAttention::Impl::inline KOKKOSATTENTION_VECTORS

#endif
