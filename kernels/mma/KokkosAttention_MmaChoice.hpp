// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMACHOICE_HPP
#define KOKKOSATTENTION_MMACHOICE_HPP

#include <KokkosAttention_MmaArithmetic.hpp>
#include <KokkosAttention_MmaBackwardTiles.hpp>
#include <KokkosAttention_MmaInstances.hpp>
#include <KokkosAttention_MmaSplitAhead.hpp>
#include <KokkosAttention_MmaTiles.hpp>

#include <Kokkos_Core.hpp>

#include <string>

/// \file
/// Which calls the mma engine takes, and why it does not take others.

namespace KokkosAttention::Impl {

/// What the choice of a tile depends on, for a call on an execution space.
template <class ExecutionSpace, Scalar ScalarType>
MmaTileQuery mma_tile_query(AttentionArguments<ScalarType> const& arguments) {
  // The rest is for alignment.
  MmaTileQuery query{arguments.head_dim, arguments.value_dim,
                     std::size_t(Kokkos::TeamPolicy<ExecutionSpace>::scratch_size_max(0)) - mma_scratch_alignment};
  query.lengths.longest = Kokkos::max(arguments.q_len, arguments.k_len);
  // Those of packed sequences are known on the device only.
  query.lengths.shortest = arguments.packed() ? 0 : query.lengths.longest;
  return query;
}

/// Whether an instance's device has the instructions; Kokkos knows, nothing is asked of the device.
template <class ExecutionSpace>
bool device_has_mma([[maybe_unused]] ExecutionSpace const& space) {
  if constexpr (compiled_for_mma<ExecutionSpace>)
    return space.cuda_device_prop().major >= 8;
  else
    return false;
}

template <Scalar ScalarType>
bool takes_lengths(AttentionArguments<ScalarType> const& arguments) {
  return arguments.q_len <= longest_mma_sequence && arguments.k_len <= longest_mma_sequence;
}

/// The tiles of a forward call; none if the engine does not take it.
template <class ExecutionSpace, Scalar ScalarType>
MmaForwardTiles mma_tiles(ExecutionSpace const& space, ForwardArguments<ScalarType> const& arguments) {
  if constexpr (compiled_for_mma<ExecutionSpace>)
    if (device_has_mma(space) && takes_lengths(arguments)) {
      MmaTileQuery query         = mma_tile_query<ExecutionSpace>(arguments);
      query.adds_bias            = arguments.adds_bias;
      MmaForwardTiles tiles      = choose_mma_tiles<ScalarType>(query);
      tiles.tile[0].splits_ahead = splits_ahead(arguments, tiles);
      return tiles;
    }
  return {};
}

/// The tiles of a backward call; none if the engine does not take it.
template <class ExecutionSpace, Scalar ScalarType>
MmaBackwardTiles mma_backward_tiles(ExecutionSpace const& space, BackwardArguments<ScalarType> const& arguments) {
  if constexpr (compiled_for_mma<ExecutionSpace>)
    if (device_has_mma(space) && takes_lengths(arguments)) {
      MmaTileQuery query = mma_tile_query<ExecutionSpace>(arguments);
      query.adds_bias    = arguments.adds_bias;
      query.plain        = arguments.plain;
      query.single       = arguments.single;
      MmaBackwardTiles tiles =
          choose_mma_backward_tiles<ScalarType>(query, arguments.dq.data != nullptr, arguments.dk.data != nullptr,
                                                arguments.dv.data != nullptr, arguments.dbias.data != nullptr);
      for (int n = 0; n < tiles.count; ++n) tiles.tile[n].splits_ahead = splits_ahead(arguments, tiles.tile[n]);
      return tiles;
    }
  return {};
}

/// Why a call that the engine does not take is not taken.
template <class ExecutionSpace, Scalar ScalarType>
std::string why_not_mma(ExecutionSpace const& space, AttentionArguments<ScalarType> const& arguments) {
  if constexpr (!compiled_for_mma<ExecutionSpace>) {
    return "not mma, which is for NVIDIA GPUs of compute capability 8.0 and up";
  } else {
    if (!device_has_mma(space)) return "not mma, which needs compute capability 8.0";
    if (arguments.head_dim > largest_mma_head_dim || arguments.value_dim > largest_mma_head_dim)
      return "not mma, whose head dimensions end at " + std::to_string(largest_mma_head_dim);
    if (!takes_lengths(arguments)) return "not mma, whose sequences end at " + std::to_string(longest_mma_sequence);
    return "not mma, for whose tiles there is too little team scratch";
  }
}

}  // namespace KokkosAttention::Impl

#endif
