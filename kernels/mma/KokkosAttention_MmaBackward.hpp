// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMABACKWARD_HPP
#define KOKKOSATTENTION_MMABACKWARD_HPP

#include <KokkosAttention_MmaBackwardTeam.hpp>
#include <KokkosAttention_MmaBiasGradient.hpp>
#include <KokkosAttention_MmaOptionInUse.hpp>
#include <KokkosAttention_MmaQueryTurns.hpp>
#include <KokkosAttention_MmaSplitAhead.hpp>
#include <KokkosAttention_PortableBackward.hpp>

#include <Kokkos_Core.hpp>
#include <Kokkos_Profiling_ScopedRegion.hpp>

#include <climits>
#include <optional>

/// \file
/// The mma engine's backward pass: one kernel for dQ, dK and dV, or one for dQ, and one for dK and dV together or one
/// for each, and one for dBias; rowsum(dO O) is the portable engine's, and dBias too where no tile fits.

namespace KokkosAttention::Impl {

/// \tparam scale_is_power, splits_ahead see MmaBackwardTeam
template <class ExecutionSpace, Scalar ScalarType, int shape_number, class Scores, Mask M, class DropoutOfWeights,
          bool scale_is_power = false, bool splits_ahead = false>
struct MmaBackwardKernel {
  static constexpr MmaBackwardShape shape = mma_backward_shapes<ScalarType>[shape_number];

  using Policy = Kokkos::TeamPolicy<ExecutionSpace, Kokkos::LaunchBounds<32 * shape.warps, shape.teams>>;
  using Member = typename Policy::member_type;

  MmaBackwardData<ScalarType> data;
  Scores scores;
  M mask;
  DropoutOfWeights dropout;

  KOKKOS_FUNCTION void operator()(Member const& member) const {
    MmaBackwardTeam<shape_number, Member, ScalarType, Scores, M, DropoutOfWeights, scale_is_power, splits_ahead>{
        data, scores, mask, dropout}(member);
  }
};

template <int shape_number = 0, class ExecutionSpace, Scalar ScalarType, class Scores, Mask M, class DropoutOfWeights>
void mma_gradient(ExecutionSpace const& space, MmaBackwardData<ScalarType> const& data, Scores const& scores,
                  M const& mask, DropoutOfWeights const& dropout, int most_teams) {
  if constexpr (shape_number < mma_backward_shape_count<ScalarType>) {
    constexpr MmaBackwardShape shape = mma_backward_shapes<ScalarType>[shape_number];
    if constexpr (!shape.computes_bias() && may_take<Scores, DropoutOfWeights>(shape)) {
      auto const launch = [&](auto scale_is_power, auto... splits_ahead) {
        using Kernel = MmaBackwardKernel<ExecutionSpace, ScalarType, shape_number, Scores, M, DropoutOfWeights,
                                         decltype(scale_is_power)::value, decltype(splits_ahead)::value...>;
        launch_mma_gradient(space, data.tile, mma_backward_items(data, Kernel::shape.own), most_teams,
                            Kernel{data, scores, mask, dropout});
      };
      if (data.tile.shape == shape_number) {
        if constexpr (may_split_ahead<ScalarType, Scores, DropoutOfWeights>(shape))
          if (data.tile.splits_ahead) return launch(std::false_type(), std::true_type());
        if constexpr (shape.turns)
          return with_kind_of_scale<ScalarType, DropoutOfWeights>(data.arguments.scale, launch);
        else
          return launch(std::false_type());
      }
    }
    mma_gradient<shape_number + 1>(space, data, scores, mask, dropout, most_teams);
  }
}

/// The arrays of a backward call in its workspace.
template <Scalar ScalarType>
struct MmaBackwardArrays {
  BackwardArrays<accumulation_t<ScalarType>> shared;
  MmaStatistics<ScalarType> statistics;
  MmaTurnArrays<ScalarType> turns;
  std::optional<MmaSplitArrays<ScalarType>> split;

