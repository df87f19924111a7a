// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_PORTABLEBACKWARDENGINE_HPP
#define KOKKOSATTENTION_PORTABLEBACKWARDENGINE_HPP

#include <KokkosAttention_BackwardLoop.hpp>
#include <KokkosAttention_BackwardRows.hpp>
#include <KokkosAttention_PortableBackwardTiles.hpp>
#include <KokkosAttention_PortableGradientRows.hpp>
#include <KokkosAttention_PortableLoad.hpp>
#include <KokkosAttention_PortableProduct.hpp>

#include <KokkosAttention_Loops.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The tile operations of the portable engine's backward pass. Queries and keys change roles between the gradients of
/// q and of k and v: with scores transposed along, both are the same products.

namespace KokkosAttention::Impl::inline KOKKOSATTENTION_VECTORS {

template <Scalar ScalarType, class Member, GradientOf target>
class PortableBackwardEngine : protected BackwardRows<ScalarType> {
  using Base = BackwardRows<ScalarType>;

 protected:
  using Base::array_row, Base::begin_of, Base::begin_rows, Base::count, Base::first, Base::head, Base::m_arguments,
      Base::m_sequence;
  using Base::second;

  using T     = accumulation_t<ScalarType>;
  using Block = RegisterBlock<T, runs_on_host<typename Member::execution_space>>;
  using Rows  = typename Base::Rows;

  static constexpr Side own   = own_side(target);
  static constexpr Side other = own == Side::queries ? Side::keys : Side::queries;

  Member const& m_member;
  Tensor<T const> const& m_deltas;
  PortableBackwardTile const& m_tile;
  T *m_first, *m_second, *m_other, *m_score, *m_gradient, *m_first_sum, *m_second_sum, *m_lse, *m_delta;
  unsigned char* m_kept;

 public:
  KOKKOS_FUNCTION PortableBackwardEngine(Member const& member, BackwardArguments<ScalarType> const& arguments,
                                         Tensor<T const> const& deltas, PortableBackwardTile const& tile)
      : Base(arguments), m_member(member), m_deltas(deltas), m_tile(tile) {
    auto* const scratch =
        static_cast<T*>(member.team_scratch(m_tile.scratch_level).get_shmem_aligned(m_tile.scratch_bytes, 64));
    m_first      = scratch;
    m_second     = scratch + m_tile.second_offset;
    m_other      = scratch + m_tile.other_offset;
    m_score      = scratch + m_tile.score_offset;
    m_gradient   = scratch + m_tile.gradient_offset;
    m_first_sum  = scratch + m_tile.first_sum_offset;
    m_second_sum = scratch + m_tile.second_sum_offset;
    m_lse        = scratch + m_tile.lse_offset;
    m_delta      = scratch + m_tile.delta_offset;
    m_kept       = reinterpret_cast<unsigned char*>(scratch + m_tile.kept_offset);
  }

  KOKKOS_FUNCTION void begin(Sequence const& sequence, Tile const& tile) {
    begin_rows(sequence, tile);
    m_member.team_barrier();  // some threads may still be storing the team's last tile
    load_own(tile);
    clear(m_first_sum, m_tile.first_sum_stride);
    if constexpr (target == GradientOf::keys_and_values) clear(m_second_sum, m_tile.second_sum_stride);
    if constexpr (own == Side::queries) load_statistics(tile);
    m_member.team_barrier();
  }

  KOKKOS_FUNCTION void multiply(Tile const& tile) const {
    if constexpr (own == Side::keys) load_statistics(tile);
    multiply_other(tile, first(other, tile), m_arguments.head_dim, m_first, m_tile.first_stride, m_arguments.scale,
                   m_score);
    multiply_other(tile, second(other, tile), m_arguments.value_dim, m_second, m_tile.second_stride, T(1), m_gradient);
  }

  /// The rows see what was drawn after the barriers of the products.
  KOKKOS_FUNCTION void draw(Tile const& tile, WeightDropout<T> const& dropout) const {
    draw_tile(m_member, tile, dropout, kept(tile));
  }

  template <class F>
  KOKKOS_FUNCTION void for_each_row(Tile const& tile, F const& f) const {
    Kokkos::parallel_for(Kokkos::TeamThreadRange(m_member, count(own, tile)), [&](int r) {
      PortableGradientRow<T, Member, own> const row(m_member, m_score + r * m_tile.transposed_stride,
                                                    m_gradient + r * m_tile.transposed_stride, count(other, tile),
                                                    begin_of(own, tile) + r, begin_of(other, tile),
                                                    QueryStatistics<T>{m_lse, m_delta, tile.query_begin}, kept(tile));
      f(row);
    });
    m_member.team_barrier();
  }

