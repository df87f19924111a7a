// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMATURNSENGINE_HPP
#define KOKKOSATTENTION_MMATURNSENGINE_HPP

#include <KokkosAttention_BackwardLoop.hpp>
#include <KokkosAttention_MmaBackwardBase.hpp>

#include <Kokkos_Core.hpp>

#include <climits>

/// \file
/// What backward kernels of five products have in common: teams that own keys compute dK and dV, and add what their
/// keys give to dQ, in memory and in turns. The first warp finds tiles and turns for all.

namespace KokkosAttention::Impl {

/// \tparam in_packs all rows can be copied 16 bytes at a time
/// \tparam drops there may be dropout
/// \tparam scale_is_power see MmaEngine
/// \tparam splits_ahead queries and dO come split, see MmaSplitAhead.hpp
/// \tparam notes_item what is remembered of the work item is in scratch, where registers are few: with it in registers,
/// compilers load factors right before they are multiplied
template <Scalar ScalarType, class Member, int shape_number, bool in_packs, bool drops, bool scale_is_power = false,
          bool splits_ahead = false, bool notes_item = false>
class MmaTurnsEngine : public MmaBackwardBase<ScalarType, Member, shape_number, in_packs, drops, scale_is_power> {
  using Base = MmaBackwardBase<ScalarType, Member, shape_number, in_packs, drops, scale_is_power>;

 protected:
  using Base::layout, Base::own_rows, Base::shape;
  using Base::m_arguments, Base::m_deltas, Base::m_lane, Base::m_member, Base::m_sequence, Base::m_stage;
  using typename Base::Arithmetic, typename Base::Rows, typename Base::Sum, typename Base::T;

 private:
  using Step = MmaBackwardStep<ScalarType>;

  static_assert(shape.turns && shape.stages == 2);
  static_assert(!splits_ahead || (Base::splits && in_packs));

  int m_slot = 0;          // of the step that the team is at
  MmaBackwardItem m_item;  // if it is not in scratch
  Tensor<T> const& m_query_sums;
  MmaQueryTurns<Member, ScalarType> m_turns;

 protected:
  /// What a step gives is added in the next one, so that all warps meet only once a step.
  static constexpr bool adds_late = layout.adds_late;

  /// One of the warps that have scores tells of turns, once it has handed weights over: it would wait for others at the
  /// step's end. Of longer rows, others wait too long for what they are told then.
  static constexpr bool passes_on_late = shape.groups && shape.head_columns == 64;

  int m_visits = 0;  // of tiles, that have begun

 public:
  /// What is remembered of the search for tiles.
  using Search = QuerySearch<int>;

  static constexpr int most_posted = layout.posted;

  /// All that is done to a score of a whole tile is done at once.
  static constexpr bool differentiates_whole_tiles_apart = notes_item;

 protected:
  /// \param row, column of the team's tile, from which the warp has its scores and gradients
  KOKKOS_FORCEINLINE_FUNCTION MmaTurnsEngine(Member const& member, MmaBackwardData<ScalarType> const& data, int row,
                                             int column)
      : Base(member, data.arguments, data.delta, data.tile.scratch_bytes, lane(), row, column),
        m_query_sums(data.turns.query_sums),
        m_turns(member, data.turns, m_lane) {}

 public:
  /// The place in its order of the team's next work item.
  KOKKOS_FORCEINLINE_FUNCTION index_t next_item() const {
    return m_turns.next_item(Base::template in_scratch<unsigned long long>(layout.turned));
  }
  /// Which item is worked on next.
  KOKKOS_FORCEINLINE_FUNCTION void set_item(index_t number) {
    if (!writes_item()) return;
    item().number = number;
    item().turns  = {-1, 0, 0, 0};
    item().known  = {0, 0};
  }
  KOKKOS_FORCEINLINE_FUNCTION void remember(Search const& search) {
    if (!writes_item()) return;
    item().search    = search;
    item().posted    = 0;
    item().last_slot = m_slot;
  }

  /// The first warp keeps the books. Others wait for it meanwhile, so it posts as many steps at once as it can: a lane
  /// one each.
  template <class M, class Find, class ArrayOf>
  KOKKOS_FORCEINLINE_FUNCTION void post(M const& mask, Find const& find, ArrayOf const& array_of) {
    if (!keeps_books()) return;
    warp_barrier();
    MmaBackwardItem& books = item();
    int const posted       = books.posted;
    if (posted > m_visits + 1) return;
    int const lane = m_lane.number(), slot = slot_after(books.last_slot, lane + 1);
    auto search                = books.search;
    MmaHeadTurns turns         = books.turns;
    Tile tile                  = {};
    auto const [covers, count] = find(search, mask, books.sequence, books.keys, lane, tile);
    if (count > 0) {
      Base::begin_rows(books.sequence, books.keys);
      Step step;
      m_turns.find(step, turns, m_arguments, m_sequence, tile, mask, own_rows, shape.columns);
      if (lane < count) {
        describe(step, tile, covers, array_of(m_sequence, tile.head));
        *step_in(slot) = step;
      }
    }
    warp_barrier();
    if (lane == 0 && count == 0) step_in(slot)->covers = static_cast<int>(Coverage::none);
    if (writes_item()) {
      books.search    = search;
      books.turns     = turns;
      books.posted    = count == 0 ? INT_MAX : posted + count;
      books.last_slot = slot_after(books.last_slot, count);
    }
  }

