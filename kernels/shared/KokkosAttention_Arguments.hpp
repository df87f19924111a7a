// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_ARGUMENTS_HPP
#define KOKKOSATTENTION_ARGUMENTS_HPP

#include <KokkosAttention_Options.hpp>
#include <KokkosAttention_Tensor.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// A call's arrays and sizes in the form in which kernels take them, and which sequence lies where in the arrays.

namespace KokkosAttention::Impl {

/// The two sides of a score.
enum class Side { queries, keys };

/// What a backward kernel computes; all: of queries, keys and values.
enum class GradientOf { queries, keys_and_values, all, bias };

/// The side whose rows a team owns.
constexpr Side own_side(GradientOf target) {
  return target == GradientOf::keys_and_values || target == GradientOf::all ? Side::keys : Side::queries;
}

/// One sequence of queries and keys: a batch entry, or one of the sequences that are packed in it.
struct Sequence {
  int batch;  ///< as score functions and masks know it: the batch entry, or the number of the packed sequence
  int entry;  ///< batch entry in the arrays
  index_t q_begin, q_len;  ///< where its queries lie in the arrays
  index_t k_begin, k_len;

  /// The position of a query's causal diagonal relative to the query.
  KOKKOS_FORCEINLINE_FUNCTION index_t diagonal(Alignment alignment) const {
    return alignment == Alignment::bottom_right ? k_len - q_len : 0;
  }
  KOKKOS_FORCEINLINE_FUNCTION index_t length(Side side) const { return side == Side::queries ? q_len : k_len; }
};

template <Scalar ScalarType>
struct AttentionArguments {
  using Accumulation = accumulation_t<ScalarType>;

  Tensor<ScalarType const> q, k, v;
  int batch, q_heads, kv_heads;
  index_t q_len, k_len;  // of the arrays
  int head_dim, value_dim;
  Accumulation scale;
  Vector<index_t const> q_offsets, k_offsets;
  int packed_sequences;  // where offsets are given

  /// The key-value head that a query head reads (grouped-query attention, Ainslie et al., arXiv:2305.13245).
  KOKKOS_FORCEINLINE_FUNCTION int kv_head(int q_head) const { return q_heads == kv_heads ? q_head : q_head / group(); }
  /// Query heads a key-value head.
  KOKKOS_FORCEINLINE_FUNCTION int group() const { return Kokkos::max(1, readers()); }
  /// The same, and 0 where there are no query heads.
  KOKKOS_FORCEINLINE_FUNCTION int readers() const { return kv_heads == 0 ? 0 : q_heads / kv_heads; }
  KOKKOS_FORCEINLINE_FUNCTION int heads(Side side) const { return side == Side::queries ? q_heads : kv_heads; }
  KOKKOS_FORCEINLINE_FUNCTION index_t length(Side side) const { return side == Side::queries ? q_len : k_len; }
  KOKKOS_FORCEINLINE_FUNCTION bool packed() const { return q_offsets.data != nullptr; }

  KOKKOS_FORCEINLINE_FUNCTION Sequence batch_entry(int entry) const { return {entry, entry, 0, q_len, 0, k_len}; }

  /// \param n -1 and packed_sequences are what lies before and after all sequences on `side`: nothing to attend there.
  KOKKOS_FORCEINLINE_FUNCTION Sequence packed_sequence(index_t n, Side side) const {
    Sequence sequence{static_cast<int>(n), 0, boundary(q_offsets, n, q_len), 0, boundary(k_offsets, n, k_len), 0};
    bool const real = n >= 0 && n < packed_sequences;
    if (real || side == Side::queries) sequence.q_len = segment(q_offsets, n, q_len);
    if (real || side == Side::keys) sequence.k_len = segment(k_offsets, n, k_len);
    return sequence;
  }

  /// Where packed sequence n begins. Offsets that lie wrongly are moved into the array.
  KOKKOS_FORCEINLINE_FUNCTION index_t boundary(Vector<index_t const> const& offsets, index_t n, index_t len) const {
    if (n < 0) return 0;
    if (n > packed_sequences) return len;
    return Kokkos::max(index_t(0), Kokkos::min(offsets(n), len));
  }

 private:
  KOKKOS_FORCEINLINE_FUNCTION index_t segment(Vector<index_t const> const& offsets, index_t n, index_t len) const {
    return Kokkos::max(index_t(0), boundary(offsets, n + 1, len) - boundary(offsets, n, len));
  }
};

template <Scalar ScalarType>
struct ForwardArguments : AttentionArguments<ScalarType> {
  Tensor<ScalarType> out;
  Tensor<accumulation_t<ScalarType>> lse;  // (B, Hq, Lq); no data: not wanted
  bool plain     = false;                  // the call needs nothing that some kernels leave out to be faster
  bool adds_bias = false;                  // by its one option
};

template <Scalar ScalarType>
struct BackwardArguments : AttentionArguments<ScalarType> {
  using Accumulation = accumulation_t<ScalarType>;

