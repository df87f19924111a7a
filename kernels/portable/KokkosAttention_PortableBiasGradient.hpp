// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_PORTABLEBIASGRADIENT_HPP
#define KOKKOSATTENTION_PORTABLEBIASGRADIENT_HPP

#include <KokkosAttention_BiasGradient.hpp>
#include <KokkosAttention_Launch.hpp>
#include <KokkosAttention_PortableBackwardEngine.hpp>

#include <KokkosAttention_Loops.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The portable engine's gradient of the bias.

namespace KokkosAttention::Impl::inline KOKKOSATTENTION_VECTORS {

/// Sums gradients of scores over the visits of a team, in a tile of queries by keys.
template <Scalar ScalarType, class Member>
class PortableBiasEngine : public PortableBackwardEngine<ScalarType, Member, GradientOf::bias> {
  using Base = PortableBackwardEngine<ScalarType, Member, GradientOf::bias>;
  using T    = typename Base::T;

 public:
  using Base::Base;

  KOKKOS_FUNCTION void clear_sums() const {
    this->m_member.team_barrier();  // some threads may still be storing the last ones
    this->clear(this->m_first_sum, this->m_tile.first_sum_stride);
  }

  KOKKOS_FUNCTION void begin(Sequence const& sequence, Tile const& tile) {
    this->begin_rows(sequence, tile);
    this->load_own(tile);
    this->load_statistics(tile);
    this->m_member.team_barrier();
  }

  KOKKOS_FUNCTION void accumulate(Tile const& tile) const {
    Kokkos::parallel_for(Kokkos::TeamThreadRange(this->m_member, this->count(Side::queries, tile)), [&](int r) {
      Kokkos::parallel_for(Kokkos::ThreadVectorRange(this->m_member, this->count(Side::keys, tile)),
                           [&](int c) { *sum(r, c) += this->m_gradient[r * this->m_tile.transposed_stride + c]; });
    });
    this->m_member.team_barrier();
  }

  /// store(row, column, sum) for the tile's elements.
  template <class Store>
  KOKKOS_FUNCTION void for_each_sum(int rows, int columns, Store const& store) const {
    this->m_member.team_barrier();
    Kokkos::parallel_for(Kokkos::TeamThreadRange(this->m_member, rows), [&](int r) {
      Kokkos::parallel_for(Kokkos::ThreadVectorRange(this->m_member, columns), [&](int c) { store(r, c, *sum(r, c)); });
    });
  }

  /// store(n, sum along the other side) for the rows of one side.
  template <class Store>
  KOKKOS_FUNCTION void for_each_row_sum(Side side, int rows, Store const& store) const {
    this->m_member.team_barrier();
    int const others = side == Side::queries ? this->m_tile.columns : this->m_tile.rows;
    Kokkos::parallel_for(Kokkos::TeamVectorRange(this->m_member, rows), [&](int n) {
      T total = 0;
      for (int other = 0; other < others; ++other) total += side == Side::queries ? *sum(n, other) : *sum(other, n);
      store(n, total);
    });
  }

 private:
  KOKKOS_FUNCTION T* sum(int r, int c) const { return this->m_first_sum + r * this->m_tile.first_sum_stride + c; }
};

template <class ExecutionSpace, Scalar ScalarType, class Scores, Mask M>
struct PortableBiasKernel {
  using Policy =
      Kokkos::TeamPolicy<ExecutionSpace, Kokkos::Schedule<Kokkos::Dynamic>, Kokkos::LaunchBounds<most_team_threads, 1>>;
  using Member = typename Policy::member_type;

  BiasGradientLoop<ScalarType, Scores, M> loop;
  Tensor<accumulation_t<ScalarType> const> delta;
  PortableBackwardTile tile;

  KOKKOS_FUNCTION void operator()(Member const& member) const {
    PortableBiasEngine<ScalarType, Member> engine(member, loop.arguments, delta, tile);
    for (index_t item = member.league_rank(); item < loop.items(); item += member.league_size()) loop(engine, item);
  }
};

template <class ExecutionSpace, Scalar ScalarType, class Scores, Mask M>
void portable_bias_gradient(ExecutionSpace const& space, BiasGradientLoop<ScalarType, Scores, M> const& loop,
                            Tensor<accumulation_t<ScalarType> const> const& delta, PortableBackwardTile const& tile,
                            int most_teams) {
  using Kernel = PortableBiasKernel<ExecutionSpace, ScalarType, Scores, M>;
  clear_bias_gradient(space, loop.arguments, loop.plan);
  if (loop.items() > 0) {
    auto policy = typename Kernel::Policy(space, static_cast<int>(Kokkos::min(loop.items(), index_t(most_teams))),
                                          tile.team_size, tile.vector_length);
    policy.set_scratch_size(tile.scratch_level, Kokkos::PerTeam(tile.scratch_bytes + 64));
    Kokkos::parallel_for("KokkosAttention::backward, dbias (portable)", as_kernel_argument(policy),
                         Kernel{loop, delta, tile});
  }
  add_bias_gradient_parts(space, loop.arguments, loop.plan, loop.partial, loop.part_stride);
}

}  // namespace KokkosAttention::Impl::inline KOKKOSATTENTION_VECTORS

#endif
