// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Timing.hpp"

/// \file
/// Forward attention, in the shapes of the published tables: B L = 16384 tokens and H D = 2048 on devices, fewer heads
/// on hosts; many short sequences; one query against a long cache; and a sweep over the length, with the memory that
/// the scores would have taken.

namespace Perf {

template <class T>
void forward(benchmark::State& state, Shape const& s, bool with_bias) {
  auto const q   = random_tensor<T>(s.batch, s.heads, s.q_len, s.head_dim, 1);
  auto const k   = random_tensor<T>(s.batch, s.kv_heads, s.k_len, s.head_dim, 2);
  auto const v   = random_tensor<T>(s.batch, s.kv_heads, s.k_len, s.head_dim, 3);
  auto const out = Tensor<T>("out", s.batch, s.heads, s.q_len, s.head_dim);
  KA::Options<T, Space::memory_space> options{.causal = s.causal};
  if (with_bias) options.bias = random_tensor<T>(s.batch, 1, s.q_len, s.k_len, 4);
  Space const space;
  time_calls(state, [&] { KA::forward(space, q, k, v, out, options); });
  report(state, s.forward_flops(),
         double(q.size() + k.size() + v.size() + out.size() + options.bias.size()) * sizeof(T));
  state.counters["scores_bytes"]    = double(s.batch) * s.heads * s.q_len * s.k_len * sizeof(KA::accumulation_t<T>);
  state.counters["workspace_bytes"] = KA::workspace_size(space, q, k, v, out, options);
  state.SetLabel(KA::Impl::scalar_name<T>());
}

template <class T>
void add(std::string const& group, Shape const& shape, bool with_bias = false) {
  std::string const name = "forward/" + group + "/" + KA::Impl::scalar_name<T>() + "/" + shape.name();
  benchmark::RegisterBenchmark((name + (with_bias ? "/bias" : "")).c_str(), forward<T>, shape, with_bias)
      ->UseManualTime()
      ->Unit(benchmark::kMillisecond);
}

template <class T>
void add_all() {
  bool const on_host = KA::Impl::runs_on_host<Space>;
  // The published tables.
  for (KA::index_t const head_dim : {64, 128, 256}) {
    for (KA::index_t const length : {1024, 4096, 16384}) {
      if (on_host && length > 4096) continue;
      for (bool const causal : {false, true}) {
        if (on_host)
          add<T>("table", {2, 8, 8, length, length, head_dim, causal});
        else
          add<T>("table", {16384 / length, 2048 / head_dim, 2048 / head_dim, length, length, head_dim, causal});
      }
    }
  }
  if (on_host) add<T>("table", {2, 8, 8, 2048, 2048, 64, false});
  // Many short sequences.
  KA::index_t const few = on_host ? 16 : 1;
  for (bool const bias : {false, true}) {
    add<T>("short", {16384 / few, 8, 8, 32, 32, 32, false}, bias);
    add<T>("short", {4096 / few, 8, 8, 64, 64, 32, false}, bias);
    add<T>("short", {4096 / few, 8, 8, 128, 128, 64, false}, bias);
    add<T>("short", {512 / few, 8, 8, 256, 256, 64, false}, bias);
  }
  // One query against a long cache.
  if (on_host)
    add<T>("decode", {1, 32, 32, 1, 32768, 128, false});
  else
    add<T>("decode", {16, 32, 8, 1, 8192, 128, false});
  // Time and memory against the length.
  for (KA::index_t length = 256; length <= (on_host ? 8192 : 65536); length *= 2)
    add<T>("sweep", {1, 4, 4, length, length, 64, false});
}

bool const registered = [] {
  add_all<float>();
  add_all<double>();
  add_all<KA::bhalf_t>();
  add_all<KA::half_t>();
  return true;
}();

}  // namespace Perf
