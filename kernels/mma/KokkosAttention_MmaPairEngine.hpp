// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMAPAIRENGINE_HPP
#define KOKKOSATTENTION_MMAPAIRENGINE_HPP

#include <KokkosAttention_BackwardLoop.hpp>
#include <KokkosAttention_MmaBackwardBase.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The tile operations of a backward kernel that computes dQ, dK and dV, with five products. Teams own keys, and two
/// warps the same 16 or 32 of them: one multiplies for the scores and has the sums of dV in its registers, the other
/// multiplies for the gradients and has those of dK. In between they exchange halves, so that each turns the scores and
/// gradients of half the tile's queries into weights and gradients of scores. For dQ, all warps multiply the gradients
/// that all have put down with the own keys, some columns each, and add to memory in turns.

namespace KokkosAttention::Impl {

/// \tparam in_packs all rows can be copied 16 bytes at a time
template <Scalar ScalarType, class Member, int shape_number, bool in_packs>
class MmaPairEngine : public MmaBackwardBase<ScalarType, Member, shape_number, in_packs> {
  using Base = MmaBackwardBase<ScalarType, Member, shape_number, in_packs>;
  using Base::layout, Base::own_first, Base::own_rows, Base::own_second, Base::other_first, Base::other_second,
      Base::row_blocks, Base::shape, Base::stride;
  using Base::m_arguments, Base::m_deltas, Base::m_gradients, Base::m_lane, Base::m_member, Base::m_row, Base::m_scores,
      Base::m_sequence, Base::m_stage;
  using typename Base::Arithmetic, typename Base::Sum, typename Base::T;

  static constexpr int columns = shape.head_columns / shape.warps;  // of dQ that a warp computes
  static_assert(columns == 16 && shape.columns == 16 && Base::column_blocks == 1);

  using Step = MmaBackwardStep<ScalarType>;

  bool m_of_keys;     // the warp sums dK, of dV otherwise
  Tile m_keys  = {};  // of the work item
  int m_slot   = 0;   // of the step that the team is at
  int m_visits = 0;   // of tiles, that have begun
  MmaQueryTurns<Member> m_turns;
  Sum m_sum[row_blocks][shape.head_columns / 8];

 public:
  KOKKOS_FORCEINLINE_FUNCTION MmaPairEngine(Member const& member, MmaBackwardData<ScalarType> const& data)
      : Base(member, data, MmaLane::here(), 16 * row_blocks * (member.team_rank() % pairs),
             member.team_rank() < pairs ? 0 : 8),
        m_of_keys(member.team_rank() >= pairs),
        m_turns(member, data.turns, m_lane) {}

  /// The place in its order of the team's next work item.
  KOKKOS_FORCEINLINE_FUNCTION index_t next_item() const {
    return m_turns.next_item(Base::template in_scratch<unsigned long long>(layout.turned));
  }
  /// Which item is worked on next.
  KOKKOS_FORCEINLINE_FUNCTION void set_item(index_t item) { m_turns.begin(item); }

  KOKKOS_FORCEINLINE_FUNCTION void begin(Sequence const& sequence, Tile const& tile) {
    Base::begin_own(sequence, tile);
    Base::clear(m_sum);
    m_keys   = tile;
    m_visits = 0;
  }

  /// The first warp keeps the books: what all warps remembered would be spilled, into a cache that scratch leaves
  /// small.
  template <class Find, class M>
  KOKKOS_FORCEINLINE_FUNCTION void post(Find const& find, M const& mask) {
    if (m_member.team_rank() != 0) return;
    Tile tile             = {};
    Coverage const covers = find(tile);
    Step step             = {};
    step.covers           = static_cast<int>(covers);
    if (covers != Coverage::none) {
      int const entry   = m_sequence.entry;
      index_t const row = Base::array_row(Side::queries, tile);
      step.q            = &m_arguments.q(entry, tile.head, row, 0);
      step.d_out        = &m_arguments.d_out(entry, tile.head, row, 0);
      step.lse          = &m_arguments.lse(entry, tile.head, row, 0);
      step.delta        = &m_deltas(entry, tile.head, row, 0);
      step.dq           = &m_arguments.dq(entry, tile.head, row, 0);
      step.head         = tile.head;
      step.begin        = static_cast<int>(tile.query_begin);
      step.queries      = Base::count(Side::queries, tile);
      m_turns.find(step, m_arguments, m_sequence, tile, mask, own_rows, shape.columns);
    }
    if (m_lane.number() == 0) *step_in(next_slot(m_slot)) = step;
  }

