// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTSPLIT_HPP
#define KOKKOSATTENTION_HOSTSPLIT_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_Workspace.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// Few queries against many keys (decode): the keys are split into chunks, each of which gives a partial output, and
/// the partial outputs are combined by their LSE.

namespace KokkosAttention::Impl {

/// A chunk's keys and values stay in the second-level cache while the heads that share them are computed.
inline constexpr index_t host_chunk_keys = 1024;
/// Fewer keys are not split.
inline constexpr index_t host_fewest_split_keys = 4096;

/// Whether keys are split depends on the sequence's lengths only, so that the same sums are formed with any number of
/// threads, and in a batch or a pack as alone.
constexpr bool host_splits_keys(index_t q_len, index_t k_len) {
  return q_len <= 256 && k_len >= host_fewest_split_keys;
}
/// Of these, so many queries have an engine of their own.
inline constexpr int host_decode_queries = 4;
constexpr int host_chunks(index_t k_len) { return static_cast<int>((k_len + host_chunk_keys - 1) / host_chunk_keys); }

/// The partial results in a call's workspace; one chunk: threads compute whole outputs.
template <class T>
struct HostSplit {
  int chunks   = 1;
  index_t rows = 0;  // of a chunk
  Tensor<T> out;     // of the first chunk (B, Hq, Lq, Dv)
  Tensor<T> lse;

  /// From an empty workspace, only its size is counted.
  template <Scalar ScalarType>
  HostSplit(WorkspaceCarver& carver, AttentionArguments<ScalarType> const& a) {
    if (a.packed() || !host_splits_keys(a.q_len, a.k_len)) return;
    chunks = host_chunks(a.k_len);
    rows   = index_t(a.batch) * a.q_heads * a.q_len;
    out    = {carver.take<T>(chunks * rows * a.value_dim),
              {a.q_heads * a.q_len * a.value_dim, a.q_len * a.value_dim, a.value_dim, 1}};
    lse    = {carver.take<T>(chunks * rows), {a.q_heads * a.q_len, a.q_len, 1, 0}};
  }

  KOKKOS_FORCEINLINE_FUNCTION Tensor<T> chunk_out(int chunk, int value_dim) const {
    return {out.data + chunk * rows * value_dim, {out.stride[0], out.stride[1], out.stride[2], out.stride[3]}};
  }
  KOKKOS_FORCEINLINE_FUNCTION Tensor<T> chunk_lse(int chunk) const {
    return {lse.data + chunk * rows, {lse.stride[0], lse.stride[1], lse.stride[2], lse.stride[3]}};
  }
};

}  // namespace KokkosAttention::Impl

#endif
