// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMASTATISTICS_HPP
#define KOKKOSATTENTION_MMASTATISTICS_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_BackwardRows.hpp>
#include <KokkosAttention_MmaArithmetic.hpp>
#include <KokkosAttention_PortableDelta.hpp>
#include <KokkosAttention_Workspace.hpp>

#include <Kokkos_Core.hpp>

#include <cstddef>

/// \file
/// What backward kernels take of a query: its LSE, and delta = rowsum(dO O).

namespace KokkosAttention::Impl {

/// Whether kernels take them as they use them, the LSE as exponentials do and -delta, with which sums begin: what lanes
/// would compute of them is the same in every tile of keys.
template <Scalar ScalarType>
inline constexpr bool prepares_statistics = puts_factor_off<typename MmaArithmetic<ScalarType>::Exponential>;

/// As kernels take them.
template <Scalar ScalarType>
struct MmaStatistics {
  using T = accumulation_t<ScalarType>;

  Tensor<T> lse = {}, delta = {};  // (B, Hq, Lq); without data: those of the call

  /// Takes the arrays out of a workspace; from an empty one, only its size is counted.
  MmaStatistics(WorkspaceCarver& carver, BackwardArguments<ScalarType> const& a) {
    if constexpr (prepares_statistics<ScalarType>)
      for (Tensor<T>* const tensor : {&lse, &delta})
        *tensor = {carver.take<T>(static_cast<std::size_t>(a.batch) * a.q_heads * a.q_len),
                   {a.q_heads * a.q_len, a.q_len, 1, 0}};
  }

  /// The arguments of kernels, and their deltas.
  BackwardArguments<ScalarType> arguments(BackwardArguments<ScalarType> of_call) const {
    if constexpr (prepares_statistics<ScalarType>) of_call.lse = lse.read_only();
    return of_call;
  }
  Tensor<T const> deltas(Tensor<T const> const& of_call) const {
    return prepares_statistics<ScalarType> ? delta.read_only() : of_call;
  }
};

/// Stores a query's delta and, prepared, what kernels take.
template <Scalar ScalarType>
struct PutMmaStatistics {
  using T = accumulation_t<ScalarType>;

  Tensor<T const> lse;
  Tensor<T> delta;
  MmaStatistics<ScalarType> prepared;

  KOKKOS_FORCEINLINE_FUNCTION void operator()(int entry, int head, index_t i, T x) const {
    delta(entry, head, i, 0) = x;
    if constexpr (prepares_statistics<ScalarType>) {
      using Exponential                 = typename MmaArithmetic<ScalarType>::Exponential;
      prepared.lse(entry, head, i, 0)   = Exponential::in_base_2(usable_lse(lse(entry, head, i, 0)));
      prepared.delta(entry, head, i, 0) = -x;
    }
  }
};

/// \param delta of the call
template <class ExecutionSpace, Scalar ScalarType>
void compute_statistics(ExecutionSpace const& space, BackwardArguments<ScalarType> const& arguments,
                        Tensor<accumulation_t<ScalarType>> const& delta, MmaStatistics<ScalarType> const& prepared) {
  compute_delta(space, arguments, PutMmaStatistics<ScalarType>{arguments.lse, delta, prepared});
}

}  // namespace KokkosAttention::Impl

#endif
