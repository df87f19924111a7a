// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_PERF_TIMING_HPP
#define KOKKOSATTENTION_PERF_TIMING_HPP

#include <KokkosAttention.hpp>

#include <benchmark/benchmark.h>

#include <Kokkos_Core.hpp>
#include <Kokkos_Random.hpp>

#include <sstream>
#include <string>
#include <vector>

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
    std::ostringstream text;
    text << 'B' << batch << "/H" << heads;
    if (kv_heads != heads) text << "/Hkv" << kv_heads;
    text << "/L" << q_len;
    if (k_len != q_len) text << 'x' << k_len;
    text << "/D" << head_dim << (causal ? "/causal" : "");
    return text.str();
  }
};

inline constexpr bool on_host = KA::Impl::runs_on_host<Space>;

/// The published tables: B L = 16384 tokens and H D = 2048 on devices, fewer heads on hosts.
inline std::vector<Shape> table_shapes() {
  std::vector<Shape> shapes;
  for (KA::index_t const head_dim : {64, 128, 256}) {
    for (KA::index_t const length : {1024, 4096, 16384}) {
      if (on_host && length > 4096) continue;
      for (bool const causal : {false, true}) {
        if (on_host)
          shapes.push_back({2, 8, 8, length, length, head_dim, causal});
        else
          shapes.push_back({16384 / length, 2048 / head_dim, 2048 / head_dim, length, length, head_dim, causal});
      }
    }
  }
  if (on_host)
    for (bool const causal : {false, true}) shapes.push_back({2, 8, 8, 2048, 2048, 64, causal});
  return shapes;
}

/// Many short sequences.
inline std::vector<Shape> short_shapes() {
  if (on_host)
    return {{1024, 8, 8, 32, 32, 32, false}, {1024, 8, 8, 64, 64, 32, false}, {512, 8, 8, 128, 128, 64, false}};
  return {{16384, 8, 8, 32, 32, 32, false},
          {4096, 8, 8, 64, 64, 32, false},
          {4096, 8, 8, 128, 128, 64, false},
          {512, 8, 8, 256, 256, 64, false}};
}

/// One query against a long cache.
inline Shape decode_shape() {
  return on_host ? Shape{1, 32, 32, 1, 32768, 128, false} : Shape{16, 32, 8, 1, 8192, 128, false};
}

/// Time and memory against the length.
inline std::vector<Shape> sweep_shapes() {
  std::vector<Shape> shapes;
  for (KA::index_t length = 256; length <= (on_host ? 8192 : 65536); length *= 2)
    shapes.push_back({1, 4, 4, length, length, 64, false});
  return shapes;
}

#if defined(KOKKOS_ENABLE_CUDA)
/// Between two events around what is enqueued, as PyTorch's calls are timed that these are compared with.
class Stopwatch {
  cudaStream_t m_stream = Space().cuda_stream();
  cudaEvent_t m_begin, m_end;

  static void check(cudaError_t error) {
    if (error != cudaSuccess) Kokkos::abort(cudaGetErrorString(error));
  }

 public:
  Stopwatch() {
    check(cudaEventCreate(&m_begin));
    check(cudaEventCreate(&m_end));
  }
  Stopwatch(Stopwatch const&) = delete;
  ~Stopwatch() {
    check(cudaEventDestroy(m_begin));
    check(cudaEventDestroy(m_end));
  }

  template <class Call>
  double seconds(Call const& call) const {
    check(cudaEventRecord(m_begin, m_stream));
    call();
    check(cudaEventRecord(m_end, m_stream));
    check(cudaEventSynchronize(m_end));
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, m_begin, m_end));
    return 1e-3 * milliseconds;
  }
};
#else
class Stopwatch {
 public:
  template <class Call>
  double seconds(Call const& call) const {
    Kokkos::Timer const timer;
    call();
    Kokkos::fence("Perf: after");
    return timer.seconds();
  }
};
#endif

/// A call starts when the one before has ended.
template <class Call>
void time_calls(benchmark::State& state, Call const& call) {
  call();  // warms caches up, and lets Kokkos grow its scratch
  Kokkos::fence("Perf: before");
  Stopwatch const stopwatch;
  for (auto _ : state) state.SetIterationTime(stopwatch.seconds(call));
}

inline void report(benchmark::State& state, double flops, double bytes) {
  using benchmark::Counter;
  state.counters["FLOP/s"]  = Counter(flops, Counter::kIsIterationInvariantRate);
  state.counters["bytes/s"] = Counter(bytes, Counter::kIsIterationInvariantRate);
}

}  // namespace Perf

#endif
