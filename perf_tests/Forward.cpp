// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Timing.hpp"

/// \file
/// Forward attention in the shapes of the published tables, in many short sequences with and without a bias, and of one
/// query against a long cache.

namespace Perf {
namespace {

template <class T>
void forward(benchmark::State& state, Shape const& s, bool with_bias) {
  auto const q   = random_tensor<T>(s.batch, s.heads, s.q_len, s.head_dim, 1);
  auto const k   = random_tensor<T>(s.batch, s.kv_heads, s.k_len, s.head_dim, 2);
  auto const v   = random_tensor<T>(s.batch, s.kv_heads, s.k_len, s.head_dim, 3);
  auto const out = Tensor<T>("out", s.batch, s.heads, s.q_len, s.head_dim);
  KA::Options<T, Space::memory_space> options{.causal = s.causal};
  if (with_bias) options.bias = random_tensor<T>(s.batch, 1, s.q_len, s.k_len, 4);
  Space const space;
  std::size_t const bytes = KA::workspace_size(space, q, k, v, out, options);
  options.workspace       = Kokkos::View<std::byte*, Space::memory_space>("workspace", bytes);
  time_calls(state, [&] { KA::forward(space, q, k, v, out, options); });
  report(state, s.forward_flops(),
         double(q.size() + k.size() + v.size() + out.size() + options.bias.size()) * sizeof(T));
  state.counters["scores_bytes"]    = double(s.batch) * s.heads * s.q_len * s.k_len * sizeof(KA::accumulation_t<T>);
  state.counters["workspace_bytes"] = bytes;
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
  for (Shape const& shape : table_shapes()) add<T>("table", shape);
  for (Shape const& shape : short_shapes())
    for (bool const bias : {false, true}) add<T>("short", shape, bias);
  add<T>("decode", decode_shape());
  for (Shape const& shape : sweep_shapes()) add<T>("sweep", shape);
}

bool const registered = [] {
  add_all<float>();
  add_all<double>();
  add_all<KA::bhalf_t>();
  add_all<KA::half_t>();
  return true;
}();

}  // namespace
}  // namespace Perf
