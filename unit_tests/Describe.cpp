// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Views.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

namespace Test {

TEST_CASE("describe tells engine, tile and memory", "[describe]") {
  using Catch::Matchers::ContainsSubstring;
  DeviceTensor<float, Kokkos::LayoutRight> const q("q", 2, 4, 30, 8), k("k", 2, 2, 40, 8), v("v", 2, 2, 40, 6),
      out("out", 2, 4, 30, 6);
  Space const space;
  std::string const text = KA::describe(space, q, k, v, out, {.causal = true});
  INFO(text);
  REQUIRE_THAT(text, ContainsSubstring("forward of float on " + std::string(Space::name())));
  REQUIRE_THAT(text, ContainsSubstring("q (2, 4, 30, 8), k (2, 2, 40, 8), v (2, 2, 40, 6)"));
  auto const arguments = KA::Impl::make_attention_arguments(q, k, v, {});
  if (auto const* const host = KA::Impl::host_kernels_for<Space>(arguments); host != nullptr) {
    KA::Impl::HostTile const tile = host->of<float>().forward_tile(arguments, space.concurrency());
    REQUIRE_THAT(text, ContainsSubstring(std::string("engine: host, variant ") + host->name));
    REQUIRE_THAT(text, ContainsSubstring("tile: " + std::to_string(tile.queries) + " queries by " +
                                         std::to_string(tile.keys) + " keys"));
  } else {
    auto const require_tile = [&](char const* engine, auto const& tile) {
      REQUIRE_THAT(text, ContainsSubstring(std::string("engine: ") + engine));
      REQUIRE_THAT(text, ContainsSubstring("tile: " + std::to_string(tile.queries) + " queries by " +
                                           std::to_string(tile.keys) + " keys"));
      REQUIRE_THAT(text, ContainsSubstring("scratch " + std::to_string(tile.scratch_bytes) + " bytes a team"));
    };
    auto const forward = KA::Impl::make_forward_arguments(q, k, v, out, KA::Impl::NoLse{}, {});
    if (KA::Impl::MmaForwardTiles const tiles = KA::Impl::mma_tiles(space, forward); tiles.count > 0)
      require_tile("mma", tiles.tile[0]);
    else
      require_tile("portable", KA::Impl::PortableInstance<Space, float>::tile(arguments));
  }
  REQUIRE_THAT(text,
               ContainsSubstring("workspace: " + std::to_string(KA::workspace_size(space, q, k, v, out)) + " bytes"));
  REQUIRE_THAT(text, ContainsSubstring("faster engines: "));
}

TEST_CASE("describe tells the same of the backward pass", "[describe]") {
  using Catch::Matchers::ContainsSubstring;
  DeviceTensor<float, Kokkos::LayoutRight> const q("q", 2, 4, 30, 8), k("k", 2, 2, 40, 8), v("v", 2, 2, 40, 6),
      out("out", 2, 4, 30, 6), bias("bias", 1, 1, 30, 40);
  Kokkos::View<float***, MemorySpace> const lse("lse", 2, 4, 30);
  Space const space;
  auto const text = [&](KA::Gradients<float, MemorySpace> const& gradients, bool deterministic = true) {
    return KA::describe(space, out, q, k, v, out, lse, gradients, {.bias = bias, .deterministic = deterministic});
  };
  DeviceTensor<float, Kokkos::LayoutRight> const dq("dq", 2, 4, 30, 8), dk("dk", 2, 2, 40, 8), dv("dv", 2, 2, 40, 6),
      dbias("dbias", 1, 1, 30, 40);
  KA::Gradients<float, MemorySpace> const gradients{.q = dq, .k = dk, .v = dv, .bias = dbias};
  std::string const all = text(gradients);
  INFO(all);
  REQUIRE_THAT(all, ContainsSubstring("backward of float on " + std::string(Space::name())));
  auto const arguments = KA::Impl::make_attention_arguments(q, k, v, {});
  bool const on_host   = KA::Impl::host_kernels_for<Space>(arguments) != nullptr,
             mma       = KA::Impl::mma_tiles(space, KA::Impl::make_forward_arguments(q, k, v, out, lse, {})).count > 0;
  REQUIRE_THAT(all, ContainsSubstring(on_host ? "engine: host" : mma ? "engine: mma" : "engine: portable"));
  for (char const* part : {"dbias tile: ", "deterministic: yes\n"}) REQUIRE_THAT(all, ContainsSubstring(part));
  // A host's threads compute them together where there are enough sequences for all threads.
  if (all.find("dq, dk and dv tile: ") == std::string::npos)
    for (char const* part : {"dq tile: ", "dk and dv tile: "}) REQUIRE_THAT(all, ContainsSubstring(part));
  REQUIRE_THAT(all, ContainsSubstring(
                        "workspace: " +
                        std::to_string(KA::workspace_size(space, out, q, k, v, out, lse, gradients, {.bias = bias})) +
                        " bytes"));
  REQUIRE_THAT(text({.q = dq}), ContainsSubstring("dq tile: ") && !ContainsSubstring("dk and dv tile"));
  REQUIRE_THAT(text({.q = dq}, false), ContainsSubstring("deterministic: yes, though not asked for"));
}

TEST_CASE("describe tells of split keys, and workspace_size of their partial outputs", "[describe]") {
  using Catch::Matchers::ContainsSubstring;
  Space const space;
  DeviceTensor<float, Kokkos::LayoutRight> const q("q", 2, 4, 3, 8), k("k", 2, 2, 5000, 8), out("out", 2, 4, 3, 8);
  if (KA::Impl::host_kernels_for<Space>(KA::Impl::make_attention_arguments(q, k, k, {})) == nullptr) return;
  REQUIRE_THAT(KA::describe(space, q, k, k, out), ContainsSubstring("keys split into 5 chunks of 1024\n"));
  std::size_t const numbers = 5 * 2 * 4 * 3 * (8 + 1), bytes = KA::workspace_size(space, q, k, k, out);
  REQUIRE(bytes >= numbers * sizeof(float));
  REQUIRE(bytes <= numbers * sizeof(float) + 1024);
  REQUIRE(KA::workspace_size(space, k, k, k, k) == 0);
}

TEST_CASE("describe tells of keys that are packed once, and workspace_size of their room", "[describe]") {
  Space const space;
  DeviceTensor<KA::bhalf_t, Kokkos::LayoutRight> const q("q", 2, 4, 1024, 40), k("k", 2, 2, 300, 40),
      few("few", 2, 4, 1023, 40);
  KA::Impl::HostKernels const* const host =
      KA::Impl::host_kernels_for<Space>(KA::Impl::make_attention_arguments(q, k, k, {}));
  if (host == nullptr) return;
  auto const told = [&](auto const& queries) {
    return KA::describe(space, queries, k, k, queries).find("keys and values packed once") != std::string::npos;
  };
  // Only variants that compute with pairs pack them.
  bool const pairs = host->of_bhalf != nullptr && host->base != nullptr;
  REQUIRE(told(q) == pairs);
  REQUIRE_FALSE(told(few));
  REQUIRE((KA::workspace_size(space, q, k, k, q) >= 2 * k.size() * sizeof(KA::bhalf_t)) == pairs);
  REQUIRE(KA::workspace_size(space, few, k, k, few) == 0);
}

TEST_CASE("describe tells of gradients that threads add to in turns, and workspace_size of their sums", "[describe]") {
  Space const space;
  DeviceTensor<float, Kokkos::LayoutRight> const any("any", 1, 2, 30, 8);
  if (KA::Impl::host_kernels_for<Space>(KA::Impl::make_attention_arguments(any, any, any, {})) == nullptr) return;
  int const threads = space.concurrency(), few = (threads + 3) / 4;
  auto const in_turns = [&](int batch, int k_len) {
    DeviceTensor<float, Kokkos::LayoutRight> const q("q", batch, 2, 30, 8), k("k", batch, 1, k_len, 8),
        dq("dq", batch, 2, 30, 8), dk("dk", batch, 1, k_len, 8), dv("dv", batch, 1, k_len, 8);
    Kokkos::View<float***, MemorySpace> const lse("lse", batch, 2, 30);
    KA::Gradients<float, MemorySpace> const gradients{.q = dq, .k = dk, .v = dv};
    std::string const text    = KA::describe(space, q, q, k, k, q, lse, gradients);
    bool const found          = text.find("threads add to dq in turns\n") != std::string::npos;
    std::size_t const numbers = std::size_t(batch) * 2 * 30 * 8;
    REQUIRE((KA::workspace_size(space, q, q, k, k, q, lse, gradients) >= numbers * sizeof(float)) == found);
    return found;
  };
  REQUIRE(in_turns(few, 300) == (threads > 1));
  REQUIRE(in_turns(8 * threads - 1, 300) == (threads > 1));
  REQUIRE_FALSE(in_turns(8 * threads, 300));  // a thread computes whole sequences
  REQUIRE_FALSE(in_turns(few, 50));           // there is one tile of keys

  auto const packed_in_turns = [&](int heads) {
    DeviceTensor<float, Kokkos::LayoutRight> const q("q", 1, heads, 30, 8), k("k", 1, heads, 50, 8),
        dq("dq", 1, heads, 30, 8), dk("dk", 1, heads, 50, 8), dv("dv", 1, heads, 50, 8);
    Kokkos::View<float***, MemorySpace> const lse("lse", 1, heads, 30);
    Kokkos::View<KA::index_t*, MemorySpace> const offsets("offsets", 3);  // two sequences
    KA::Options<float, MemorySpace> const options{.q_offsets = offsets, .k_offsets = offsets};
    return KA::describe(space, q, q, k, k, q, lse, {.q = dq, .k = dk, .v = dv}, options)
               .find("threads add to dq in turns\n") != std::string::npos;
  };
  REQUIRE(packed_in_turns(few) == (threads > 1));
  REQUIRE_FALSE(packed_in_turns(2 * threads));
  if (few > 1) REQUIRE_FALSE(packed_in_turns(few - 1));
}

TEST_CASE("describe tells of packed sequences", "[describe]") {
  DeviceTensor<float, Kokkos::LayoutRight> const q("q", 1, 4, 30, 8);
  Kokkos::View<KA::index_t*, MemorySpace> const offsets("offsets", 4);
  REQUIRE_THAT(KA::describe(Space(), q, q, q, q, {.q_offsets = offsets, .k_offsets = offsets}),
               Catch::Matchers::ContainsSubstring(", 3 packed sequences"));
}

}  // namespace Test
