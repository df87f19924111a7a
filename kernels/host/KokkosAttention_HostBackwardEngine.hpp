// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTBACKWARDENGINE_HPP
#define KOKKOSATTENTION_HOSTBACKWARDENGINE_HPP

#include <KokkosAttention_BackwardLoop.hpp>
#include <KokkosAttention_BackwardRows.hpp>
#include <KokkosAttention_HostGradientLanes.hpp>
#include <KokkosAttention_HostOperands.hpp>
#include <KokkosAttention_HostPrefetch.hpp>
#include <KokkosAttention_HostQuerySums.hpp>
#include <KokkosAttention_HostTiles.hpp>

#include <Kokkos_Core.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>

/// \file
/// The tile operations of the host engine's backward pass. The rows of the side that a thread owns lie in the lanes of
/// vectors, and its sums too. Queries and keys change roles between the gradients of q and of k and v.

namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT {

/// \tparam target with GradientOf::all, the thread adds to the gradients of all queries as it goes along them
template <Scalar ScalarType, GradientOf target>
class HostBackwardEngine : protected BackwardRows<ScalarType> {
  using Base = BackwardRows<ScalarType>;

 protected:
  using Base::array_row, Base::begin_of, Base::begin_rows, Base::count, Base::first, Base::head, Base::m_arguments,
      Base::m_sequence;
  using Base::second;

  using Operands = HostOperands<ScalarType>;
  using T        = accumulation_t<ScalarType>;
  using Vector   = HostVector<T>;
  using Rows     = typename Base::Rows;

  static constexpr Side own   = own_side(target);
  static constexpr Side other = own == Side::queries ? Side::keys : Side::queries;

  Tensor<T> m_deltas;
  HostBackwardTile const& m_tile;
  std::byte* m_scratch;
  mutable HostPrefetch m_prefetch;
  Vector *m_score, *m_gradient, *m_first_sum, *m_second_sum;
  T *m_lse, *m_delta;
  typename Operands::Right m_own_steps  = {};
  typename Operands::Both m_other_first = {}, m_other_second = {};
  bool m_drops = false;
  // Where all gradients are computed.
  HostQuerySums<ScalarType> const* m_query_sums = nullptr;
  HostQueryTurns* m_turns                       = nullptr;  // if others add to these sums, too

 public:
  HostBackwardEngine(BackwardArguments<ScalarType> const& arguments, Tensor<T> const& deltas,
                     HostBackwardTile const& tile, std::byte* scratch, HostPrefetch const& prefetch = {})
      : Base(arguments), m_deltas(deltas), m_tile(tile), m_scratch(scratch), m_prefetch(prefetch) {
    m_score      = reinterpret_cast<Vector*>(scratch + tile.score_offset);
    m_gradient   = reinterpret_cast<Vector*>(scratch + tile.gradient_offset);
    m_first_sum  = reinterpret_cast<Vector*>(scratch + tile.first_sum_offset);
    m_second_sum = reinterpret_cast<Vector*>(scratch + tile.second_sum_offset);
    m_lse        = reinterpret_cast<T*>(scratch + tile.lse_offset);
    m_delta      = reinterpret_cast<T*>(scratch + tile.delta_offset);
  }

  /// Sums of the queries' gradients, for the heads that read the sequence's keys.
  void add_to(HostQuerySums<ScalarType> const& sums, HostQueryTurns* turns = nullptr) {
    m_query_sums = &sums;
    m_turns      = turns;
  }

  void begin(Sequence const& sequence, Tile const& tile) {
    begin_rows(sequence, tile);
    load_own(tile);
    for (int first = 0; first < vectors(tile); first += m_tile.group) {
      std::memset(static_cast<void*>(first_sums(first)), 0, m_tile.first_sum_group_bytes);
      if constexpr (target != GradientOf::queries)
        std::memset(static_cast<void*>(second_sums(first)), 0, m_tile.second_sum_group_bytes);
    }
    if constexpr (target == GradientOf::all)
      m_own_steps = Operands::steps(first(own, tile), m_scratch + m_tile.step_offset);
  }

  /// Brings the other side's rows in; products are put off until for_each_row.
  void multiply(Tile const& tile) {
    if constexpr (own == Side::keys) load_statistics(tile);
    m_other_first =
        Operands::both(first(other, tile), m_scratch + m_tile.other_first_rows, m_scratch + m_tile.other_first_columns);
    m_other_second = Operands::both(second(other, tile), m_scratch + m_tile.other_second_rows,
                                    m_scratch + m_tile.other_second_columns);
  }

  void draw(Tile const& tile, WeightDropout<T> const& dropout) {
    m_drops = true;
    draw_on_host(tile, dropout, kept(tile));
  }

  /// Computes the products for a group of vectors at a time, as for the output.
  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void for_each_row(Tile const& tile, F const& f) const {
    for (int first = 0; first < vectors(tile); first += m_tile.group) {
      int const group           = group_size(tile, first);
      HostStrides const strides = score_strides(group);
      Operands::product(count(other, tile), group, m_arguments.head_dim, m_other_first.rows,
                        Operands::packed_lanes(own_first(first), m_arguments.head_dim, group),
                        HostStore<T>{m_score, strides}, m_prefetch);
      Operands::product(count(other, tile), group, m_arguments.value_dim, m_other_second.rows,
                        Operands::packed_lanes(own_second(first), m_arguments.value_dim, group),
                        HostStore<T>{m_gradient, strides}, m_prefetch);
      for (int v = 0; v < group; ++v) {
        int const row = (first + v) * Vector::lanes;
        HostGradientWriter<Operands, target> const writer{
            Operands::weight_writer(v, m_tile.other, m_scratch + m_tile.weight_offset),
            Operands::weight_writer(v, m_tile.other, m_scratch + m_tile.weight_gradient_offset),
            weight_row_writer(tile), first + v};
        f(HostGradientLanes<T, own, HostGradientWriter<Operands, target>>(
            {m_score + strides(0, v), m_gradient + strides(0, v), strides.row, count(other, tile),
             begin_of(other, tile), m_arguments.scale},
            writer, begin_of(own, tile) + row, Kokkos::min(Vector::lanes, count(own, tile) - row),
            {m_lse, m_delta, tile.query_begin}, kept(tile)));
      }
      if constexpr (target == GradientOf::bias)
        add_gradients(tile, first, group);
      else
        accumulate(tile, first, group);
    }
  }

  /// Done by for_each_row, but for the gradients of queries where all are computed: sums over all of the tile's keys.
  void accumulate(Tile const& tile) const {
    if constexpr (target == GradientOf::all) {
      std::byte* const rows = m_scratch + m_tile.weight_row_offset;
      Operands::pad_weight_rows(count(other, tile), vectors(tile), rows);
      if (m_turns != nullptr) m_turns->wait(place(tile) + 1);
      Operands::product(count(other, tile), m_query_sums->vectors(), count(own, tile),
                        Operands::weight_rows(m_gradient, m_tile.group >= vectors(tile), vectors(tile), rows),
                        m_own_steps, HostAdd<T>{m_query_sums->at(tile.head, tile.query_begin), m_query_sums->strides()},
                        m_prefetch);
      if (m_turns != nullptr) m_turns->tell(place(tile) + 1);
    }
  }

  void finish(Tile const& tile) const {
    if constexpr (target == GradientOf::queries) {
      store(m_arguments.dq, tile, m_arguments.head_dim, m_arguments.scale, m_first_sum, m_tile.first_sum_group_bytes);
    } else {
      store(m_arguments.dk, tile, m_arguments.head_dim, m_arguments.scale, m_first_sum, m_tile.first_sum_group_bytes);
      store(m_arguments.dv, tile, m_arguments.value_dim, T(1), m_second_sum, m_tile.second_sum_group_bytes);
    }
  }

 protected:
  static int vectors(Tile const& tile) { return (count(own, tile) + Vector::lanes - 1) / Vector::lanes; }

  KOKKOS_FORCEINLINE_FUNCTION KeptWeights kept(Tile const& tile) const {
    return {reinterpret_cast<unsigned char*>(m_scratch + m_tile.kept_offset),
            ((own == Side::keys ? m_tile.own : m_tile.other) + 3) / 4, tile.query_begin, tile.key_begin};
  }

  void load_own(Tile const& tile) {
    for (int n = 0; n < vectors(tile); n += m_tile.group) {
      Tile part      = tile;  // the group's rows
      index_t& begin = own == Side::queries ? part.query_begin : part.key_begin;
      index_t& end   = own == Side::queries ? part.query_end : part.key_end;
      begin += n * Vector::lanes;
      end = Kokkos::min(begin + m_tile.group * Vector::lanes, end);
      Operands::lanes(first(own, part), group_size(tile, n), own_first(n));
      Operands::lanes(second(own, part), group_size(tile, n), own_second(n));
    }
    if constexpr (own == Side::queries) load_statistics(tile);
  }

  /// A query with nothing to attend gets weights of 0, and so do lanes without one.
  void load_statistics(Tile const& tile) const {
    constexpr T infinity = Kokkos::Experimental::infinity_v<T>;
    int const queries    = count(Side::queries, tile);
    for (int n = 0; n < queries; ++n) {
      index_t const i = array_row(Side::queries, tile) + n;
      m_lse[n]        = usable_lse(m_arguments.lse(m_sequence.entry, tile.head, i, 0));
      m_delta[n]      = m_deltas(m_sequence.entry, tile.head, i, 0);
    }
    if constexpr (own == Side::queries)
      for (int n = queries; n < vectors(tile) * Vector::lanes; ++n) {
        m_lse[n]   = infinity;
        m_delta[n] = 0;
      }
  }

  void accumulate(Tile const& tile, int first, int group) const {
    if constexpr (target != GradientOf::queries)
      if (m_arguments.dv.data != nullptr)
        add_product(m_arguments.value_dim, m_other_second.columns,
                    as_factor(m_score, tile, group, m_tile.weight_offset), second_sums(first), tile, group);
    if (target == GradientOf::queries || m_arguments.dk.data != nullptr)
      add_product(m_arguments.head_dim, m_other_first.columns,
                  as_factor(m_gradient, tile, group, m_tile.weight_gradient_offset), first_sums(first), tile, group);
    if constexpr (target == GradientOf::all)
      if (Operands::pairs ? m_drops : group < vectors(tile)) {
        auto const writer         = weight_row_writer(tile);
        HostStrides const strides = score_strides(group);
        for (int r = 0; r < count(other, tile); ++r)
          for (int v = 0; v < group; ++v) writer.set(r, first + v, m_gradient[strides(r, v)]);
      }
  }

  /// Weights of a group, or their gradients.
  typename Operands::Right as_factor(Vector* numbers, Tile const& tile, int group, std::size_t offset) const {
    Operands::finish_weights(numbers, score_strides(group), count(other, tile), group, m_tile.other, m_drops,
                             m_scratch + offset);
    return Operands::weights(numbers, score_strides(group), m_tile.other, m_scratch + offset);
  }

  typename Operands::WeightRowWriter weight_row_writer(Tile const& tile) const {
    return Operands::weight_row_writer(count(own, tile), vectors(tile), m_scratch + m_tile.weight_row_offset);
  }

  /// sums += (other side's rows)^T * factors
  void add_product(int dim, typename Operands::Left const& columns, typename Operands::Right const& factors,
                   Vector* sums, Tile const& tile, int group) const {
    Operands::product(dim, group, count(other, tile), columns, factors, HostAdd<T>{sums, Operands::strides(dim, group)},
                      m_prefetch);
  }

  /// The bias' own sums: of gradients, other side by own.
  void add_gradients(Tile const& tile, int first, int group) const {
    HostStrides const strides = score_strides(group);
    for (int r = 0; r < count(other, tile); ++r)
      for (int v = 0; v < group; ++v) m_first_sum[r * m_tile.vectors + first + v] += m_gradient[strides(r, v)];
  }

  void store(Tensor<ScalarType> const& tensor, Tile const& tile, int dim, T factor, Vector* sums,
             std::size_t group_bytes) const {
    if (tensor.data == nullptr) return;
    MatrixRows<ScalarType> const to(tensor, m_sequence.entry, head(own, tile), array_row(own, tile), count(own, tile),
                                    dim);
    for (int v = 0; v < vectors(tile); ++v) {
      int const first           = v / m_tile.group * m_tile.group;
      HostStrides const strides = Operands::strides(dim, group_size(tile, first));
      store_lanes(of_group(sums, first, group_bytes) + strides(0, v - first), strides.row, Vector(factor),
                  v * Vector::lanes, to);
    }
  }

  /// Of a tile of queries, in the order in which the thread goes along them.
  int place(Tile const& tile) const {
    index_t const tiles = (m_sequence.q_len + m_tile.other - 1) / m_tile.other;
    return static_cast<int>(tile.head % m_arguments.group() * tiles + tile.query_begin / m_tile.other);
  }

  HostStrides score_strides(int group) const { return Operands::strides(m_tile.other, group); }
  /// Vectors of the group that begins with vector `first`.
  int group_size(Tile const& tile, int first) const { return Kokkos::min(m_tile.group, vectors(tile) - first); }
  std::byte* own_first(int first) const { return m_scratch + first / m_tile.group * m_tile.first_group_bytes; }
  std::byte* own_second(int first) const {
    return m_scratch + m_tile.second_offset + first / m_tile.group * m_tile.second_group_bytes;
  }
  Vector* of_group(Vector* sums, int first, std::size_t group_bytes) const {
    return sums + first / m_tile.group * (group_bytes / sizeof(Vector));
  }
  Vector* first_sums(int first) const { return of_group(m_first_sum, first, m_tile.first_sum_group_bytes); }
  Vector* second_sums(int first) const { return of_group(m_second_sum, first, m_tile.second_sum_group_bytes); }
};

}  // namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT

#endif
