// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMAENGINE_HPP
#define KOKKOSATTENTION_MMAENGINE_HPP

#include <KokkosAttention_ForwardLoop.hpp>
#include <KokkosAttention_MmaArithmetic.hpp>
#include <KokkosAttention_MmaCopiedBias.hpp>
#include <KokkosAttention_MmaCopy.hpp>
#include <KokkosAttention_MmaDropout.hpp>
#include <KokkosAttention_MmaProduct.hpp>
#include <KokkosAttention_MmaRows.hpp>
#include <KokkosAttention_MmaStore.hpp>
#include <KokkosAttention_MmaTiles.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The tile operations of the mma engine. A warp owns rows of queries: their scores, weights and output stay in its
/// registers. Queries, keys and values are in team scratch, keys and values copied ahead of their use.

namespace KokkosAttention::Impl {

/// \tparam in_packs all rows can be copied 16 bytes at a time
/// \tparam scale_is_power the scale is a power of two, as FactorParts say, which is all that own rows are multiplied by
/// \tparam splits_ahead keys and values come split, see MmaSplitAhead.hpp
/// \tparam is_quick a score takes little time beside the products
template <Scalar ScalarType, class Member, int shape_number, bool in_packs, bool scale_is_power, bool splits_ahead,
          bool is_quick>
class MmaEngine {
  static_assert(!splits_ahead || (MmaArithmetic<ScalarType>::splits && in_packs));

  static constexpr MmaShape shape = mma_shapes<ScalarType>[shape_number];

  using Arithmetic = MmaArithmetic<ScalarType>;
  using T          = accumulation_t<ScalarType>;
  using Sum        = typename Arithmetic::Sum;

  static constexpr int row_blocks    = shape.row_blocks;
  static constexpr int queries       = 16 * row_blocks * shape.warps;
  static constexpr int key_blocks    = shape.keys / 8;
  static constexpr int output_blocks = shape.value_columns / 8;
  static constexpr int query_stride  = Arithmetic::own_stride(shape.head_columns);
  static constexpr int head_stride   = mma_key_stride<Arithmetic>(shape.head_columns);
  static constexpr int value_stride  = mma_key_stride<Arithmetic>(shape.value_columns);
  static constexpr bool splits       = Arithmetic::splits;
  static constexpr MmaLayout<Arithmetic> layout{shape};
  /// Code for tiles of fewer keys. One for two thirds takes registers that there are at 64 columns.
  static constexpr bool has_parts     = in_packs && key_blocks % 6 == 0 && shape.warps > 1;
  static constexpr bool has_two_parts = shape.value_columns <= 64;
  /// With one place for keys and one for values, one arrives while the other is used.
  static constexpr bool copies_values_late = shape.stages == 1;

  /// Rows for which compilers, short of registers, have to be told what to keep and to load ahead. That takes a few
  /// more, which kernels whose scores need them do not have.
  static constexpr bool has_long_rows = sizeof(ScalarType) == 2 && shape.head_columns > 128 && is_quick;

  using KeyCopy   = MmaPackCopy<ScalarType, shape.keys, shape.head_columns, head_stride, shape.warps>;
  using ValueCopy = MmaPackCopy<ScalarType, shape.keys, shape.value_columns, value_stride, shape.warps>;

  template <int blocks>
  using Rows = MmaRows<Arithmetic, T, row_blocks, blocks>;
  using Pack = typename Rows<key_blocks>::Pack;

  template <class Number>
  static constexpr bool copies = copies_bias<ScalarType>(shape) && std::is_same_v<Number, ScalarType>;
  using CopiedBias             = MmaCopiedBias<row_blocks, key_blocks, ScalarType>;

  Member const& m_member;
  ForwardArguments<ScalarType> const& m_arguments;
  MmaTile const& m_tile;
  int m_first_column = 0;  // of the output
  MmaLane m_lane;
  typename Arithmetic::Exponential m_exponential;
  int m_row;  // of the team's tile: the lane's first
  ScalarType* m_scratch;
  Sequence m_sequence = {};
  MatrixRows<ScalarType const> m_keys, m_values;  // of the sequence; in packs, from the lane's first one on
  bool m_packed_queries = in_packs, m_packed_keys = in_packs, m_packed_values = in_packs;
  int m_stage     = 0;  // that is in use
  bool m_has_next = false;
  Tile m_next     = {};

