// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Backward.hpp"

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>

#include <array>

/// \file
/// Block-sparse masks.

namespace Test {

/// Flags on the device of rank 4, 3 or 2, where leading extents are 1.
template <int rank>
auto block_flags(HostTensor<bool> const& flags) {
  auto const device = to_device<Kokkos::LayoutRight>(flags);
  if constexpr (rank == 4)
    return device;
  else if constexpr (rank == 3)
    return Kokkos::subview(device, 0, Kokkos::ALL, Kokkos::ALL, Kokkos::ALL);
  else
    return Kokkos::subview(device, 0, 0, Kokkos::ALL, Kokkos::ALL);
}

HostTensor<bool> element_flags(HostTensor<bool> const& blocks, int query_block, int key_block, int q_len, int k_len) {
  HostTensor<bool> const flags("flags", blocks.extent(0), blocks.extent(1), q_len, k_len);
  for_each_index(flags.extent(0), flags.extent(1), q_len, k_len, [&](auto b, auto h, auto i, auto j) {
    std::size_t const y = i / query_block, x = j / key_block;
    flags(b, h, i, j) = y < blocks.extent(2) && x < blocks.extent(3) && blocks(b, h, y, x);
  });
  return flags;
}

template <int rank, class T>
void check_blocks(Random& random, HostTensor<bool> const& blocks, int query_block, int key_block) {
  auto const problem  = random_problem<T>(random, {2, 4, 2, 150, 270, 16, 12});
  auto masked         = problem;
  masked.options.mask = element_flags(blocks, query_block, key_block, 150, 270);
  KA::BlockSparseMask const mask(block_flags<rank>(blocks), query_block, key_block);
  auto const d_out = random_d_out(random, problem);
  // The same flags as an option give the same, beside another order of sums.
  auto const found = run_forward(problem, mask), expected = run_forward(masked);
  require_close(found.out, expected.out, 8 * epsilon<T>());
  require_close(found.lse, expected.lse, 8 * epsilon<KA::accumulation_t<T>>());
  auto const gradients = run_backward(problem, d_out, mask), expected_gradients = run_backward(masked, d_out);
  require_close(gradients.q, expected_gradients.q, 16 * epsilon<T>());
  require_close(gradients.k, expected_gradients.k, 16 * epsilon<T>());
  require_close(gradients.v, expected_gradients.v, 16 * epsilon<T>());
}

TEMPLATE_TEST_CASE("block-sparse masks of every rank and block size", "[blocks]", float, double,
                   KokkosAttention::bhalf_t) {
  Random random(501);
  auto const [query_block, key_block] =
      GENERATE(std::pair(64, 64), std::pair(16, 128), std::pair(50, 30), std::pair(1, 7), std::pair(1000, 90));
  CAPTURE(query_block, key_block);
  int const y = (150 + query_block - 1) / query_block, x = (270 + key_block - 1) / key_block;
  check_blocks<4, TestType>(random, random.flags(2, 4, y, x, 0.5), query_block, key_block);
  check_blocks<4, TestType>(random, random.flags(1, 4, y, x, 0.5), query_block, key_block);
  check_blocks<3, TestType>(random, random.flags(1, 4, y, x, 0.5), query_block, key_block);
  check_blocks<3, TestType>(random, random.flags(1, 1, y, x, 0.5), query_block, key_block);
  check_blocks<2, TestType>(random, random.flags(1, 1, y, x, 0.5), query_block, key_block);
}

TEST_CASE("what lies in no block is not attended to", "[blocks]") {
  Random random(502);
  check_blocks<2, float>(random, random.flags(1, 1, 1, 2, 1.), 64, 64);
}

TEST_CASE("flags for fewer heads than there are drop the others, and are not read past their end", "[blocks]") {
  Random random(504);
  auto const problem = random_problem<float>(random, {2, 4, 2, 70, 90, 8, 8});
  auto masked        = problem;
  auto const blocks  = random.flags(1, 2, 2, 2, 1.);
  HostTensor<bool> const flags("flags", 1, 4, 70, 90);
  for_each_index(1, 2, 70, 90, [&](auto... n) { flags(n...) = true; });
  masked.options.mask = flags;
  require_close(run_forward(problem, KA::BlockSparseMask(block_flags<3>(blocks), 64, 64)).out, run_forward(masked).out,
                8 * epsilon<float>());
}

TEST_CASE("dropped tiles are not even read, forward and backward", "[blocks]") {
  Random random(503);
  auto const problem = random_problem<float>(random, {1, 2, 2, 512, 1024, 16, 16});
  auto const d_out   = random_d_out(random, problem);
  // Blocks as large as the largest tile: queries 256 to 511 see no key, and keys 256 to 511 no query.
  HostTensor<bool> const blocks("blocks", 1, 1, 2, 4);
  for (int x : {0, 2, 3}) blocks(0, 0, 0, x) = true;
  KA::BlockSparseMask const mask(block_flags<2>(blocks), 256, 256);
  auto const expected           = run_forward(problem, mask);
  auto const expected_gradients = run_backward(problem, d_out, mask);
  for_each_index(1, 2, 256, 16, [&](auto b, auto h, auto n, auto d) {
    for (auto const& t : std::array{problem.k, problem.v, problem.q, d_out}) t(b, h, 256 + n, d) = poison<float>();
  });
  require_same_bits(run_forward(problem, mask).out, expected.out);
  require_same_bits(run_backward(problem, d_out, mask), expected_gradients);
}

TEST_CASE("block sizes below 1 are refused", "[blocks]") {
  Kokkos::View<bool**, MemorySpace> const flags("flags", 2, 2);
  REQUIRE_THROWS_MATCHES(KA::BlockSparseMask(flags, 0, 64), std::invalid_argument,
                         Catch::Matchers::Message("KokkosAttention::BlockSparseMask: block size: expected at least 1 "
                                                  "query by 1 key, found 0 by 64"));
}

}  // namespace Test
