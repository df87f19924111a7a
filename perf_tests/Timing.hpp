// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_PERF_TIMING_HPP
#define KOKKOSATTENTION_PERF_TIMING_HPP

#include <KokkosAttention.hpp>

#include <benchmark/benchmark.h>

#include <Kokkos_Core.hpp>
#include <Kokkos_Random.hpp>

#include <string>

/// \file
/// What performance tests share: random arrays, manual timing, FLOP counts.

namespace Perf {

namespace KA = KokkosAttention;

using Space = Kokkos::DefaultExecutionSpace;
template <class T>
using Tensor = Kokkos::View<T****, Kokkos::LayoutRight, Space::memory_space>;

/// Uniform in [-sqrt(3), sqrt(3)]: variance 1, as normalised activations have.
template <class T>
struct FillRandom {
  Kokkos::Random_XorShift64_Pool<Space> pool;
  T* data;

  KOKKOS_FUNCTION void operator()(KA::index_t e) const {
    auto generator = pool.get_state();
    data[e]        = static_cast<T>(generator.frand(-1.7320508f, 1.7320508f));
    pool.free_state(generator);
  }
};

template <class T>
Tensor<T> random_tensor(KA::index_t b, KA::index_t h, KA::index_t l, KA::index_t d, std::uint64_t seed) {
  Tensor<T> const tensor(Kokkos::view_alloc(Kokkos::WithoutInitializing, "random"), b, h, l, d);
  Kokkos::parallel_for("Perf::random_tensor",
                       Kokkos::RangePolicy<Space, Kokkos::IndexType<KA::index_t>>(0, tensor.size()),
                       FillRandom<T>{Kokkos::Random_XorShift64_Pool<Space>(seed), tensor.data()});
  return tensor;
}

struct Shape {
  KA::index_t batch, heads, kv_heads, q_len, k_len, head_dim;
  bool causal;

  /// Counted as the FlashAttention papers do: 4 B H Lq Lk D, halved when causal.
  double forward_flops() const { return 4. * batch * heads * q_len * double(k_len) * head_dim * (causal ? 0.5 : 1.); }
  std::string name() const {
    std::string text = "B" + std::to_string(batch) + "/H" + std::to_string(heads);
    if (kv_heads != heads) text += "/Hkv" + std::to_string(kv_heads);
    text += "/L" + std::to_string(q_len);
    if (k_len != q_len) text += "x" + std::to_string(k_len);
    return text + "/D" + std::to_string(head_dim) + (causal ? "/causal" : "");
  }
};

/// One iteration a call: fence, start, call, fence, stop.
template <class Call>
void time_calls(benchmark::State& state, Call const& call) {
  call();  // warms caches up, and lets Kokkos grow its scratch
  for (auto _ : state) {
    Kokkos::fence("Perf: before");
    Kokkos::Timer const timer;
    call();
    Kokkos::fence("Perf: after");
    state.SetIterationTime(timer.seconds());
  }
}

inline void report(benchmark::State& state, double flops, double bytes) {
  using benchmark::Counter;
  state.counters["FLOP/s"]  = Counter(flops, Counter::kIsIterationInvariantRate);
  state.counters["bytes/s"] = Counter(bytes, Counter::kIsIterationInvariantRate);
}

}  // namespace Perf

#endif