  Tensor<ScalarType const> d_out, out;
  Tensor<Accumulation const> lse;
  Tensor<ScalarType> dq, dk, dv, dbias;  // no data: not wanted
  index_t dbias_extent[4];
  bool adds_bias;       // to scores, what takes time in every kernel
  bool single = false;  // the call has one option at most, and not dropout; some kernels leave out others to be faster
  bool plain  = false;  // and that is none, or ALiBi
  bool scored = false;  // it has score functions
};

/// Some rows of one side of a sequence.
struct SequenceRows {
  Sequence sequence;
  index_t begin, end;
};

/// How many tiles of `rows` rows cover one side of a batch entry. Among packed sequences, whose lengths only the device
/// knows, some of them may be empty.
template <Scalar ScalarType>
KOKKOS_FORCEINLINE_FUNCTION index_t tile_slots(AttentionArguments<ScalarType> const& arguments, Side side, int rows) {
  index_t const len = arguments.length(side);
  return arguments.packed() ? len / rows + arguments.packed_sequences + 2 : (len + rows - 1) / rows;
}

/// The rows of one of these tiles. No tile crosses from one packed sequence into the next: sequence n has the slots
/// from begin(n) / rows + n + 1 on, which is as many as it may need.
template <Scalar ScalarType>
KOKKOS_FORCEINLINE_FUNCTION SequenceRows rows_of_slot(AttentionArguments<ScalarType> const& arguments, Side side,
                                                      int rows, int entry, index_t slot) {
  Sequence sequence = arguments.batch_entry(entry);
  index_t tile      = slot;
  if (arguments.packed()) {
    auto const& offsets = side == Side::queries ? arguments.q_offsets : arguments.k_offsets;
    auto const first = [&](index_t n) { return arguments.boundary(offsets, n, arguments.length(side)) / rows + n + 1; };
    index_t low = -1, high = index_t(arguments.packed_sequences) + 1;  // first(low) <= slot < first(high)
    while (high - low > 1) {
      index_t const middle                 = (low + high) / 2;
      (first(middle) <= slot ? low : high) = middle;
    }
    sequence = arguments.packed_sequence(low, side);
    tile     = slot - first(low);
  }
  index_t const begin = tile * rows;
  return {sequence, begin, Kokkos::min(begin + rows, sequence.length(side))};
}

/// The slot of the tile that begins at a position of a sequence.
template <Scalar ScalarType>
KOKKOS_FORCEINLINE_FUNCTION index_t slot_of_rows(AttentionArguments<ScalarType> const& arguments, Side side, int rows,
                                                 Sequence const& sequence, index_t begin) {
  index_t const first = side == Side::queries ? sequence.q_begin : sequence.k_begin;
  return begin / rows + (arguments.packed() ? first / rows + sequence.batch + 1 : 0);
}

/// What a team works on: rows of one side of a sequence, for one head of that side.
struct WorkItem {
  Sequence sequence;
  int head;
  index_t begin, end;
};

/// How many there are, some of which may be empty, see tile_slots.
template <Scalar ScalarType>
KOKKOS_FORCEINLINE_FUNCTION index_t work_items(AttentionArguments<ScalarType> const& arguments, Side side, int rows) {
  return tile_slots(arguments, side, rows) * arguments.batch * arguments.heads(side);
}

/// Which one it is: of a batch entry and head of its side, as matrices are counted, and of the slots of that one. Under
/// a causal mask later queries see more keys, and earlier keys are seen by more queries: the longest is place 0.
struct WorkPlace {
  index_t matrix, place;
};

/// The place of the n-th item, where items of some matrices at a time are begun in turns: place 0 of each of these,
/// then place 1. So the longest begin first, and what matrices' items read is still in a cache. \tparam Integer holds
/// the number of items
template <class Integer>
KOKKOS_INLINE_FUNCTION constexpr WorkPlace place_in_turns(Integer n, Integer places, Integer matrices,
                                                          Integer matrices_in_turns) {
  Integer const first = n / (places * matrices_in_turns) * matrices_in_turns, rest = n - first * places;
  Integer const turns = Kokkos::min(matrices_in_turns, matrices - first), place = rest / turns;
  return {static_cast<index_t>(first + rest - place * turns), static_cast<index_t>(place)};
}

/// So many matrices that their items are enough for some teams: a number of them between that and twice as many after
/// which fewest are missing in the last turn, whose longest items begin when all others are done.
constexpr index_t matrices_in_turns(index_t teams, index_t places, index_t matrices) {
  if (places == 0 || matrices == 0) return 1;
  index_t const enough = Kokkos::min((teams + places - 1) / places, matrices);
  index_t best = enough, least_missing = matrices;
  for (index_t turns = enough; turns <= Kokkos::min(2 * enough, matrices); ++turns) {
    index_t const missing = (turns - matrices % turns) % turns;
    if (missing >= least_missing) continue;
    best          = turns;
    least_missing = missing;
  }
  return best;
}

template <Scalar ScalarType>
KOKKOS_FORCEINLINE_FUNCTION WorkItem work_item(AttentionArguments<ScalarType> const& arguments, Side side, int rows,
                                               WorkPlace const& of) {
  index_t const slot = side == Side::queries ? tile_slots(arguments, side, rows) - 1 - of.place : of.place;
  int const heads = arguments.heads(side), entry = static_cast<int>(of.matrix / heads);
  SequenceRows const found = rows_of_slot(arguments, side, rows, entry, slot);
  return {found.sequence, static_cast<int>(of.matrix - index_t(entry) * heads), found.begin, found.end};
}

/// The n-th of them, one matrix after the other.
template <Scalar ScalarType>
KOKKOS_FORCEINLINE_FUNCTION WorkItem work_item(AttentionArguments<ScalarType> const& arguments, Side side, int rows,
                                               index_t n) {
  index_t const places = tile_slots(arguments, side, rows);
  return work_item(arguments, side, rows, WorkPlace{n / places, n % places});
}

}  // namespace KokkosAttention::Impl

#endif
