// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Timing.hpp"

#include <algorithm>

/// \file
/// Causal attention with score functions as a user writes them, compiled into the kernels, beside the plain call.

namespace Perf {
namespace {

/// Multiplies scores.
struct Scaled {
  float factor = 1.1f;

  KOKKOS_FUNCTION float operator()(float score, int, int, KA::index_t, KA::index_t) const { return factor * score; }
  KOKKOS_FUNCTION float derivative(int, int, KA::index_t, KA::index_t) const { return factor; }
};

/// Subtracts a slope times the distance.
struct Slope {
  float slope = 0.01f;

  KOKKOS_FUNCTION float operator()(float score, int, int, KA::index_t i, KA::index_t j) const {
    return score - slope * static_cast<float>(static_cast<int>(i - j));
  }
  KOKKOS_FUNCTION float derivative(int, int, KA::index_t, KA::index_t) const { return 1; }
};

using T = KA::bhalf_t;

template <class... Functors>
void call(benchmark::State& state, bool backward, Functors const&... functors) {
  Shape const s = on_host ? Shape{1, 8, 8, 2048, 2048, 128, true} : Shape{2, 16, 16, 8192, 8192, 128, true};
  auto const of = [&](std::uint64_t seed) { return random_tensor<T>(s.batch, s.heads, s.q_len, s.head_dim, seed); };
  auto const q = of(1), k = of(2), v = of(3), d_out = of(4), out = of(5), dq = of(6), dk = of(7), dv = of(8);
  Kokkos::View<float***, Kokkos::LayoutRight, Space::memory_space> const lse("lse", s.batch, s.heads, s.q_len);
  KA::Options<T, Space::memory_space> options{.causal = true};
  KA::Gradients<T, Space::memory_space> const gradients{.q = dq, .k = dk, .v = dv};
  Space const space;
  options.workspace = Kokkos::View<std::byte*, Space::memory_space>(
      "workspace", std::max(KA::workspace_size(space, q, k, v, out, options, functors...),
                            KA::workspace_size(space, d_out, q, k, v, out, lse, gradients, options, functors...)));
  KA::forward(space, q, k, v, out, lse, options, functors...);
  time_calls(state, [&] {
    if (backward)
      KA::backward(space, d_out, q, k, v, out, lse, gradients, options, functors...);
    else
      KA::forward(space, q, k, v, out, lse, options, functors...);
  });
  report(state, (backward ? 2.5 : 1.) * s.forward_flops(), 0);
}

bool const registered = [] {
  auto const add = [](std::string const& name, auto const&... functors) {
    for (bool const backward : {false, true})
      benchmark::RegisterBenchmark(((backward ? "backward/functor/" : "forward/functor/") + name).c_str(),
                                   [=](benchmark::State& state) { call(state, backward, functors...); })
          ->UseManualTime()
          ->Unit(benchmark::kMillisecond);
  };
  add("none");
  add("scaled", Scaled());
  add("slope", Slope());
  return true;
}();

}  // namespace
}  // namespace Perf
