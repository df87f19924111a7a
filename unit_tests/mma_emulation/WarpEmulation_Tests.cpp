// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "WarpEmulation.hpp"

#include <KokkosAttention_MmaInstructions.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

/// \file
/// The emulation itself: what instructions give to which lane, and that it notices what a GPU would not tell of.

namespace Test {

namespace Impl = KokkosAttention::Impl;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;
using WarpEmulation::Member;
using WarpEmulation::Order;
using WarpEmulation::Violation;

template <class Kernel>
void require_violation(char const* message, Kernel const& kernel) {
  for (Order const order : {Order::in_turns, Order::first_ahead, Order::last_ahead})
    REQUIRE_THROWS_MATCHES(WarpEmulation::run({1, 2, 4096, order}, kernel), Violation,
                           MessageMatches(ContainsSubstring(message)));
}

float* take(Member const& member, int count) {
  return static_cast<float*>(member.team_scratch(0).get_shmem_aligned(count * sizeof(float), 16));
}

TEST_CASE("emulated lanes exchange values", "[emulation]") {
  std::vector<int> from(64), exchanged(64), all(64);
  WarpEmulation::run({3, 2, 0}, [&](Member const& member) {
    int const lane = Impl::warp_lane(), n = 32 * member.team_rank() + lane;
    from[n]      = Impl::value_of_lane(n, lane + 3);
    exchanged[n] = Impl::exchange_lanes(n, 5);
    all[n]       = Impl::any_lane(n == 40);
  });
  for (int n = 0; n < 64; ++n) {
    CAPTURE(n);
    REQUIRE(from[n] == n / 32 * 32 + (n + 3) % 32);
    REQUIRE(exchanged[n] == (n ^ 5));
    REQUIRE(all[n] == (n >= 32));
  }
}

TEST_CASE("emulated teams see each other's scratch after a barrier", "[emulation]") {
  Order const order = GENERATE(Order::in_turns, Order::first_ahead, Order::last_ahead);
  std::vector<float> found(128);
  WarpEmulation::run({1, 4, 1024, order}, [&](Member const& member) {
    int const n          = 32 * member.team_rank() + Impl::warp_lane();
    float* const scratch = take(member, 128);
    scratch[n]           = n;
    member.team_barrier();
    found[n] = scratch[127 - n];
  });
  for (int n = 0; n < 128; ++n) REQUIRE(found[n] == 127 - n);
}

TEST_CASE("emulated pairs of warps wait for each other only", "[emulation]") {
  Order const order = GENERATE(Order::in_turns, Order::first_ahead, Order::last_ahead);
  CAPTURE(int(order));
  std::vector<float> found(128);
  WarpEmulation::run({1, 4, 1024, order, {}}, [&](Member const& member) {
    int const warp = member.team_rank(), n = 32 * warp + Impl::warp_lane();
    float* const scratch = take(member, 128);
    if (warp % 2 == 1) member.team_barrier();
    scratch[n] = n;
    Impl::barrier_of_warps<2>(warp % 2);
    found[n] = scratch[(n + 64) % 128];
    if (warp % 2 == 0) member.team_barrier();
  });
  for (int n = 0; n < 128; ++n) REQUIRE(found[n] == (n + 64) % 128);
  require_violation("wait for different things", [](Member const& member) {
    if (member.team_rank() == 0) Impl::barrier_of_warps<2>(0);
  });
}

TEST_CASE("emulated matrices are stored as they are loaded", "[emulation]") {
  std::vector<std::uint16_t> stored(16 * 24, 0), loaded(16 * 24, 0);
  WarpEmulation::run({1, 1, 2048, Order::in_turns, {}}, [&](Member const& member) {
    auto* const from = reinterpret_cast<std::uint16_t*>(take(member, 16 * 24));
    auto* const to   = from + 16 * 24;
    int const lane   = Impl::warp_lane();
    for (int n = lane; n < 16 * 24; n += 32) {
      from[n] = static_cast<std::uint16_t>(n);
      to[n]   = 0;
    }
    Impl::warp_barrier();
    int const place = (lane % 8 + lane / 8 % 2 * 8) * 24 + lane / 16 * 8;
    unsigned numbers[4];
    Impl::load_matrices(numbers, from + place);
    Impl::store_matrices(numbers, to + place);
    Impl::warp_barrier();
    if (lane != 0) return;
    std::copy_n(from, 16 * 24, loaded.data());
    std::copy_n(to, 16 * 24, stored.data());
  });
  for (int n = 0; n < 16 * 24; ++n) REQUIRE(stored[n] == (n % 24 < 16 ? loaded[n] : 0));
}

TEST_CASE("emulated copies have not arrived before they are waited for", "[emulation]") {
  std::vector<float> const source(32, 3.f);
  auto const* const bytes = reinterpret_cast<std::byte const*>(source.data());
  std::vector<float> early(32), late(32);
  WarpEmulation::run({1, 1, 1024, Order::in_turns, {{bytes, bytes + 128}}}, [&](Member const& member) {
    int const lane       = Impl::warp_lane();
    float* const scratch = take(member, 32);
    Impl::copy_ahead<4>(scratch + lane, source.data() + lane, lane != 7);
    early[lane] = scratch[lane];
    Impl::wait_for_copies();
    late[lane] = scratch[lane];
  });
  for (int l = 0; l < 32; ++l) {
    REQUIRE(std::isnan(early[l]));
    REQUIRE(late[l] == (l == 7 ? 0.f : 3.f));
  }
}

TEST_CASE("emulated lanes must come to the same collective", "[emulation]") {
  require_violation("diverge", [](Member const&) {
    if (Impl::warp_lane() == 5)
      Impl::any_lane(true);
    else
      Impl::warp_barrier();
  });
  require_violation("diverge", [](Member const&) {
    if (Impl::warp_lane() < 16)
      Impl::exchange_lanes(1., 1);
    else
      Impl::exchange_lanes(1.f, 1);
  });
  require_violation("wait for different things", [](Member const&) {
    if (Impl::warp_lane() < 16) Impl::warp_barrier();
  });
  require_violation("wait for different things", [](Member const& member) {
    if (member.team_rank() == 0) member.team_barrier();
  });
  require_violation("wait for different things", [](Member const& member) {
    if (Impl::warp_lane() == 31)
      member.team_barrier();
    else
      Impl::warp_barrier();
  });
}

TEST_CASE("emulated accesses must be aligned and inside of arrays", "[emulation]") {
  static float const outside[32] = {};
  require_violation("source is in none of the arrays",
                    [](Member const& member) { Impl::copy_ahead<4>(take(member, 32), outside, true); });
  require_violation("target is not in the scratch",
                    [](Member const& member) { Impl::copy_ahead<16>(take(member, 32) + 32, outside, false); });
  require_violation("target is not aligned",
                    [](Member const& member) { Impl::copy_ahead<16>(take(member, 32) + 1, outside, false); });
  require_violation("source is not aligned", [](Member const& member) {
    Impl::copy_ahead<8>(take(member, 32), reinterpret_cast<std::byte const*>(outside) + 4, false);
  });
  require_violation("two copies to one place",
                    [](Member const& member) { Impl::copy_ahead<4>(take(member, 32), outside, false); });
  require_violation("a matrix's row is not aligned", [](Member const& member) {
    unsigned numbers[4];
    Impl::load_matrices(numbers, take(member, 32) + 2);
  });
  require_violation("more scratch is taken", [](Member const& member) { take(member, 1025); });
  require_violation("beside the scratch", [](Member const& member) { take(member, 32)[32] = 1; });
  require_violation("level 0 only", [](Member const& member) { member.team_scratch(1); });
}

}  // namespace Test
