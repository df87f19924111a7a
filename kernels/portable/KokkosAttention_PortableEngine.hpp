// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_PORTABLEENGINE_HPP
#define KOKKOSATTENTION_PORTABLEENGINE_HPP

#include <KokkosAttention_ForwardLoop.hpp>
#include <KokkosAttention_PortableDropout.hpp>
#include <KokkosAttention_PortableLoad.hpp>
#include <KokkosAttention_PortableProduct.hpp>
#include <KokkosAttention_PortableRows.hpp>
#include <KokkosAttention_PortableTiles.hpp>

#include <KokkosAttention_Loops.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The tile operations of the portable engine: all tiles in team scratch in the accumulation type, plain team, thread
/// and vector loops, every backend.

namespace KokkosAttention::Impl::inline KOKKOSATTENTION_VECTORS {

template <Scalar ScalarType, class Member>
class PortableEngine {
  using T     = accumulation_t<ScalarType>;
  using Block = RegisterBlock<T, runs_on_host<typename Member::execution_space>>;

  Member const& m_member;
  ForwardArguments<ScalarType> const& m_arguments;
  PortableTile const& m_tile;
  T *m_query, *m_key_value, *m_score, *m_output;
  SoftmaxState<T>* m_state;
  unsigned char* m_kept;
  Sequence m_sequence = {};

 public:
  KOKKOS_FUNCTION PortableEngine(Member const& member, ForwardArguments<ScalarType> const& arguments,
                                 PortableTile const& tile)
      : m_member(member), m_arguments(arguments), m_tile(tile) {
    auto* const scratch =
        static_cast<T*>(member.team_scratch(tile.scratch_level).get_shmem_aligned(tile.scratch_bytes, 64));
    m_query     = scratch;
    m_key_value = scratch + tile.key_value_offset;
    m_score     = scratch + tile.score_offset;
    m_output    = scratch + tile.output_offset;
    m_state     = reinterpret_cast<SoftmaxState<T>*>(scratch + tile.state_offset);
    m_kept      = reinterpret_cast<unsigned char*>(scratch + tile.kept_offset);
  }

  KOKKOS_FUNCTION void begin(Sequence const& sequence, Tile const& tile) {
    m_sequence = sequence;
    m_member.team_barrier();  // some threads may still be storing the team's last tile
    int const queries = count(tile.query_begin, tile.query_end);
    load_rows(m_member,
              MatrixRows(m_arguments.q, sequence.entry, tile.head, sequence.q_begin + tile.query_begin, queries,
                         m_arguments.head_dim),
              block_rows(queries), m_arguments.head_dim, m_query,
              [this](int i, int d) { return i * m_tile.query_stride + d; });
    Kokkos::parallel_for(Kokkos::TeamVectorRange(m_member, block_rows(queries)),
                         [&](int i) { m_state[i] = SoftmaxState<T>(); });
    m_member.team_barrier();
  }

  KOKKOS_FUNCTION void load_keys(Tile const& tile) const {
    load_rows(m_member, rows_of_keys(m_arguments.k, tile, m_arguments.head_dim), m_tile.keys, m_arguments.head_dim,
              m_key_value, [this](int j, int d) { return d * m_tile.key_stride + j; });
    m_member.team_barrier();
  }

  KOKKOS_FUNCTION void load_values(Tile const& tile) const {
    load_rows(m_member, rows_of_keys(m_arguments.v, tile, m_arguments.value_dim), count(tile.key_begin, tile.key_end),
              m_tile.padded_value_dim, m_key_value, [this](int j, int d) { return j * m_tile.value_stride + d; });
  }

  /// The rows see what was drawn after the barrier that ends the product.
  KOKKOS_FUNCTION void draw(Tile const& tile, WeightDropout<T> const& dropout) const {
    draw_tile(m_member, tile, dropout, kept(tile));
  }

  KOKKOS_FUNCTION void multiply_query_key(Tile const& tile) const {
    multiply_tiles<Block>(m_member, block_rows(count(tile.query_begin, tile.query_end)), m_tile.keys,
                          m_arguments.head_dim, LeftOperand<T>{m_query, m_tile.query_stride},
                          RightOperand<T>{m_key_value, m_tile.key_stride}, [&](int i) {
                            return TargetRow<T>{m_score + i * m_tile.score_stride, T(0), m_arguments.scale};
                          });
    m_member.team_barrier();
  }

  template <class F>
  KOKKOS_FUNCTION void for_each_row(Tile const& tile, F const& f) const {
    Kokkos::parallel_for(Kokkos::TeamThreadRange(m_member, count(tile.query_begin, tile.query_end)), [&](int i) {
      PortableTileRow<T, Member> const row(m_member, m_score + i * m_tile.score_stride,
                                           count(tile.key_begin, tile.key_end), tile.query_begin + i, tile.key_begin,
                                           m_state[i], kept(tile));
      f(row);
    });
    m_member.team_barrier();
  }

  KOKKOS_FUNCTION void accumulate_output(Tile const& tile) const {
    int const keys = count(tile.key_begin, tile.key_end);
    multiply_tiles<Block>(m_member, block_rows(count(tile.query_begin, tile.query_end)), m_tile.padded_value_dim, keys,
                          LeftOperand<T>{m_score, m_tile.score_stride},
                          RightOperand<T>{m_key_value, m_tile.value_stride}, [&](int i) {
                            return TargetRow<T>{m_output + i * m_tile.value_stride, m_state[i].rescale, T(1)};
                          });
    m_member.team_barrier();
  }

  KOKKOS_FUNCTION void finish(Tile const& tile) const {
    int const value_dim = m_arguments.value_dim;
    auto const& out     = m_arguments.out;
    auto const& lse     = m_arguments.lse;
    Kokkos::parallel_for(Kokkos::TeamThreadRange(m_member, count(tile.query_begin, tile.query_end)), [&](int i) {
      index_t const query   = m_sequence.q_begin + tile.query_begin + i;
      T const normalisation = m_state[i].normalisation();
      Kokkos::parallel_for(Kokkos::ThreadVectorRange(m_member, value_dim), [&](int d) {
        out(m_sequence.entry, tile.head, query, d) = static_cast<ScalarType>(
            // Nothing was accumulated where there was nothing to attend.
            normalisation == T(0) ? T(0) : normalisation * m_output[i * m_tile.value_stride + d]);
      });
      if (lse.data != nullptr)
        Kokkos::single(Kokkos::PerThread(m_member),
                       [&] { lse(m_sequence.entry, tile.head, query, 0) = m_state[i].lse(); });
    });
  }

 private:
  KOKKOS_FUNCTION static int count(index_t begin, index_t end) { return static_cast<int>(end - begin); }
  KOKKOS_FUNCTION static int block_rows(int rows) { return round_up(rows, Block::rows); }

  KOKKOS_FUNCTION MatrixRows<ScalarType const> rows_of_keys(Tensor<ScalarType const> const& tensor, Tile const& tile,
                                                            int columns) const {
    return {tensor,
            m_sequence.entry,
            m_arguments.kv_head(tile.head),
            m_sequence.k_begin + tile.key_begin,
            count(tile.key_begin, tile.key_end),
            columns};
  }

  KOKKOS_FUNCTION KeptWeights kept(Tile const& tile) const {
    return {m_kept, m_tile.keys / 4, tile.query_begin, tile.key_begin};
  }
};

}  // namespace KokkosAttention::Impl::inline KOKKOSATTENTION_VECTORS

#endif