  T m_factor = 1;  // of the scores, still to be applied
  Sum m_output[row_blocks][output_blocks];
  SoftmaxState<Pack> m_state;
  unsigned m_kept[2 * row_blocks];

 public:
  using Position = int;

  KOKKOS_FORCEINLINE_FUNCTION MmaEngine(Member const& member, ForwardArguments<ScalarType> const& arguments,
                                        MmaTile const& tile)
      : m_member(member),
        m_arguments(arguments),
        m_tile(tile),
        m_lane(has_long_rows ? MmaLane::kept() : MmaLane::here()),
        m_exponential(m_lane),
        m_row(16 * row_blocks * warp_number(member) + m_lane.quad),
        m_scratch(as_shared(static_cast<ScalarType*>(
            member.team_scratch(0).get_shmem_aligned(tile.scratch_bytes, mma_scratch_alignment)))),
        m_keys(arguments.k, 0, 0, 0, 0, 0),
        m_values(arguments.v, 0, 0, 0, 0, 0) {}

  /// Which columns of the output are computed next.
  KOKKOS_FORCEINLINE_FUNCTION void set_part(int part) { m_first_column = part * shape.value_columns; }

  KOKKOS_FORCEINLINE_FUNCTION void begin(Sequence const& sequence, Tile const& tile) {
    m_sequence        = sequence;
    int const kv_head = m_arguments.kv_head(tile.head);
    m_keys            = {m_arguments.k, sequence.entry, kv_head, sequence.k_begin, 0, key_columns()};
    m_values = {m_arguments.v.from(0, m_first_column), sequence.entry, kv_head, sequence.k_begin, 0, value_columns()};
    m_packed_keys   = in_packs || copies_in_packs(m_keys);
    m_packed_values = in_packs || copies_in_packs(m_values);
    if (m_packed_keys) move_to_lane<KeyCopy>(m_keys);
    if (m_packed_values) move_to_lane<ValueCopy>(m_values);
    wait_for_copies();
    m_member.team_barrier();  // some threads may still be at work on the team's last tile
    MatrixRows const rows(m_arguments.q, sequence.entry, tile.head, sequence.q_begin + tile.query_begin,
                          count(tile.query_begin, tile.query_end), m_arguments.head_dim);
    copy_own_rows_ahead<Arithmetic, in_packs, queries, shape.head_columns, shape.warps>(m_member, rows, m_scratch);
    if constexpr (splits) m_packed_queries = in_packs || copies_in_packs(rows);
    if (m_member.team_rank() == 0 && m_lane.number() == 0)
      *item() = {sequence.q_begin + tile.query_begin, sequence.entry, tile.head, rows.rows, m_first_column};
    m_state = SoftmaxState<Pack>();
    KOKKOSATTENTION_UNROLL
    for (int b = 0; b < row_blocks; ++b) {
      KOKKOSATTENTION_UNROLL
      for (int n = 0; n < output_blocks; ++n) m_output[b][n] = Sum{};
    }
    m_has_next = false;
  }

  template <class Number>
  KOKKOS_FORCEINLINE_FUNCTION void note(Tensor<Number const> const& array) const {
    if (m_member.team_rank() != 0 || m_lane.number() != 0) return;
    this->array()->data = array.data;
    if constexpr (copies<Number>) this->array()->in_packs = m_tile.copies_bias && CopiedBias::lies_in_packs(array);
  }
  template <class Number>
  KOKKOS_FORCEINLINE_FUNCTION auto noted(Tensor<Number const> const& array) const {
    Tensor<Number const> const of_head{static_cast<Number const*>(this->array()->data),
                                       {0, 0, array.stride[2], array.stride[3]}};
    if constexpr (copies<Number>)
      return CopiedBias{of_head, copied_bias(), this->array()->in_packs};
    else
      return of_head;
  }
  /// Arrives with the tile's values.
  template <class Number>
  requires(copies<Number>) KOKKOS_FORCEINLINE_FUNCTION
      void copy_array(Tensor<Number const> const& array, Tile const& tile) {
    noted(array).copy(place(tile));
  }

