// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include <Kokkos_Core.hpp>

#include <catch2/catch_test_macros.hpp>

/// \file
/// Some pairs of Kokkos and nvcc lay Views out differently on host and device; a functor's members behind a View are
/// then read wrongly, without an error. Tells whether this build is affected.

namespace Test {

template <class View>
struct Carrier {
  View view;
  int number;
  Kokkos::View<int, Kokkos::DefaultExecutionSpace::memory_space> found;

  KOKKOS_FUNCTION void operator()(int) const { found() = number; }
};

template <class View>
int number_behind(View const& view) {
  Kokkos::View<int, Kokkos::DefaultExecutionSpace::memory_space> const found("found");
  Kokkos::parallel_for("Test::number_behind", 1, Carrier<View>{view, 4711, found});
  int result = 0;
  Kokkos::deep_copy(result, found);
  return result;
}

TEST_CASE("Views have one layout on host and device", "[views]") {
  REQUIRE(number_behind(Kokkos::View<float*>("rank 1", 3)) == 4711);
  REQUIRE(number_behind(Kokkos::View<float**>("rank 2", 3, 3)) == 4711);
  REQUIRE(number_behind(Kokkos::View<float****>("rank 4", 3, 3, 3, 3)) == 4711);
  REQUIRE(number_behind(Kokkos::View<float****, Kokkos::LayoutStride>(
              "strided", Kokkos::LayoutStride(2, 1, 2, 2, 2, 4, 2, 8))) == 4711);
}

}  // namespace Test
