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
  DeviceTensor<float, Kokkos::LayoutRight> bias{"bias", 1, 4, 1, 40};
  DeviceTensor<float, Kokkos::LayoutRight> dq{"dq", 2, 4, 30, 8}, dk{"dk", 2, 4, 40, 8}, dv{"dv", 2, 4, 40, 8},
      dbias{"dbias", 1, 4, 1, 40};

  KA::Options<float, MemorySpace> options{.causal = true, .bias = bias, .dropout = {.probability = 0.1}};

  /// Both passes; the output serves as its gradient.
  void run(Space const& space) const {
    KA::forward(space, q, k, v, out, lse, options);
    KA::backward(space, out, q, k, v, out, lse, gradients(), options);
  }
  KA::Gradients<float, MemorySpace> gradients() const { return {.q = dq, .k = dk, .v = dv, .bias = dbias}; }
  void give_workspace() {
    options.workspace = Kokkos::View<std::byte*, MemorySpace>(
        "workspace", KA::workspace_size(Space(), out, q, k, v, out, lse, gradients(), options));
  }
};

TEST_CASE("both passes: our labels, the caller's instance, no allocation, no fence", "[tools]") {
  Arrays a;
  a.give_workspace();
  for (Space const& space : Kokkos::Experimental::partition_space(Space(), 1, 1)) {
    a.run(space);  // the first call may grow Kokkos' own scratch
    space.fence();
    Recorder const recorder;
    a.run(space);
    REQUIRE(recorder.seen_kernels().size() >= 4);  // forward, at least one for dq, dk and dv, dbias and its parts
    for (Event const& kernel : recorder.seen_kernels()) {
      INFO(kernel.label);
      REQUIRE(is_ours(kernel));
      REQUIRE(kernel.device == Kokkos::Tools::Experimental::device_id(space));
    }
    for (Event const& allocation : recorder.seen_allocations()) FAIL_CHECK("allocation: " << allocation.label);
    for (Event const& fence : recorder.seen_fences()) FAIL_CHECK("fence: " << fence.label);
  }
}

TEST_CASE("without a workspace backward labels the one that it allocates", "[tools]") {
  Arrays const a;
  Space const space;
  a.run(space);
  space.fence();
  Recorder const recorder;
  a.run(space);
  REQUIRE(recorder.seen_allocations().size() == 1);
  REQUIRE(recorder.seen_allocations()[0].label == "KokkosAttention::workspace");
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
  Arrays a, eager;
  a.give_workspace();
  Kokkos::Cuda const space = Kokkos::Experimental::partition_space(Kokkos::Cuda(), 1)[0];
  // Kokkos takes its team scratch from ten slots in turn, and gives each one memory on its first use.
  for (int n = 0; n < 20; ++n) a.run(space);
  space.fence();

  cudaGraph_t graph;
  cudaGraphExec_t executable;
  REQUIRE(cudaStreamBeginCapture(space.cuda_stream(), cudaStreamCaptureModeRelaxed) == cudaSuccess);
  a.run(space);
  REQUIRE(cudaStreamEndCapture(space.cuda_stream(), &graph) == cudaSuccess);
  REQUIRE(cudaGraphInstantiate(&executable, graph, 0) == cudaSuccess);

  Kokkos::Random_XorShift64_Pool<> const random(7);
  for (auto const& view : {a.q, a.k, a.v, a.bias}) Kokkos::fill_random(view, random, -1.f, 1.f);
  for (auto const& view : {a.out, a.dq, a.dk, a.dv, a.dbias}) Kokkos::deep_copy(view, poison<float>());
  eager.q            = a.q;
  eager.k            = a.k;
  eager.v            = a.v;
  eager.options.bias = a.bias;
  Kokkos::fence();
  REQUIRE(cudaGraphLaunch(executable, space.cuda_stream()) == cudaSuccess);
  space.fence();
  eager.run(space);
  space.fence();
  auto const require_same = [](auto const& found, auto const& expected) {
    auto const a_memory = memory_of(found), b_memory = memory_of(expected);
    for (std::size_t e = 0; e < b_memory.size(); ++e) REQUIRE(a_memory(e) == b_memory(e));
  };
  require_same(a.out, eager.out);
  require_same(a.dq, eager.dq);
  require_same(a.dk, eager.dk);
  require_same(a.dv, eager.dv);
  require_same(a.dbias, eager.dbias);
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