  KOKKOS_FORCEINLINE_FUNCTION bool next() {
    m_slot  = next_slot(m_slot);
    m_stage = 1 - m_stage;
    if (m_visits == 0) {
      m_member.team_barrier();
      copy_step(m_slot);
    }
    return coverage() != Coverage::none;
  }
  KOKKOS_FORCEINLINE_FUNCTION Coverage coverage() const { return static_cast<Coverage>(step().covers); }
  KOKKOS_FORCEINLINE_FUNCTION Sequence const& sequence() const { return item().sequence; }

  template <class Number>
  KOKKOS_FORCEINLINE_FUNCTION Tensor<Number const> noted(Tensor<Number const> const& array) const {
    return {static_cast<Number const*>(step().array), {0, 0, array.stride[2], array.stride[3]}};
  }

  KOKKOS_FORCEINLINE_FUNCTION Tile tile() const {
    Tile result        = item().keys;
    result.head        = step().head;
    result.query_begin = step().begin;
    result.query_end   = step().begin + step().queries;
    return result;
  }

  KOKKOS_FORCEINLINE_FUNCTION void draw(Tile const&, WeightDropout<T> const& dropout) { Base::draw(tile(), dropout); }
  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void for_each_row(Tile const&, F const& f) {
    Base::for_each_row(tile(), f);
  }
  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void for_each_row_of_gradients(Tile const&, F const& f) {
    Base::for_each_row_of_gradients(tile(), f);
  }
  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void for_each_row_of_block(int block, F const& f) {
    Base::for_each_row_of_block(block, tile(), f);
  }

 protected:
  KOKKOS_FORCEINLINE_FUNCTION void begin_item(Sequence const& sequence, Tile const& tile) {
    Base::begin_own(sequence, tile);
    // Not in the first step: there it would take registers of all steps.
    if constexpr (Arithmetic::scales_own_rows) {
      wait_for_copies();
      Base::prepare_own(tile);
    }
    if (writes_item()) {
      item().sequence = sequence;
      item().keys     = tile;
    }
    m_visits = 0;
  }

  /// Waits for the step's rows, and begins to copy those of the next one.
  KOKKOS_FORCEINLINE_FUNCTION void begin_step() {
    wait_for_copies();
    if constexpr (adds_late) await_last_turn();
    if constexpr (Base::splits) {
      if (m_visits == 0) Base::prepare_own(item().keys);
      if constexpr (!splits_ahead) {
        auto const [q, d_out] = rows_of(step());
        Base::split_other(q, d_out);
      }
    }
    m_member.team_barrier();
    if constexpr (!passes_on_late) pass_turn_on(shape.warps - 1);
    // Two teams fill each other's waits; and what is seen takes a register.
    if constexpr (shape.teams == 1) m_turns.look(step(), item());
    ++m_visits;
    m_stage = 1 - m_stage;
    copy_step(next_slot(m_slot));
    m_stage = 1 - m_stage;
  }
  /// Masks what products gave.
  KOKKOS_FORCEINLINE_FUNCTION void complete_scores() { Base::complete_scores(item().keys); }

  /// All threads may add to the step's dQ after a team barrier.
  KOKKOS_FORCEINLINE_FUNCTION void wait_for_turn() { m_turns.wait(step(), item()); }

  /// The same of the step before the one that the team is at, if there is one.
  KOKKOS_FORCEINLINE_FUNCTION void await_last_turn() {
    if (m_visits > 0) m_turns.wait(*step_in(last_slot()), item());
  }