  KOKKOS_FORCEINLINE_FUNCTION void load_first(Tile const& tile) {
    copy_next(tile);
    if constexpr (splits || Arithmetic::scales_own_rows) wait_for_copies();
    if constexpr (splits)
      split_rows<Arithmetic, queries, shape.head_columns, shape.warps>(m_member, m_scratch, m_packed_queries);
    if constexpr (Arithmetic::scales_own_rows)
      scale_own_rows<Arithmetic, queries, shape.head_columns, shape.warps>(
          m_member, m_scratch, power_of_scale<scale_is_power>(m_arguments.scale));
  }

  KOKKOS_FORCEINLINE_FUNCTION void load_keys(Tile const& tile) {
    m_stage = shape.stages - 1 - m_stage;
    wait_for_copies();
    if constexpr (splits && !splits_ahead) {
      split_rows<Arithmetic, shape.keys, shape.head_columns, shape.warps>(m_member, key_stage(), m_packed_keys);
      if constexpr (!copies_values_late) split_values();
    }
    m_member.team_barrier();
    if constexpr (copies_values_late) copy_values(tile);
  }

  /// The tile that is loaded next, if there is one.
  KOKKOS_FORCEINLINE_FUNCTION void prefetch(Tile const& tile, bool exists) {
    if constexpr (copies_values_late) {
      m_next     = tile;
      m_has_next = exists;
    } else if (exists) {
      copy_next(tile);
    }
  }

  KOKKOS_FORCEINLINE_FUNCTION void load_values(Tile const&) {
    if constexpr (copies_values_late) {
      wait_for_copies();
      if constexpr (splits && !splits_ahead) split_values();
      m_member.team_barrier();
      if (m_has_next) copy_keys(m_next);
    }
  }

  KOKKOS_FORCEINLINE_FUNCTION void draw(Tile const& tile, WeightDropout<T> const& dropout) {
    draw_kept<Side::queries, row_blocks, key_blocks>(dropout, tile.batch, tile.head, place(tile), m_lane, m_kept);
  }

  /// Calls f(scores), which have room for a third or two of the keys where the tile has no more, the last one of a
  /// sequence. Weights of keys that a tile does not have would be zero, so results are the same.
  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void with_scores(Tile const& tile, F const& f) {
    if constexpr (has_parts) {
      int const keys = count(tile.key_begin, tile.key_end);
      if (keys <= shape.keys / 3) return with_blocks<key_blocks / 3>(f);
      if constexpr (has_two_parts)
        if (keys <= 2 * shape.keys / 3) return with_blocks<2 * key_blocks / 3>(f);
    }
    with_blocks<key_blocks>(f);
  }

  template <int blocks>
  KOKKOS_FORCEINLINE_FUNCTION void multiply_query_key(Tile const& tile, Sum (&scores)[row_blocks][blocks]) {
    KOKKOSATTENTION_UNROLL
    for (int b = 0; b < row_blocks; ++b) {
      KOKKOSATTENTION_UNROLL
      for (int n = 0; n < blocks; ++n) scores[b][n] = Sum{};
    }
    multiply_rows<Arithmetic, shape.head_columns, query_stride, head_stride, has_long_rows>(
        m_scratch + (m_row - m_lane.quad) * query_stride, key_stage(), m_lane, m_arguments.scale, scores);
    if constexpr (puts_factor_off<typename Arithmetic::Exponential>) {
      m_factor = m_arguments.scale;
      if (!(m_factor > 0)) apply_factor(scores, m_factor);
    } else if constexpr (Arithmetic::scales_own_rows && !scale_is_power) {
      T rest = FactorParts(m_arguments.scale).rest;
      apply_factor(scores, rest);
    }
    int const columns = place(tile).columns;
    if (count(tile.key_begin, tile.key_end) < 8 * blocks)
      for_each_element<row_blocks, blocks>([&](int b, int n, int h, int e) {
        if (8 * n + e >= columns) scores[b][n].value[2 * h + e] = -Kokkos::Experimental::infinity_v<T>;
      });
  }

