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
  KA::Impl::PortableTile const tile =
      KA::Impl::PortableInstance<Space, float>::tile(KA::Impl::make_attention_arguments(q, k, v, {}));
  INFO(text);
  REQUIRE_THAT(text, ContainsSubstring("forward of float on " + std::string(Space::name())));
  REQUIRE_THAT(text, ContainsSubstring("q (2, 4, 30, 8), k (2, 2, 40, 8), v (2, 2, 40, 6)"));
  REQUIRE_THAT(text, ContainsSubstring("engine: portable"));
  REQUIRE_THAT(text, ContainsSubstring("tile: " + std::to_string(tile.queries) + " queries by " +
                                       std::to_string(tile.keys) + " keys"));
  REQUIRE_THAT(text, ContainsSubstring("scratch " + std::to_string(tile.scratch_bytes) + " bytes a team"));
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
  std::string const all = text({.q = q, .k = k, .v = v, .bias = bias});
  INFO(all);
  REQUIRE_THAT(all, ContainsSubstring("backward of float on " + std::string(Space::name())));
  for (char const* part : {"engine: portable", "dq tile: ", "dk and dv tile: ", "dbias tile: ", "deterministic: yes\n"})
    REQUIRE_THAT(all, ContainsSubstring(part));
  REQUIRE_THAT(all, ContainsSubstring(
                        "workspace: " +
                        std::to_string(KA::workspace_size(space, out, q, k, v, out, lse,
                                                          {.q = q, .k = k, .v = v, .bias = bias}, {.bias = bias})) +
                        " bytes"));
  REQUIRE_THAT(text({.q = q}), !ContainsSubstring("dk and dv tile"));
  REQUIRE_THAT(text({.q = q}, false), ContainsSubstring("deterministic: yes, though not asked for"));
}

TEST_CASE("describe tells of packed sequences", "[describe]") {
  DeviceTensor<float, Kokkos::LayoutRight> const q("q", 1, 4, 30, 8);
  Kokkos::View<KA::index_t*, MemorySpace> const offsets("offsets", 4);
  REQUIRE_THAT(KA::describe(Space(), q, q, q, q, {.q_offsets = offsets, .k_offsets = offsets}),
               Catch::Matchers::ContainsSubstring(", 3 packed sequences"));
}

}  // namespace Test