  /// Adds sums to the step's dQ.
  /// \tparam in_pairs columns of a block of sums are neighbours
  /// \param row row(b, h) of the tile
  /// \param column column(n, e) of dQ, from the first one on
  template <bool in_pairs, int row_blocks, int column_blocks, class RowOf, class ColumnOf>
  KOKKOS_FORCEINLINE_FUNCTION void add_to_queries(Sum const (&sums)[row_blocks][column_blocks], T factor,
                                                  int first_column, RowOf const& row, ColumnOf const& column) const {
    index_t const row_stride = m_query_sums.stride[2], column_stride = in_packs ? 1 : m_query_sums.stride[3];
    int const first_row = row(0, 0);
    int const rows = step().queries - first_row, columns = m_arguments.head_dim - first_column;
    bool const is_first = step().distance == 0;
    T* const to         = step().dq + first_row * row_stride + first_column * column_stride;
    if constexpr (in_packs && in_pairs) {
      struct alignas(2 * sizeof(T)) Two {
        T value[2];
      };
      KOKKOSATTENTION_UNROLL
      for (int b = 0; b < row_blocks; ++b) {
        KOKKOSATTENTION_UNROLL
        for (int h = 0; h < 2; ++h) {
          KOKKOSATTENTION_UNROLL
          for (int n = 0; n < column_blocks; ++n) {
            int const r = row(b, h) - first_row, c = column(n, 0);
            if (r >= rows || c >= columns) continue;
            T* const place = to + r * row_stride + c;
            Two const x    = {{factor * sums[b][n].value[2 * h], factor * sums[b][n].value[2 * h + 1]}};
            if (is_first)
              *reinterpret_cast<Two*>(place) = x;
            else
              add_two_in_memory(place, x.value[0], x.value[1]);
          }
        }
      }
    } else {
      for_each_element<row_blocks, column_blocks>([&](int b, int n, int h, int e) {
        int const r = row(b, h) - first_row, c = column(n, e);
        if (r >= rows || c >= columns) return;
        T* const place = to + r * row_stride + c * column_stride;
        T const x      = factor * sums[b][n].value[2 * h + e];
        if (is_first)
          *place = x;
        else
          add_in_memory(place, x);
      });
    }
  }

  /// After this, the places of own rows serve for other things.
  /// \return the item's keys
  KOKKOS_FORCEINLINE_FUNCTION Tile end_item() {
    // With no tile of the other side, own rows may still be on their way.
    wait_for_copies();
    m_member.team_barrier();
    if (m_visits > 0) m_turns.pass_on(*step_in(last_slot()), item().number, shape.warps - 1);
    Base::begin_rows(item().sequence, item().keys);
    return item().keys;
  }

  /// Adds sums to those of dQ of the step before the one that the team is at, which have an array of their own and no
  /// factors.
  /// \param first_row, first_column of whole MmaSumPlace blocks
  template <int row_blocks, int column_blocks>
  KOKKOS_FORCEINLINE_FUNCTION void add_to_last_queries(Sum const (&sums)[row_blocks][column_blocks], int first_row,
                                                       int first_column) const {
    using Place = MmaSumPlace;
    static_assert(8 * column_blocks == Place::columns);
    struct alignas(16) Four {
      T value[Place::numbers];
    };
    Step const& last   = *step_in(last_slot());
    T* const to        = last.dq + first_row * shape.head_columns + first_column * Place::rows;
    auto const for_all = [&](auto const& f) {
      KOKKOSATTENTION_UNROLL
      for (int b = 0; b < row_blocks; ++b) {
        // Behind a sequence's last rows others have theirs.
        if (first_row + Place::rows * b >= last.queries) break;
        KOKKOSATTENTION_UNROLL
        for (int n = 0; n < column_blocks; ++n)
          f(to + Place::rows * b * shape.head_columns + Place::of(n, m_lane.number()), sums[b][n].value);
      }
    };
    if (last.distance == 0)
      for_all([](T* to, T const(&x)[4]) { *reinterpret_cast<Four*>(to) = {{x[0], x[1], x[2], x[3]}}; });
    else
      for_all([](T* to, T const(&x)[4]) { add_four_in_memory(to, x[0], x[1], x[2], x[3]); });
  }

  /// Tells the next teams which tiles have been added to. That takes as long as what has been added takes to arrive, so
  /// not after every one, unless tiles are large.
  KOKKOS_FORCEINLINE_FUNCTION void pass_turn_on(int warp) const {
    int const before = m_visits - (passes_on_late ? 1 : 0);
    if constexpr (adds_late) {
      if (before > 1) m_turns.pass_on(*step_in(slot_before(last_slot())), item().number, warp);
    } else {
      if (before > 0 && before % 2 == 0) m_turns.pass_on(*step_in(last_slot()), item().number, warp);
    }
  }

 private:
  /// The thread's. In float64 registers are too few to keep it.
  KOKKOS_FORCEINLINE_FUNCTION static MmaLane lane() {
    return notes_item && sizeof(T) == 4 ? MmaLane::kept() : MmaLane::here();
  }