  /// Takes the arrays out of a workspace; from an empty one, only its size is counted.
  MmaBackwardArrays(WorkspaceCarver& carver, BackwardArguments<ScalarType> const& arguments,
                    BiasGradientPlan const& plan, MmaBackwardTiles const& tiles)
      : shared(carver, arguments, plan), statistics(carver, arguments) {
    for (int n = 0; n < tiles.count; ++n) {
      MmaBackwardShape const& shape = mma_backward_shapes<ScalarType>[tiles.tile[n].shape];
      if (shape.turns) turns = MmaTurnArrays<ScalarType>(carver, arguments, tiles.tile[n]);
      if (tiles.tile[n].splits_ahead) split.emplace(carver, arguments, shape);
    }
  }
};

template <class ExecutionSpace, Scalar ScalarType>
std::size_t mma_backward_workspace(BackwardArguments<ScalarType> const& arguments, MmaBackwardTiles const& tiles) {
  WorkspaceCarver carver(nullptr);
  MmaBackwardArrays<ScalarType> const arrays(carver, arguments, mma_bias_plan<ExecutionSpace>(arguments, tiles), tiles);
  return carver.bytes();
}

/// How many heads' tiles of keys are begun in turns (see MmaTurnArrays): enough for twice as many teams as run at once,
/// which then wait less for each other. Under a mask in 16 bits, whose products take little time for what they read, no
/// more than have room in two thirds of the L2 cache.
template <class ExecutionSpace, Scalar ScalarType, Mask M>
index_t mma_heads_in_turns(ExecutionSpace const& space, BackwardArguments<ScalarType> const& a,
                           MmaBackwardTile const& tile, M const& mask, int teams) {
  index_t const tiles = tile_slots(a, Side::keys, tile.rows), heads = index_t(a.batch) * a.kv_heads;
  if (sums_in_place<ScalarType> || takes_all_keys(mask)) return matrices_in_turns(2 * teams, tiles, heads);
  index_t const row_bytes =
      sizeof(ScalarType) * (a.head_dim + a.value_dim) +
      sizeof(accumulation_t<ScalarType>) * mma_backward_shapes<ScalarType>[tile.shape].head_columns;
  return heads_in_cache(teams, tiles, heads, row_bytes * a.q_len * a.group(),
                        space.cuda_device_prop().l2CacheSize / index_t(3) * 2);
}

/// The one kernel of a call whose teams of keys add to dQ in turns: as many as run at once.
template <class ExecutionSpace, Scalar ScalarType, class Scores, Mask M, class DropoutOfWeights>
void mma_gradients_in_turns(ExecutionSpace const& space, BackwardArguments<ScalarType> const& arguments,
                            MmaBackwardData<ScalarType> data, Scores const& scores, M const& mask,
                            DropoutOfWeights const& dropout, int most_teams) {
  begin_turns(space, arguments, data.turns);
  int const teams =
      space.cuda_device_prop().multiProcessorCount * mma_backward_shapes<ScalarType>[data.tile.shape].teams;
  data.turns.heads_in_turns = mma_heads_in_turns(space, data.arguments, data.tile, mask, teams);
  mma_gradient(space, data, scores, mask, dropout, Kokkos::min(teams, most_teams));
  end_turns(space, arguments, data.turns);
}

/// \param most_teams a league is counted in 32 bits; beyond, teams take several tiles
/// \param in_use in_use(f) calls f(scores, mask, dropout) with the types of the kernels for dQ, dK and dV
template <class ExecutionSpace, Scalar ScalarType, class Scores, Mask M, class T, class InUse>
void mma_backward(ExecutionSpace const& space, BackwardArguments<ScalarType> const& arguments, Scores const& scores,
                  M const& mask, WeightDropout<T> const& dropout, InUse const& in_use, MmaBackwardTiles const& tiles,
                  std::byte* workspace, int most_teams = INT_MAX) {
  Kokkos::Profiling::ScopedRegion const region("KokkosAttention::backward (mma)");
  BiasGradientPlan const plan = mma_bias_plan<ExecutionSpace>(arguments, tiles);
  WorkspaceCarver carver(workspace);
  MmaBackwardArrays<ScalarType> const arrays(carver, arguments, plan, tiles);
  BackwardArguments<ScalarType> const taken = arrays.statistics.arguments(arguments);
  Tensor<T const> const delta               = arrays.shared.computed_delta();

  compute_statistics(space, arguments, arrays.shared.delta, arrays.statistics);
  for (int n = 0; n < tiles.count; ++n) {
    MmaBackwardData<ScalarType> data{taken, arrays.statistics.deltas(delta), tiles.tile[n], arrays.turns};
    if constexpr (MmaArithmetic<ScalarType>::splits)
      if (data.tile.splits_ahead) data.arguments = split_ahead(space, taken, *arrays.split);
    MmaBackwardShape const& shape = mma_backward_shapes<ScalarType>[data.tile.shape];
    if (shape.computes_bias()) continue;
    in_use([&](auto const&... options) {
      if (shape.turns)
        mma_gradients_in_turns(space, arguments, data, options..., most_teams);
      else
        mma_gradient(space, data, options..., most_teams);
    });
  }
  if (arguments.dbias.data != nullptr) {
    MmaBackwardTile const tile = mma_bias_tile<ScalarType>(tiles);
    bool const by_mma          = tile.shape >= 0;  // by the portable engine otherwise
    mma_bias_gradient(space,
                      BiasGradientLoop<ScalarType, Scores, M>{by_mma ? taken : arguments, plan, arrays.shared.partial,
                                                              arrays.shared.part_stride, scores, mask, dropout},
                      by_mma ? arrays.statistics.deltas(delta) : delta, tile, most_teams);
  }
}

}  // namespace KokkosAttention::Impl

#endif