  KOKKOS_FORCEINLINE_FUNCTION Coverage next() {
    m_slot  = next_slot(m_slot);
    m_stage = 1 - m_stage;
    if (m_visits == 0) {
      m_member.team_barrier();
      copy_step(m_slot);
    }
    return static_cast<Coverage>(step().covers);
  }

  KOKKOS_FORCEINLINE_FUNCTION Tile tile() const {
    Tile result        = m_keys;
    result.head        = step().head;
    result.query_begin = step().begin;
    result.query_end   = step().begin + step().queries;
    return result;
  }

  KOKKOS_FORCEINLINE_FUNCTION void multiply(Tile const&) {
    wait_for_copies();
    m_member.team_barrier();
    pass_turn_on();
    m_turns.look(step());
    ++m_visits;
    m_stage = 1 - m_stage;
    copy_step(next_slot(m_slot));
    m_stage = 1 - m_stage;
    Sum products[row_blocks][2];
    Base::multiply_own(warps_rows(), m_of_keys ? other_second() : other_first(), m_of_keys ? T(1) : m_arguments.scale,
                       products);
    KOKKOSATTENTION_UNROLL
    for (int b = 0; b < row_blocks; ++b)
      Arithmetic::put_turned(choose(products[b][0], products[b][1]), turned(b, !m_of_keys), m_lane);
    m_member.team_barrier();
    KOKKOSATTENTION_UNROLL
    for (int b = 0; b < row_blocks; ++b) {
      Sum const own     = choose(products[b][1], products[b][0]);
      Sum const got     = Arithmetic::get_turned(turned(b, m_of_keys), m_lane);
      m_scores[b][0]    = choose(got, own);
      m_gradients[b][0] = choose(own, got);
    }
    Base::complete_scores(m_keys);
  }

  KOKKOS_FORCEINLINE_FUNCTION void draw(Tile const&, WeightDropout<T> const& dropout) { Base::draw(tile(), dropout); }
  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void for_each_row(Tile const&, F const& f) {
    Base::for_each_row(tile(), f);
  }

  KOKKOS_FORCEINLINE_FUNCTION void accumulate(Tile const&) {
    KOKKOSATTENTION_UNROLL
    for (int b = 0; b < row_blocks; ++b) {
      Arithmetic::put_turned(m_gradients[b][0], turned(b, m_of_keys), m_lane);
      if (m_of_keys) Arithmetic::put_turned(m_scores[b][0], weights(b), m_lane);
    }
    m_turns.wait(step());
    m_member.team_barrier();
    add_to_queries();

    Sum factors[row_blocks][2];
    KOKKOSATTENTION_UNROLL
    for (int b = 0; b < row_blocks; ++b) {
      Sum const own = choose(m_gradients[b][0], m_scores[b][0]);
      Sum const got = Arithmetic::get_turned(m_of_keys ? turned(b, false) : weights(b), m_lane);
      factors[b][0] = choose(got, own);
      factors[b][1] = choose(own, got);
    }
    add_product<Arithmetic, stride>(factors, m_of_keys ? other_first() : other_second(), 0, m_lane, m_sum);
  }

  KOKKOS_FORCEINLINE_FUNCTION void finish(Tile const& tile) {
    // The place of the own rows serves for the sums: with no tile of the other side, they may still be on their way.
    wait_for_copies();
    m_member.team_barrier();
    if (m_visits > 0) m_turns.pass_on(*step_in(last_slot()));
    Base::store(m_of_keys ? m_arguments.dk : m_arguments.dv, tile,
                m_of_keys ? m_arguments.head_dim : m_arguments.value_dim, 0, m_of_keys ? m_arguments.scale : T(1),
                m_sum, warps_rows());
  }

 private:
  static constexpr int pairs = shape.warps / 2;

  // The steps before and after the one that the team is at are there too: the first warp posts them ahead.
  KOKKOS_FORCEINLINE_FUNCTION Step* step_in(int slot) const {
    return Base::template in_scratch<Step>(layout.steps) + slot;
  }
  KOKKOS_FORCEINLINE_FUNCTION Step const& step() const { return *step_in(m_slot); }
  KOKKOS_FORCEINLINE_FUNCTION static int next_slot(int slot) { return slot == 2 ? 0 : slot + 1; }
  KOKKOS_FORCEINLINE_FUNCTION int last_slot() const { return m_slot == 0 ? 2 : m_slot - 1; }

