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

}  // namespace Test
