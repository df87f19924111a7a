// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTGRADIENTS_HPP
#define KOKKOSATTENTION_HOSTGRADIENTS_HPP

#include <KokkosAttention_HostBiasEngine.hpp>
#include <KokkosAttention_HostKernels.hpp>

#include <Kokkos_Core.hpp>

#include <algorithm>

/// \file
/// The work items of the host engine's backward pass, one thread each.

namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT {

/// Sums of dQ that threads add to in turns, from a query head on.
template <Scalar ScalarType>
HostQuerySums<ScalarType> query_sums(HostBackwardCall<ScalarType> const& call, int entry, int head) {
  auto const& a     = call.loop.arguments;
  auto const& turns = call.turns;
  return {a, turns.query_sums + (index_t(entry) * a.q_heads + head) * turns.sum_stride, turns.sum_rows,
          turns.sum_stride, head};
}

/// delta = rowsum(dO O) of some rows of a head.
template <Scalar ScalarType>
void write_delta(HostBackwardCall<ScalarType> const& call, int entry, int head, index_t begin, index_t end) {
  using T       = accumulation_t<ScalarType>;
  using Vector  = HostVector<T>;
  auto const& a = call.loop.arguments;
  int const dim = a.value_dim;
  for (index_t i = begin; i < end; ++i) {
    MatrixRows<ScalarType const> const gradient(a.d_out, entry, head, i, 1, dim), out(a.out, entry, head, i, 1, dim);
    bool const neighbours = gradient.column_stride == 1 && out.column_stride == 1;
    Vector sums(T(0));
    T lane[Vector::lanes];
    int d = 0;
    if (neighbours)
      for (; d + Vector::lanes <= dim; d += Vector::lanes) sums += load(&gradient(0, d)) * load(&out(0, d));
    sums.store(lane);
    T sum = 0;
    for (int l = 0; l < Vector::lanes; ++l) sum += lane[l];
    for (; d < dim; ++d) sum += static_cast<T>(gradient(0, d)) * static_cast<T>(out(0, d));
    call.delta(entry, head, i, 0) = sum;
  }
}

/// Before item n of another kernel, the slot-th of so many of a head: nothing has been added to dQ, nobody has had a
/// turn.
template <Scalar ScalarType>
void clear_turns(HostBackwardCall<ScalarType> const& call, index_t n, index_t slots) {
  auto const& a        = call.loop.arguments;
  auto const& turns    = call.turns;
  index_t const matrix = n / slots, slot = n % slots, items = slots * a.q_heads * a.batch;
  int const entry = static_cast<int>(matrix / a.q_heads), head = static_cast<int>(matrix % a.q_heads);
  query_sums(call, entry, head).clear(head, turns.sum_rows * slot / slots, turns.sum_rows * (slot + 1) / slots);
  std::fill(turns.done + turns.items() * n / items, turns.done + turns.items() * (n + 1) / items, 0);
  if (n == 0) *turns.next = 0;
}

/// Some rows of delta, for the kernels that each need all of it.
template <Scalar ScalarType>
void delta_item(HostBackwardCall<ScalarType> const& call, index_t n, std::byte*) {
  auto const& a       = call.loop.arguments;
  index_t const slots = host_delta_slots(a);
  index_t const begin = n % slots * host_delta_rows, end = Kokkos::min(begin + host_delta_rows, a.q_len);
  int const entry = static_cast<int>(n / slots / a.q_heads), head = static_cast<int>(n / slots % a.q_heads);
  write_delta(call, entry, head, begin, end);
  if (call.turns.next != nullptr) clear_turns(call, n, slots);
}

/// dQ of a tile of queries.
template <Scalar ScalarType>
void queries_item(HostBackwardCall<ScalarType> const& call, index_t n, std::byte* scratch) {
  WorkItem const item = work_item(call.loop.arguments, Side::queries, call.tile.own, n);
  if (item.begin >= item.end) return;
  HostBackwardEngine<ScalarType, GradientOf::queries> engine(call.loop.arguments, call.delta, call.tile, scratch);
  backward_query_tile(engine, call.loop.scores, call.loop.mask, call.loop.dropout, item.sequence,
                      Tile{item.sequence.batch, item.head, item.begin, item.end, 0, 0}, call.tile.other);
}

template <Scalar ScalarType, GradientOf target>
void key_tile(HostBackwardEngine<ScalarType, target>& engine, HostBackwardCall<ScalarType> const& call,
              Sequence const& sequence, int kv_head, index_t begin, index_t end) {
  backward_key_tile(engine, call.loop.scores, call.loop.mask, call.loop.dropout, sequence,
                    Tile{sequence.batch, kv_head * call.loop.arguments.group(), 0, 0, begin, end},
                    call.loop.arguments.readers(), call.tile.other);
}

/// dK and dV of a tile of keys.
template <Scalar ScalarType>
void keys_item(HostBackwardCall<ScalarType> const& call, index_t n, std::byte* scratch) {
  WorkItem const item = work_item(call.loop.arguments, Side::keys, call.tile.own, n);
  if (item.begin >= item.end) return;
  HostBackwardEngine<ScalarType, GradientOf::keys_and_values> engine(call.loop.arguments, call.delta, call.tile,
                                                                     scratch);
  key_tile(engine, call, item.sequence, item.head, item.begin, item.end);
}

/// Blocks of the products of a tile of keys with one of queries, where all gradients are computed.
template <Scalar ScalarType>
int product_blocks(BackwardArguments<ScalarType> const& a, HostBackwardTile const& tile, int queries) {
  using Operands  = HostOperands<ScalarType>;
  int const lanes = HostVector<accumulation_t<ScalarType>>::lanes;
  int blocks      = Operands::blocks(queries, (a.head_dim + lanes - 1) / lanes);
  for (int first = 0; first < tile.vectors; first += tile.group) {
    int const group = Kokkos::min(tile.group, tile.vectors - first);
    blocks += 2 * Operands::blocks(queries, group) + Operands::blocks(a.head_dim, group) +
              Operands::blocks(a.value_dim, group);
  }
  return blocks;
}

/// What item n of all_item writes, and what comes after it.
template <Scalar ScalarType>
HostPrefetch gradients_and_next_inputs(HostBackwardCall<ScalarType> const& call, index_t n) {
  using Rows = MatrixRows<ScalarType const>;
  HostPrefetch prefetch;
  auto const& a = call.loop.arguments;
  if (a.packed() || a.q_len > host_short_length || a.k_len > host_short_length || a.q_len == 0 || a.k_len == 0 ||
      a.readers() == 0)
    return prefetch;
  int const queries = static_cast<int>(a.q_len), keys = static_cast<int>(a.k_len);
  auto const add_gradients = [&](Tensor<ScalarType> const& tensor, int heads, int rows, int dim) {
    int const head = static_cast<int>(n % a.kv_heads) * heads;
    if (tensor.data != nullptr)
      prefetch.add(MatrixRows<ScalarType>(tensor, static_cast<int>(n / a.kv_heads), head, 0, rows, dim));
  };
  add_gradients(a.dk, 1, keys, a.head_dim);
  add_gradients(a.dv, 1, keys, a.value_dim);
  add_gradients(a.dq, a.readers(), queries, a.head_dim);
  if (n + 1 < index_t(a.batch) * a.kv_heads) {
    int const entry = static_cast<int>((n + 1) / a.kv_heads), kv_head = static_cast<int>((n + 1) % a.kv_heads);
    int const head = kv_head * a.readers();  // the first that reads the keys
    prefetch.add(Rows(a.d_out, entry, head, 0, queries, a.value_dim));
    prefetch.add(Rows(a.out, entry, head, 0, queries, a.value_dim));
    prefetch.add(Rows(a.q, entry, head, 0, queries, a.head_dim));
    prefetch.add(Rows(a.k, entry, kv_head, 0, keys, a.head_dim));
    prefetch.add(Rows(a.v, entry, kv_head, 0, keys, a.value_dim));
  }
  int const tiles = (keys + call.tile.own - 1) / call.tile.own * ((queries + call.tile.other - 1) / call.tile.other);
  prefetch.divide(tiles * a.readers() * product_blocks(a, call.tile, Kokkos::min(queries, call.tile.other)));
  return prefetch;
}

/// All gradients of a sequence, of a key-value head and the query heads that read it: five products instead of seven,
/// with the same sums in the same order.
template <Scalar ScalarType>
void all_item(HostBackwardCall<ScalarType> const& call, index_t n, std::byte* scratch) {
  auto const& a        = call.loop.arguments;
  int const kv_head    = static_cast<int>(n % a.kv_heads);
  index_t const number = n / a.kv_heads;
  // Before and after packed sequences lies what has nothing to attend, or nobody who attends it.
  auto const sequence_of = [&](Side side) {
    return a.packed() ? a.packed_sequence(number - 1, side) : a.batch_entry(static_cast<int>(number));
  };
  Sequence const of_queries = sequence_of(Side::queries), of_keys = sequence_of(Side::keys);
  for (int head = kv_head * a.readers(); head < (kv_head + 1) * a.readers(); ++head)
    write_delta(call, of_queries.entry, head, of_queries.q_begin, of_queries.q_begin + of_queries.q_len);

  HostBackwardEngine<ScalarType, GradientOf::all> engine(a, call.delta, call.tile, scratch,
                                                         gradients_and_next_inputs(call, n));
  HostQuerySums<ScalarType> const sums(
      a, reinterpret_cast<accumulation_t<ScalarType>*>(scratch + call.tile.query_sum_offset), a.q_len,
      call.tile.query_sum_stride, kv_head * a.readers());
  for (int head = kv_head * a.readers(); head < (kv_head + 1) * a.readers(); ++head)
    sums.clear(head, 0, of_queries.q_len);
  engine.add_to(sums);
  for (index_t begin = 0; begin < of_keys.k_len; begin += call.tile.own)
    key_tile(engine, call, of_keys, kv_head, begin, Kokkos::min(begin + call.tile.own, of_keys.k_len));
  sums.store(of_queries);
}

/// All gradients of a tile of keys; those of queries are added to in turns.
template <Scalar ScalarType>
void turn_item(HostBackwardCall<ScalarType> const& call, index_t n, std::byte* scratch) {
  auto const& a             = call.loop.arguments;
  auto const& turns         = call.turns;
  auto const [number, slot] = host_turn(n, turns.tiles, turns.sequences, turns.begun);
  int const entry = static_cast<int>(number / a.kv_heads), kv_head = static_cast<int>(number % a.kv_heads);
  SequenceRows const keys = rows_of_slot(a, Side::keys, call.tile.own, entry, slot);
  // Before and after packed sequences lie queries that have nothing to attend.
  Sequence const queries = a.packed() ? a.packed_sequence(keys.sequence.batch, Side::queries) : a.batch_entry(entry);
  HostQuerySums<ScalarType> const sums =
      query_sums(call, entry, kv_head * a.readers()).from_row(host_first_sum(a, queries));
  bool const is_empty = keys.begin >= keys.end;
  HostQueryTurns own_turns(turns.done + number * turns.tiles + slot, !is_empty && keys.begin > 0);

  if (!is_empty) {
    HostBackwardEngine<ScalarType, GradientOf::all> engine(a, call.delta, call.tile, scratch);
    engine.add_to(sums, &own_turns);
    key_tile(engine, call, keys.sequence, kv_head, keys.begin, keys.end);
  }
  own_turns.finish();
  bool const is_last = is_empty ? keys.begin == 0 : keys.end == keys.sequence.k_len;
  if (is_last) sums.store(queries);
}

/// A part of dBias.
template <Scalar ScalarType>
void bias_item(HostBackwardCall<ScalarType> const& call, index_t n, std::byte* scratch) {
  HostBiasEngine<ScalarType> engine(call.loop.arguments, call.delta, call.tile, scratch);
  call.loop(engine, n);
}

}  // namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT

#endif
