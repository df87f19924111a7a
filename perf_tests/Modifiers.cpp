// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Timing.hpp"

#include <algorithm>

/// \file
/// Causal attention with each option, and with score functions as a user writes them, compiled into the kernels, beside
/// the plain call.

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

/// Its derivative needs the score.
struct Squared {
  float factor = 0.01f;

  KOKKOS_FUNCTION float operator()(float score, int, int, KA::index_t, KA::index_t) const {
    return score + factor * score * score;
  }
  KOKKOS_FUNCTION float derivative(float score, int, int, KA::index_t, KA::index_t) const {
    return 1 + 2 * factor * score;
  }
};

using T       = KA::bhalf_t;
using Options = KA::Options<T, Space::memory_space>;

Shape shape(KA::index_t head_dim) {
  return on_host ? Shape{1, 8, 8, 2048, 2048, head_dim, true}
                 : Shape{2, 2048 / head_dim, 2048 / head_dim, 8192, 8192, head_dim, true};
}

template <class... Functors>
void call(benchmark::State& state, bool backward, Shape const& s, Options options, Functors const&... functors) {
  options.causal = true;
  auto const of  = [&](std::uint64_t seed) { return random_tensor<T>(s.batch, s.heads, s.q_len, s.head_dim, seed); };
  auto const q = of(1), k = of(2), v = of(3), d_out = of(4), out = of(5), dq = of(6), dk = of(7), dv = of(8);
  Kokkos::View<float***, Kokkos::LayoutRight, Space::memory_space> const lse("lse", s.batch, s.heads, s.q_len);
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

/// Nine of ten are set.
struct FillFlags {
  Kokkos::Random_XorShift64_Pool<Space> pool;
  bool* data;

  KOKKOS_FUNCTION void operator()(KA::index_t e) const {
    auto generator = pool.get_state();
    data[e]        = generator.frand() < 0.9f;
    pool.free_state(generator);
  }
};

/// Views are made when the benchmark runs.
void set_none(Options&, Shape const&) {}
void set_softcap(Options& options, Shape const&) { options.softcap = 30; }
void set_alibi(Options& options, Shape const& s) {
  Kokkos::View<float*, Space::memory_space> const slopes("slopes", s.heads);
  Kokkos::deep_copy(slopes, 0.01f);
  options.alibi_slopes = slopes;
}
void set_bias(Options& options, Shape const& s) { options.bias = random_tensor<T>(1, s.heads, s.q_len, s.k_len, 9); }
void set_mask(Options& options, Shape const& s) {
  Tensor<bool> const mask("mask", 1, 1, s.q_len, s.k_len);
  Kokkos::parallel_for("Perf::set_mask", Kokkos::RangePolicy<Space, Kokkos::IndexType<KA::index_t>>(0, mask.size()),
                       FillFlags{Kokkos::Random_XorShift64_Pool<Space>(9), mask.data()});
  options.mask = mask;
}
void set_dropout(Options& options, Shape const&) { options.dropout = {.probability = 0.1, .seed = 1}; }

template <class... Functors>
void add(std::string const& name, void (*set)(Options&, Shape const&), Functors const&... functors) {
  for (bool const backward : {false, true})
    for (KA::index_t const head_dim : {64, 128, 256}) {
      Shape const s = shape(head_dim);
      benchmark::RegisterBenchmark(((backward ? "backward/" : "forward/") + name + "/" + s.name()).c_str(),
                                   [=](benchmark::State& state) {
                                     Options options;
                                     set(options, s);
                                     call(state, backward, s, options, functors...);
                                   })
          ->UseManualTime()
          ->Unit(benchmark::kMillisecond);
    }
}

bool const registered = [] {
  add("plain", set_none);
  add("option/softcap", set_softcap);
  add("option/bias", set_bias);
  add("option/alibi", set_alibi);
  add("option/mask", set_mask);
  add("option/dropout", set_dropout);
  add("functor/scaled", set_none, Scaled());
  add("functor/slope", set_none, Slope());
  add("functor/squared", set_none, Squared());
  return true;
}();

}  // namespace
}  // namespace Perf
