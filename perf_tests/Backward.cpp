// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Timing.hpp"

/// \file
/// Backward attention in the shapes of the published tables and in many short sequences, with and without the gradient
/// of a bias, deterministic or not.

namespace Perf {
namespace {

enum class Bias { none, given, with_gradient };

template <class T>
void backward(benchmark::State& state, Shape const& s, Bias bias, bool deterministic) {
  using Accumulation = KA::accumulation_t<T>;
  auto const q       = random_tensor<T>(s.batch, s.heads, s.q_len, s.head_dim, 1);
  auto const k       = random_tensor<T>(s.batch, s.kv_heads, s.k_len, s.head_dim, 2);
  auto const v       = random_tensor<T>(s.batch, s.kv_heads, s.k_len, s.head_dim, 3);
  auto const d_out   = random_tensor<T>(s.batch, s.heads, s.q_len, s.head_dim, 4);
  auto const like    = [](Tensor<T> const& t) {
    return Tensor<T>("gradient", t.extent(0), t.extent(1), t.extent(2), t.extent(3));
  };
  auto const out = like(d_out), dq = like(q), dk = like(k), dv = like(v);
  Kokkos::View<Accumulation***, Kokkos::LayoutRight, Space::memory_space> const lse("lse", s.batch, s.heads, s.q_len);
  KA::Options<T, Space::memory_space> options{.causal = s.causal, .deterministic = deterministic};
  KA::Gradients<T, Space::memory_space> gradients{.q = dq, .k = dk, .v = dv};
  if (bias != Bias::none) {
    auto const values = random_tensor<T>(s.batch, 1, s.q_len, s.k_len, 5);
    options.bias      = values;
    if (bias == Bias::with_gradient) gradients.bias = like(values);
  }
  Space const space;
  KA::forward(space, q, k, v, out, lse, options);
  std::size_t const bytes = KA::workspace_size(space, d_out, q, k, v, out, lse, gradients, options);
  options.workspace       = Kokkos::View<std::byte*, Space::memory_space>("workspace", bytes);
  time_calls(state, [&] { KA::backward(space, d_out, q, k, v, out, lse, gradients, options); });
  // 2.5 times the forward pass: five products instead of two.
  report(state, 2.5 * s.forward_flops(),
         double(2 * (q.size() + k.size() + v.size() + out.size()) + options.bias.size() + gradients.bias.size()) *
             sizeof(T));
  state.counters["scores_bytes"]    = double(s.batch) * s.heads * s.q_len * s.k_len * sizeof(Accumulation);
  state.counters["workspace_bytes"] = bytes;
  state.SetLabel(KA::Impl::scalar_name<T>());
}

template <class T>
void add(std::string const& group, Shape const& shape, Bias bias = Bias::none, bool deterministic = true) {
  std::string name = "backward/" + group + "/" + KA::Impl::scalar_name<T>() + "/" + shape.name();
  if (bias != Bias::none) name += "/bias";
  if (bias == Bias::with_gradient) name += "/dbias";
  if (!deterministic) name += "/any_order";
  benchmark::RegisterBenchmark(name.c_str(), backward<T>, shape, bias, deterministic)
      ->UseManualTime()
      ->Unit(benchmark::kMillisecond);
}

template <class T>
void add_all() {
  for (Shape const& shape : table_shapes()) {
    add<T>("table", shape);
    add<T>("table", shape, Bias::none, false);
  }
  for (Shape const& shape : short_shapes())
    for (Bias const bias : {Bias::none, Bias::given, Bias::with_gradient})
      for (bool const deterministic : {true, false}) add<T>("short", shape, bias, deterministic);
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