  template <int blocks, class F>
  KOKKOS_FORCEINLINE_FUNCTION void for_each_row(Tile const& tile, Sum (&scores)[row_blocks][blocks], F const& f) {
    f(Rows<blocks>(scores, m_factor, m_state, m_kept, m_exponential, place(tile)));
  }

  template <int blocks>
  KOKKOS_FORCEINLINE_FUNCTION void accumulate_output(Tile const&, Sum const (&scores)[row_blocks][blocks]) {
    rescale_output();
    add_product<Arithmetic, value_stride>(scores, value_stage(), 0, m_lane, m_output);
  }

  KOKKOS_FORCEINLINE_FUNCTION void finish(Tile const&) {
    KOKKOSATTENTION_UNROLL
    for (int difference = 1; difference < 4; difference *= 2)
      m_state.sum = m_state.sum + Pack::of([&](int r) { return exchange_lanes(m_state.sum.value[r], difference); });
    Pack const normalisation = Pack::of([&](int r) { return state(r).normalisation(); });
    // Nothing was accumulated where there was nothing to attend.
    bool nothing = false;
    KOKKOSATTENTION_UNROLL
    for (int r = 0; r < 2 * row_blocks; ++r) nothing = nothing || normalisation.value[r] == T(0);
    if (any_lane(nothing))
      for_each_element<row_blocks, output_blocks>([&](int b, int n, int h, int e) {
        if (normalisation.value[2 * b + h] == T(0)) m_output[b][n].value[2 * h + e] = 0;
      });
    // The queries' place serves for the output: with no tile of keys, they may still be on their way.
    wait_for_copies();
    m_member.team_barrier();
    MmaLane const lane                                  = MmaLane::of(hidden(m_lane.number()));
    int const row                                       = hidden(m_row);
    auto const [begin, entry, head, rows, first_column] = *item();
    int const first                                     = row - lane.quad;
    store_rows<Arithmetic, query_stride, in_packs, true>(
        m_output, [&](int b, int h) { return normalisation.value[2 * b + h]; }, m_scratch + first * query_stride,
        MatrixRows<ScalarType>(m_arguments.out.from(0, first_column), entry, head, begin + first, rows - first,
                               m_arguments.value_dim - first_column),
        lane);
    auto const& lse = m_arguments.lse;
    if (lse.data == nullptr || first_column != 0 || lane.member != 0) return;
    KOKKOSATTENTION_UNROLL
    for (int r = 0; r < 2 * row_blocks; ++r)
      if (row + 8 * r < rows) lse(entry, head, begin + row + 8 * r, 0) = state(r).lse();
  }

 private:
  template <int blocks, class F>
  KOKKOS_FORCEINLINE_FUNCTION void with_blocks(F const& f) {
    Sum scores[row_blocks][blocks];
    f(scores);
  }

  /// Of the rows that are copied: split ahead, they are padded.
  KOKKOS_FORCEINLINE_FUNCTION int key_columns() const {
    return splits_ahead ? shape.head_columns : m_arguments.head_dim;
  }
  KOKKOS_FORCEINLINE_FUNCTION int value_columns() const {
    return splits_ahead ? shape.value_columns : m_arguments.value_dim - m_first_column;
  }

  /// Compilers make of a number that they know to be small quicker code at 64 columns (3%), slower code at 128 (1.5%).
  KOKKOS_FORCEINLINE_FUNCTION static int warp_number(Member const& member) {
    return shape.head_columns == 128 ? member.team_rank() : member.team_rank() % shape.warps;
  }

  KOKKOS_FORCEINLINE_FUNCTION static int count(index_t begin, index_t end) { return static_cast<int>(end - begin); }

  /// Of one row.
  KOKKOS_FORCEINLINE_FUNCTION SoftmaxState<T> state(int r) const {
    return {m_state.maximum.value[r], m_state.sum.value[r], T(0)};
  }

  KOKKOS_FORCEINLINE_FUNCTION ScalarType* in_scratch(int bytes) const {
    return reinterpret_cast<ScalarType*>(reinterpret_cast<std::byte*>(m_scratch) + bytes);
  }
  KOKKOS_FORCEINLINE_FUNCTION ScalarType* key_stage() const {
    return in_scratch(layout.keys) + m_stage * shape.keys * head_stride;
  }
  KOKKOS_FORCEINLINE_FUNCTION ScalarType* value_stage() const {
    return in_scratch(layout.values) + m_stage * shape.keys * value_stride;
  }

