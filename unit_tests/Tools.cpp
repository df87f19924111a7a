// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Views.hpp"

#include <catch2/catch_test_macros.hpp>

#include <Kokkos_Core.hpp>
#include <Kokkos_Random.hpp>

#include <string>
#include <vector>

/// \file
/// What Kokkos Tools see of a call: labels, the instance that kernels run on, allocations and fences.

namespace Test {

struct Event {
  std::string label;
  std::uint32_t device = 0;
};

/// What happened between construction and destruction.
class Recorder {
  static inline std::vector<Event> kernels, allocations, fences;

  static void kernel(char const* label, std::uint32_t device, std::uint64_t*) { kernels.push_back({label, device}); }
  static void allocation(Kokkos::Tools::SpaceHandle, char const* label, void const*, std::uint64_t) {
    // Kokkos' own scratch may grow, and is asked for even where none is needed.
    if (!std::string_view(label).starts_with("Kokkos::")) allocations.push_back({label});
  }
  static void fence(char const* label, std::uint32_t device, std::uint64_t*) {
    // Kokkos itself fences around the callbacks of a tool.
    if (std::string_view(label).find("Kokkos Profile Tool Fence") == std::string_view::npos)
      fences.push_back({label, device});
  }

 public:
  Recorder() {
    kernels.clear();
    allocations.clear();
    fences.clear();
    namespace Callbacks = Kokkos::Tools::Experimental;
    Callbacks::set_begin_parallel_for_callback(kernel);
    Callbacks::set_begin_parallel_reduce_callback(kernel);
    Callbacks::set_begin_parallel_scan_callback(kernel);
    Callbacks::set_allocate_data_callback(allocation);
    Callbacks::set_begin_fence_callback(fence);
  }
  ~Recorder() { Kokkos::Tools::Experimental::pause_tools(); }

  std::vector<Event> const& seen_kernels() const { return kernels; }
  std::vector<Event> const& seen_allocations() const { return allocations; }
  std::vector<Event> const& seen_fences() const { return fences; }
};

bool is_ours(Event const& event) { return event.label.starts_with("KokkosAttention::"); }

struct Arrays {
  DeviceTensor<float, Kokkos::LayoutRight> q{"q", 2, 4, 30, 8}, k{"k", 2, 4, 40, 8}, v{"v", 2, 4, 40, 8},
      out{"out", 2, 4, 30, 8};
  Kokkos::View<float***, MemorySpace> lse{"lse", 2, 4, 30};
};

TEST_CASE("forward: our labels, the caller's instance, no allocation, no fence", "[tools]") {
  Arrays const a;
  for (Space const& space : Kokkos::Experimental::partition_space(Space(), 1, 1)) {
    KA::forward(space, a.q, a.k, a.v, a.out, a.lse, {.causal = true});  // the first call may grow Kokkos' own scratch
    space.fence();
    Recorder const recorder;
    KA::forward(space, a.q, a.k, a.v, a.out, a.lse, {.causal = true});
    REQUIRE(!recorder.seen_kernels().empty());
    for (Event const& kernel : recorder.seen_kernels()) {
      INFO(kernel.label);
      REQUIRE(is_ours(kernel));
      REQUIRE(kernel.device == Kokkos::Tools::Experimental::device_id(space));
    }
    for (Event const& allocation : recorder.seen_allocations()) FAIL_CHECK("allocation: " << allocation.label);
    for (Event const& fence : recorder.seen_fences()) FAIL_CHECK("fence: " << fence.label);
  }
}

#if defined(KOKKOS_ENABLE_CUDA)
TEST_CASE("a call returns while kernels run, on its own instance and others", "[tools]") {
  auto const spaces = Kokkos::Experimental::partition_space(Kokkos::Cuda(), 1, 1);
  // A pass of this size takes tens of milliseconds.
  DeviceTensor<double, Kokkos::LayoutRight> const large("large", 4, 32, 2048, 64), result("result", 4, 32, 2048, 64);
  Arrays const a;
  for (auto const& space : spaces) KA::forward(space, a.q, a.k, a.v, a.out);
  Kokkos::fence();
  KA::forward(spaces[0], large, large, large, result);
  for (int n = 0; n < 3; ++n) KA::forward(spaces[1], a.q, a.k, a.v, a.out);
  KA::forward(spaces[0], a.q, a.k, a.v, a.out);
  bool const still_running = cudaStreamQuery(spaces[0].cuda_stream()) == cudaErrorNotReady;
  Kokkos::fence();
  REQUIRE(still_running);
}

TEST_CASE("a call can be captured in a graph and replayed on new inputs", "[tools]") {
  Arrays const a, eager;
  Kokkos::Cuda const space = Kokkos::Experimental::partition_space(Kokkos::Cuda(), 1)[0];
  // Kokkos takes its team scratch from ten slots in turn, and gives each one memory on its first use.
  for (int n = 0; n < 20; ++n) KA::forward(space, a.q, a.k, a.v, a.out, a.lse, {.causal = true});
  space.fence();

  cudaGraph_t graph;
  cudaGraphExec_t executable;
  REQUIRE(cudaStreamBeginCapture(space.cuda_stream(), cudaStreamCaptureModeRelaxed) == cudaSuccess);
  KA::forward(space, a.q, a.k, a.v, a.out, a.lse, {.causal = true});
  REQUIRE(cudaStreamEndCapture(space.cuda_stream(), &graph) == cudaSuccess);
  REQUIRE(cudaGraphInstantiate(&executable, graph, 0) == cudaSuccess);

  Kokkos::Random_XorShift64_Pool<> const random(7);
  for (auto const& view : {a.q, a.k, a.v}) Kokkos::fill_random(view, random, -1.f, 1.f);
  Kokkos::deep_copy(a.out, poison<float>());
  Kokkos::fence();
  REQUIRE(cudaGraphLaunch(executable, space.cuda_stream()) == cudaSuccess);
  space.fence();
  KA::forward(space, a.q, a.k, a.v, eager.out, eager.lse, {.causal = true});
  space.fence();
  auto const replayed = memory_of(a.out), expected = memory_of(eager.out);
  for (std::size_t e = 0; e < expected.size(); ++e) REQUIRE(replayed(e) == expected(e));
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
}
#endif

TEST_CASE("the module labels its kernels and allocations", "[tools]") {
  Arrays const a;
  Space const space;
  KA::FlashAttention const attention({.flash = false});
  Recorder const recorder;
  attention(space, a.q, a.k, a.v, attention.get_mask(space, 30, 40));
  REQUIRE(recorder.seen_kernels().size() >= 3);
  for (Event const& kernel : recorder.seen_kernels()) {
    INFO(kernel.label);
    // Kokkos Kernels label their own kernels.
    REQUIRE((is_ours(kernel) || kernel.label.find("KokkosBlas") != std::string::npos));
  }
  REQUIRE(recorder.seen_allocations().size() >= 3);  // mask, workspace, output
  for (Event const& allocation : recorder.seen_allocations()) {
    INFO(allocation.label);
    REQUIRE(is_ours(allocation));
  }
}

}  // namespace Test