  /// Begins to copy a step's rows to the stage in use.
  KOKKOS_FORCEINLINE_FUNCTION void copy_step(int slot) const {
    Step const& step = *step_in(slot);
    if (step.covers == static_cast<int>(Coverage::none)) return;
    typename Base::Rows q(m_arguments.q, 0, 0, 0, step.queries, m_arguments.head_dim),
        d_out(m_arguments.d_out, 0, 0, 0, step.queries, m_arguments.value_dim);
    q.data     = step.q;
    d_out.data = step.d_out;
    Base::copy_other(q, d_out, step.lse, step.delta, 0);
  }

  /// Not after every tile, as it takes as long as what has been added takes to arrive.
  KOKKOS_FORCEINLINE_FUNCTION void pass_turn_on() const {
    if (m_visits > 0 && m_visits % 2 == 0) m_turns.pass_on(*step_in(last_slot()));
  }

  /// Number by number: a choice of places would keep the sums in memory.
  KOKKOS_FORCEINLINE_FUNCTION Sum choose(Sum const& of_keys, Sum const& of_values) const {
    Sum result;
    KOKKOSATTENTION_UNROLL
    for (int i = 0; i < 4; ++i) {
      T const x = of_keys.value[i], y = of_values.value[i];
      result.value[i] = m_of_keys ? x : y;
    }
    return result;
  }

  /// The own rows that the warp multiplies.
  KOKKOS_FORCEINLINE_FUNCTION ScalarType* warps_rows() const {
    return (m_of_keys ? own_second() : own_first()) + (m_row - m_lane.quad) * Base::own_stride;
  }
  /// Gradients of scores of 16 keys, put down to be turned, and before that what pairs exchange: the tile's first eight
  /// queries or the others.
  KOKKOS_FORCEINLINE_FUNCTION ScalarType* turned(int block, bool later_queries) const {
    return turned_block((m_row - m_lane.quad) / 16 + block) + (later_queries ? Arithmetic::turned_numbers : 0);
  }
  KOKKOS_FORCEINLINE_FUNCTION ScalarType* turned_block(int keys) const {
    return Base::template in_scratch<ScalarType>(layout.turned) + 2 * keys * Arithmetic::turned_numbers;
  }
  /// Weights of the later queries, for the partner.
  KOKKOS_FORCEINLINE_FUNCTION ScalarType* weights(int block) const {
    return Base::template in_scratch<ScalarType>(layout.weights) +
           ((m_row - m_lane.quad) / 16 + block) * Arithmetic::turned_numbers;
  }

  /// dQ = scale dS K of some columns.
  KOKKOS_FORCEINLINE_FUNCTION void add_to_queries() const {
    int const first_column = columns * m_member.team_rank();
    Sum sums[1][2]         = {};
    KOKKOSATTENTION_UNROLL
    for (int block = 0; block < own_rows / Arithmetic::steps; ++block) {
      constexpr int blocks_of_16              = 16 / Arithmetic::steps;
      typename Arithmetic::Left const left[1] = {
          Arithmetic::left_of_turned(turned_block(block / blocks_of_16), block % blocks_of_16, m_lane)};
      auto const right = Arithmetic::right_of_own_rows(own_first(), shape.head_columns, block, first_column, m_lane);
      multiply_add_blocks<Arithmetic>(sums, 0, left, right, LargeProducts());
    }
    int const first_row         = Arithmetic::turned_row(0, m_lane);
    Tensor<ScalarType> const dq = m_arguments.dq;
    index_t const column_stride = in_packs ? 1 : dq.stride[3];
    int const rows = step().queries - first_row, dims = m_arguments.head_dim - first_column;
    bool const is_first = step().distance == 0;
    T* const to         = step().dq + first_row * dq.stride[2] + first_column * column_stride;
    for_each_element<1, 2>([&](int, int n, int h, int e) {
      int const row = Arithmetic::turned_row(h, m_lane) - first_row, column = Arithmetic::own_column(n, e, m_lane);
      if (row >= rows || column >= dims) return;
      T* const place = to + row * dq.stride[2] + column * column_stride;
      T const x      = m_arguments.scale * sums[0][n].value[2 * h + e];
      if (is_first)
        *place = x;
      else
        add_in_memory(place, x);
    });
  }
};

}  // namespace KokkosAttention::Impl

#endif