  /// The warp's, found anew in each step: its place would take registers of all.
  KOKKOS_FORCEINLINE_FUNCTION ScalarType* copied_bias() const {
    return in_scratch(layout.end + hidden(m_member.team_rank()) * CopiedBias::bytes);
  }
  KOKKOS_FORCEINLINE_FUNCTION MmaItem* item() const { return reinterpret_cast<MmaItem*>(in_scratch(layout.item)); }
  KOKKOS_FORCEINLINE_FUNCTION MmaArray* array() const { return reinterpret_cast<MmaArray*>(in_scratch(layout.array)); }

  KOKKOS_FORCEINLINE_FUNCTION MmaPlace place(Tile const& tile) const {
    return {static_cast<int>(tile.query_begin) + m_row, static_cast<int>(tile.key_begin) + 2 * m_lane.member,
            count(tile.query_begin, tile.query_end) - m_row, count(tile.key_begin, tile.key_end) - 2 * m_lane.member};
  }

  /// The rows of keys or values from a position in the sequence on.
  KOKKOS_FORCEINLINE_FUNCTION MatrixRows<ScalarType const> from(MatrixRows<ScalarType const> rows,
                                                                Tile const& tile) const {
    rows.data += tile.key_begin * rows.row_stride;
    rows.rows = count(tile.key_begin, tile.key_end);
    return rows;
  }
  /// Found once: computed for every tile of keys, the addresses would take registers of parts of theirs.
  template <class Copy>
  KOKKOS_FORCEINLINE_FUNCTION void move_to_lane(MatrixRows<ScalarType const>& rows) const {
    rows.data = hidden(rows.data + Copy(m_member.team_rank()).offset(rows.row_stride));
  }
  template <class Copy>
  KOKKOS_FORCEINLINE_FUNCTION void copy(MatrixRows<ScalarType const> const& rows, ScalarType* scratch) const {
    Copy const copy_rows(m_member.team_rank());
    copy_rows(rows, scratch);
    if constexpr (splits_ahead) copy_rows.copy_padding(rows, scratch);  // the powers
  }
  KOKKOS_FORCEINLINE_FUNCTION void copy_keys(Tile const& tile) const {
    if (m_packed_keys)
      copy<KeyCopy>(from(m_keys, tile), key_stage());
    else
      copy_rows_ahead<shape.keys, shape.head_columns, head_stride, shape.warps>(m_member, from(m_keys, tile),
                                                                                key_stage(), false);
  }
  KOKKOS_FORCEINLINE_FUNCTION void copy_values(Tile const& tile) const {
    if (m_packed_values)
      copy<ValueCopy>(from(m_values, tile), value_stage());
    else
      copy_rows_ahead<shape.keys, shape.value_columns, value_stride, shape.warps>(m_member, from(m_values, tile),
                                                                                  value_stage(), false);
  }
  /// Begins to copy the keys of the tile that is loaded next, and its values if there is place.
  KOKKOS_FORCEINLINE_FUNCTION void copy_next(Tile const& tile) {
    m_stage = shape.stages - 1 - m_stage;
    copy_keys(tile);
    if constexpr (!copies_values_late) copy_values(tile);
    m_stage = shape.stages - 1 - m_stage;
  }
  KOKKOS_FORCEINLINE_FUNCTION void split_values() const {
    split_rows<Arithmetic, shape.keys, shape.value_columns, shape.warps>(m_member, value_stage(), m_packed_values);
  }

  KOKKOS_FORCEINLINE_FUNCTION void rescale_output() {
    // After a few tiles a row's maximum seldom changes.
    bool changes = false;
    KOKKOSATTENTION_UNROLL
    for (int r = 0; r < 2 * row_blocks; ++r) changes = changes || m_state.rescale.value[r] != T(1);
    if (!any_lane(changes)) return;
    for_each_element<row_blocks, output_blocks>(
        [&](int b, int n, int h, int e) { m_output[b][n].value[2 * h + e] *= m_state.rescale.value[2 * b + h]; });
  }
};

}  // namespace KokkosAttention::Impl

#endif
