// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTOUTPUTS_HPP
#define KOKKOSATTENTION_HOSTOUTPUTS_HPP

#include <KokkosAttention_HostDecodeEngine.hpp>
#include <KokkosAttention_HostEngine.hpp>
#include <KokkosAttention_HostKernels.hpp>

#include <Kokkos_Core.hpp>

#include <algorithm>

/// \file
/// The work items of the host engine's forward pass, one thread each.

namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT {

/// Adds the partial output of a chunk of keys to those of the chunks before it: the average by exp(LSE), as in the
/// online softmax, row by row.
/// \param state sum and maximum of the LSEs so far; as begins, with no chunk
template <class T>
void fold_row(SoftmaxState<T>& state, T* out, T partial_lse, T const* partial_out, int dim) {
  T const maximum = larger(state.maximum, partial_lse), shift = softmax_shift(maximum);
  T const rescale = softmax_exponential(state.maximum - shift), weight = softmax_exponential(partial_lse - shift);
  state.sum     = state.sum * rescale + weight;
  state.maximum = maximum;
  for (int d = 0; d < dim; ++d) out[d] = out[d] * rescale + weight * partial_out[d];
}

template <Scalar ScalarType>
void store_folded(ForwardArguments<ScalarType> const& a, int entry, int head, index_t i,
                  SoftmaxState<accumulation_t<ScalarType>> const& state, accumulation_t<ScalarType> const* out) {
  accumulation_t<ScalarType> const normalisation = state.normalisation();
  for (int d = 0; d < a.value_dim; ++d) a.out(entry, head, i, d) = static_cast<ScalarType>(normalisation * out[d]);
  if (a.lse.data != nullptr) a.lse(entry, head, i, 0) = state.lse();
}

template <Scalar ScalarType>
void query_tile(HostForwardCall<ScalarType> const& call, auto& engine, Sequence const& sequence, int head,
                index_t begin, index_t end, KeyRange const& keys = {}) {
  forward_query_tile(engine, call.scores, call.mask, call.dropout, sequence,
                     Tile{sequence.batch, head, begin, end, 0, 0}, call.tile.keys, keys);
}

/// Calls use(engine) with the engine for a split sequence.
template <Scalar ScalarType, class T, class Use>
void with_split_engine(HostForwardCall<ScalarType> const& call, index_t q_len, Tensor<T> const& out,
                       Tensor<T> const& lse, std::byte* scratch, Use const& use) {
  if (q_len <= host_decode_queries) {
    HostDecodeEngine<ScalarType, T> engine(call.arguments, out, lse, call.tile, scratch);
    use(engine);
  } else {
    HostEngine<ScalarType, T> engine(call.arguments, out, lse, call.tile, call.shared, scratch);
    use(engine);
  }
}

inline KeyRange chunk_range(int chunk) { return {chunk * host_chunk_keys, (chunk + 1) * host_chunk_keys}; }

/// The output of a tile of a packed sequence of few queries and many keys: chunk by chunk.
template <Scalar ScalarType>
void fold_tile(HostForwardCall<ScalarType> const& call, WorkItem const& item, std::byte* scratch) {
  using T        = accumulation_t<ScalarType>;
  auto const& a  = call.arguments;
  int const rows = static_cast<int>(item.end - item.begin), dim = a.value_dim;
  auto* const out      = reinterpret_cast<T*>(scratch + call.tile.fold_offset);
  T *const partial_out = out + call.tile.queries * dim, *const partial_lse = partial_out + call.tile.queries * dim;
  auto* const states      = reinterpret_cast<SoftmaxState<T>*>(partial_lse + call.tile.queries);
  index_t const first_row = item.sequence.q_begin + item.begin;
  Tensor<T> const to      = {partial_out - first_row * dim, {0, 0, dim, 1}};
  Tensor<T> const to_lse  = {partial_lse - first_row, {0, 0, 1, 0}};
  constexpr T nothing     = -Kokkos::Experimental::infinity_v<T>;
  std::fill_n(states, rows, SoftmaxState<T>{nothing, T(0), T(0)});
  std::fill_n(out, rows * dim, T(0));
  with_split_engine(call, item.sequence.q_len, to, to_lse, scratch, [&](auto& engine) {
    for (int chunk = 0; chunk < host_chunks(item.sequence.k_len); ++chunk) {
      query_tile(call, engine, item.sequence, item.head, item.begin, item.end, chunk_range(chunk));
      for (int i = 0; i < rows; ++i) fold_row(states[i], out + i * dim, partial_lse[i], partial_out + i * dim, dim);
    }
  });
  for (int i = 0; i < rows; ++i)
    store_folded(a, item.sequence.entry, item.head, first_row + i, states[i], out + i * dim);
}

/// What work item n, which is `now`, writes, and what comes after it: the same tile of the next head, and as much of
/// that head's keys and values as makes all of them together with what the head's other tiles ask for. Pairs are fewer
/// bytes: the processor's own prefetch keeps up, and asking for them costs more than it saves.
template <Scalar ScalarType>
HostPrefetch output_and_next_inputs(HostForwardCall<ScalarType> const& call, index_t n, WorkItem const& now) {
  using Rows = MatrixRows<ScalarType const>;
  HostPrefetch prefetch;
  if constexpr (HostOperands<ScalarType>::pairs) return prefetch;
  auto const& a       = call.arguments;
  index_t const slots = tile_slots(a, Side::queries, call.tile.queries);
  if (a.packed() || a.q_len > host_short_length || a.k_len > host_short_length || a.k_len == 0) return prefetch;
  auto const rows_of = [](WorkItem const& item) { return static_cast<int>(item.end - item.begin); };
  prefetch.add(MatrixRows<ScalarType>(a.out, now.sequence.entry, now.head, now.begin, rows_of(now), a.value_dim));
  if (n + slots >= call.items()) return prefetch;
  WorkItem const next = work_item(a, Side::queries, call.tile.queries, n + slots);
  int const entry     = next.sequence.entry;
  prefetch.add(Rows(a.q, entry, next.head, next.begin, rows_of(next), a.head_dim));
  index_t const begin = a.k_len * (n % slots) / slots, end = a.k_len * (n % slots + 1) / slots;
  int const keys = static_cast<int>(end - begin);
  prefetch.add(Rows(a.k, entry, a.kv_head(next.head), begin, keys, a.head_dim));
  prefetch.add(Rows(a.v, entry, a.kv_head(next.head), begin, keys, a.value_dim));
  if (auto const& bias = call.scores.rest.first; bias.active()) {
    auto const rows_for = [&](WorkItem const& item) {
      return Rows(bias.bias, item.sequence.batch, item.head, item.begin, rows_of(item), static_cast<int>(a.k_len));
    };
    // Heads may share it.
    if (rows_for(next).data != rows_for(now).data) prefetch.add(rows_for(next));
  }
  return prefetch;
}

/// The output of a tile of queries.
template <Scalar ScalarType>
void output_item(HostForwardCall<ScalarType> const& call, index_t n, std::byte* scratch) {
  auto const& a       = call.arguments;
  WorkItem const item = work_item(a, Side::queries, call.tile.queries, n);
  if (item.begin >= item.end) return;
  if (host_splits_keys(item.sequence.q_len, item.sequence.k_len)) {
    fold_tile(call, item, scratch);
  } else {
    HostEngine<ScalarType, ScalarType> engine(a, a.out, a.lse, call.tile, call.shared, scratch,
                                              output_and_next_inputs(call, n, item));
    query_tile(call, engine, item.sequence, item.head, item.begin, item.end);
  }
}

/// The partial outputs of a tile of queries and a chunk of keys, for each of the heads that read these keys, so that
/// memory is read once for all of them.
template <Scalar ScalarType>
void partial_item(HostForwardCall<ScalarType> const& call, index_t n, std::byte* scratch) {
  auto const& a       = call.arguments;
  auto const& split   = call.split;
  int const chunk     = static_cast<int>(n % split.chunks);
  index_t const slots = tile_slots(a, Side::queries, call.tile.queries), matrix = n / split.chunks / slots;
  SequenceRows const rows = rows_of_slot(a, Side::queries, call.tile.queries, static_cast<int>(matrix / a.kv_heads),
                                         n / split.chunks % slots);
  int const first_head    = static_cast<int>(matrix % a.kv_heads) * a.readers();
  with_split_engine(call, a.q_len, split.chunk_out(chunk, a.value_dim), split.chunk_lse(chunk), scratch,
                    [&](auto& engine) {
                      for (int head = first_head; head < first_head + a.readers(); ++head)
                        query_tile(call, engine, rows.sequence, head, rows.begin, rows.end, chunk_range(chunk));
                    });
}

template <Scalar ScalarType>
void forward_item(HostForwardCall<ScalarType> const& call, index_t n, std::byte* scratch) {
  if (call.split.chunks == 1)
    output_item(call, n, scratch);
  else
    partial_item(call, n, scratch);
}

/// A tile of keys and its values, for all items that read them.
template <Scalar ScalarType>
void pack_item(HostForwardCall<ScalarType> const& call, index_t n, std::byte*) {
  using Operands = HostOperands<ScalarType>;
  using Rows     = MatrixRows<ScalarType const>;
  if constexpr (Operands::pairs) {
    auto const& a        = call.arguments;
    auto const& shared   = call.shared;
    index_t const matrix = n / shared.tiles, begin = n % shared.tiles * shared.tile_keys;
    int const entry = static_cast<int>(matrix / a.kv_heads), kv_head = static_cast<int>(matrix % a.kv_heads);
    int const count = static_cast<int>(Kokkos::min(index_t(shared.tile_keys), a.k_len - begin));
    Operands::pack_rows(Rows(a.k, entry, kv_head, begin, count, a.head_dim), shared.keys(entry, kv_head, begin));
    Operands::columns(Rows(a.v, entry, kv_head, begin, count, a.value_dim), shared.values(entry, kv_head, begin));
  }
}

/// A row of the output from its partial outputs.
template <Scalar ScalarType>
void combine_item(HostForwardCall<ScalarType> const& call, index_t n, std::byte* scratch) {
  using T           = accumulation_t<ScalarType>;
  auto const& a     = call.arguments;
  auto const& split = call.split;
  auto* const out   = reinterpret_cast<T*>(scratch);
  SoftmaxState<T> state{-Kokkos::Experimental::infinity_v<T>, T(0), T(0)};
  std::fill_n(out, a.value_dim, T(0));
  for (int chunk = 0; chunk < split.chunks; ++chunk) {
    index_t const row = chunk * split.rows + n;
    fold_row(state, out, split.lse.data[row], split.out.data + row * a.value_dim, a.value_dim);
  }
  store_folded(a, static_cast<int>(n / a.q_len / a.q_heads), static_cast<int>(n / a.q_len % a.q_heads), n % a.q_len,
               state, out);
}

}  // namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT

#endif