  KOKKOS_FUNCTION void accumulate(Tile const& tile) const {
    if constexpr (target == GradientOf::keys_and_values) {
      if (m_arguments.dv.data != nullptr)
        add_product(tile, second(other, tile), m_tile.padded_second, m_score, m_second_sum, m_tile.second_sum_stride);
      if (m_arguments.dk.data == nullptr) return;
    }
    add_product(tile, first(other, tile), m_tile.padded_first, m_gradient, m_first_sum, m_tile.first_sum_stride);
  }

  KOKKOS_FUNCTION void finish(Tile const& tile) const {
    if constexpr (target == GradientOf::queries) {
      store(m_arguments.dq, tile, m_arguments.head_dim, m_arguments.scale, m_first_sum, m_tile.first_sum_stride);
    } else {
      store(m_arguments.dk, tile, m_arguments.head_dim, m_arguments.scale, m_first_sum, m_tile.first_sum_stride);
      store(m_arguments.dv, tile, m_arguments.value_dim, T(1), m_second_sum, m_tile.second_sum_stride);
    }
  }

 protected:
  KOKKOS_FUNCTION static int block_rows(int rows) { return round_up(rows, Block::rows); }

  KOKKOS_FUNCTION KeptWeights kept(Tile const& tile) const {
    // A tile of queries by keys, whichever side the team owns.
    return {m_kept, (own == Side::queries ? m_tile.columns : m_tile.rows) / 4, tile.query_begin, tile.key_begin};
  }

  KOKKOS_FUNCTION void load_own(Tile const& tile) const {
    int const rows = block_rows(count(own, tile));
    load_rows(m_member, first(own, tile), rows, m_arguments.head_dim, m_first,
              [this](int r, int d) { return r * m_tile.first_stride + d; });
    load_rows(m_member, second(own, tile), rows, m_arguments.value_dim, m_second,
              [this](int r, int d) { return r * m_tile.second_stride + d; });
  }

  KOKKOS_FUNCTION void load_statistics(Tile const& tile) const {
    Kokkos::parallel_for(Kokkos::TeamVectorRange(m_member, count(Side::queries, tile)), [&](int n) {
      index_t const i = array_row(Side::queries, tile) + n;
      m_lse[n]        = usable_lse(m_arguments.lse(m_sequence.entry, tile.head, i, 0));
      m_delta[n]      = m_deltas(m_sequence.entry, tile.head, i, 0);
    });
  }

  KOKKOS_FUNCTION void clear(T* sums, int stride) const {
    Kokkos::parallel_for(Kokkos::TeamVectorRange(m_member, m_tile.rows * stride), [&](int e) { sums[e] = T(0); });
  }

  /// result = factor * own rows * (other side's rows)^T
  KOKKOS_FUNCTION void multiply_other(Tile const& tile, Rows const& rows, int dim, T const* own_rows, int own_stride,
                                      T factor, T* result) const {
    load_rows(m_member, rows, m_tile.columns, dim, m_other,
              [this](int c, int d) { return d * m_tile.transposed_stride + c; });
    m_member.team_barrier();
    multiply_tiles<Block>(m_member, block_rows(count(own, tile)), m_tile.columns, dim,
                          LeftOperand<T>{own_rows, own_stride}, RightOperand<T>{m_other, m_tile.transposed_stride},
                          [&](int r) {
                            return TargetRow<T>{result + r * m_tile.transposed_stride, T(0), factor};
                          });
    m_member.team_barrier();
  }

  /// sums += factors * (other side's rows)
  KOKKOS_FUNCTION void add_product(Tile const& tile, Rows const& rows, int padded_dim, T const* factors, T* sums,
                                   int stride) const {
    load_rows(m_member, rows, rows.rows, padded_dim, m_other, [stride](int c, int d) { return c * stride + d; });
    m_member.team_barrier();
    multiply_tiles<Block>(m_member, block_rows(count(own, tile)), padded_dim, rows.rows,
                          LeftOperand<T>{factors, m_tile.transposed_stride}, RightOperand<T>{m_other, stride},
                          [&](int r) {
                            return TargetRow<T>{sums + r * stride, T(1), T(1)};
                          });
    m_member.team_barrier();
  }

  KOKKOS_FUNCTION void store(Tensor<ScalarType> const& tensor, Tile const& tile, int dim, T factor, T const* sums,
                             int stride) const {
    if (tensor.data == nullptr) return;
    MatrixRows<ScalarType> const to(tensor, m_sequence.entry, head(own, tile), array_row(own, tile), count(own, tile),
                                    dim);
    Kokkos::parallel_for(Kokkos::TeamThreadRange(m_member, to.rows), [&](int r) {
      Kokkos::parallel_for(Kokkos::ThreadVectorRange(m_member, dim),
                           [&](int d) { to(r, d) = static_cast<ScalarType>(factor * sums[r * stride + d]); });
    });
  }
};

}  // namespace KokkosAttention::Impl::inline KOKKOSATTENTION_VECTORS

#endif