  /// The first of a tile's rows in the array of sums.
  KOKKOS_FORCEINLINE_FUNCTION index_t sums_row(Tile const& tile, index_t array_row) const {
    if constexpr (sums_in_place<ScalarType>)
      return array_row;
    else
      return MmaSumPlace::rows *
             slot_of_rows(m_arguments, Side::queries, MmaSumPlace::rows, m_sequence, tile.query_begin);
  }

  KOKKOS_FORCEINLINE_FUNCTION void describe(Step& step, Tile const& tile, Coverage covers, void const* array) const {
    int const entry   = m_sequence.entry;
    index_t const row = Base::array_row(Side::queries, tile);
    step.q            = &m_arguments.q(entry, tile.head, row, 0);
    step.d_out        = &m_arguments.d_out(entry, tile.head, row, 0);
    step.lse          = &m_arguments.lse(entry, tile.head, row, 0);
    step.delta        = &m_deltas(entry, tile.head, row, 0);
    step.dq           = &m_query_sums(entry, tile.head, sums_row(tile, row), 0);
    step.array        = array;
    step.head         = tile.head;
    step.begin        = static_cast<int>(tile.query_begin);
    step.queries      = Base::count(Side::queries, tile);
    step.covers       = static_cast<int>(covers);
  }

  KOKKOS_FORCEINLINE_FUNCTION bool keeps_books() const { return m_member.team_rank() == 0; }
  KOKKOS_FORCEINLINE_FUNCTION MmaBackwardItem& item() {
    if constexpr (notes_item)
      return *Base::template in_scratch<MmaBackwardItem>(layout.item);
    else
      return m_item;
  }
  KOKKOS_FORCEINLINE_FUNCTION MmaBackwardItem const& item() const { return const_cast<MmaTurnsEngine&>(*this).item(); }
  KOKKOS_FORCEINLINE_FUNCTION bool writes_item() const {
    return !notes_item || (keeps_books() && m_lane.number() == 0);
  }

  // Steps before and after the one that the team is at are there too: the first warp posts them ahead.
  KOKKOS_FORCEINLINE_FUNCTION Step* step_in(int slot) const {
    return Base::template in_scratch<Step>(layout.steps) + slot;
  }
  KOKKOS_FORCEINLINE_FUNCTION Step const& step() const { return *step_in(m_slot); }
  KOKKOS_FORCEINLINE_FUNCTION static int next_slot(int slot) { return slot == layout.slots - 1 ? 0 : slot + 1; }
  /// \param n at most as many as there are
  KOKKOS_FORCEINLINE_FUNCTION static int slot_after(int slot, int n) {
    int const result = slot + n;
    return result < layout.slots ? result : result - layout.slots;
  }
  KOKKOS_FORCEINLINE_FUNCTION static int slot_before(int slot) { return slot == 0 ? layout.slots - 1 : slot - 1; }
  KOKKOS_FORCEINLINE_FUNCTION int last_slot() const { return slot_before(m_slot); }

  /// Of q and dO.
  KOKKOS_FORCEINLINE_FUNCTION Kokkos::pair<Rows, Rows> rows_of(Step const& step) const {
    // Split ahead, they are padded.
    auto const columns = [](int dim) { return splits_ahead ? shape.head_columns : dim; };
    Rows q(m_arguments.q, 0, 0, 0, step.queries, columns(m_arguments.head_dim)),
        d_out(m_arguments.d_out, 0, 0, 0, step.queries, columns(m_arguments.value_dim));
    q.data     = step.q;
    d_out.data = step.d_out;
    return {q, d_out};
  }

  /// Begins to copy a step's rows to the stage in use.
  KOKKOS_FORCEINLINE_FUNCTION void copy_step(int slot) const {
    Step const& step = *step_in(slot);
    if (step.covers == static_cast<int>(Coverage::none)) return;
    auto const [q, d_out] = rows_of(step);
    Base::copy_other(q, d_out, step.lse, step.delta, 0);
    if constexpr (splits_ahead) {
      // Two warps that have no other tasks.
      int const warp = m_member.team_rank() - 2;
      if (warp == 0) copy_powers(q, Base::other_first());
      if (warp == 1) copy_powers(d_out, Base::other_second());
    }
  }
  /// Those of rows that are split ahead.
  KOKKOS_FORCEINLINE_FUNCTION void copy_powers(Rows const& rows, ScalarType* scratch) const {
    constexpr int pack = 16 / int(sizeof(ScalarType));
    static_assert(shape.columns == 32 && shape.head_columns + pack == Base::stride);
    int const row = m_lane.number();
    copy_ahead<16>(scratch + row * Base::stride + shape.head_columns,
                   rows.data + (row < rows.rows ? row : 0) * rows.row_stride + shape.head_columns, row < rows.rows);
  }
};

}  // namespace KokkosAttention::Impl

#endif
