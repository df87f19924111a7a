// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include <KokkosAttention_PortableDelta.hpp>

#include "Random.hpp"
#include "Views.hpp"

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <cmath>
#include <utility>
#include <vector>

/// \file
/// rowsum(dO O), however the rows of both lie in memory.

namespace Test {

template <class T, class Gradient, class Out>
std::vector<KA::accumulation_t<T>> deltas(Gradient const& d_out, Out const& out) {
  using Accumulation = KA::accumulation_t<T>;
  auto const delta   = poisoned<Accumulation, Kokkos::LayoutRight>(out.extent(0), out.extent(1), out.extent(2), 1);
  KA::Impl::BackwardArguments<T> arguments = {};

  arguments.d_out     = KA::Impl::make_tensor<T const>(d_out);
  arguments.out       = KA::Impl::make_tensor<T const>(out);
  arguments.batch     = static_cast<int>(out.extent(0));
  arguments.q_heads   = static_cast<int>(out.extent(1));
  arguments.q_len     = static_cast<KA::index_t>(out.extent(2));
  arguments.value_dim = static_cast<int>(out.extent(3));
  KA::Impl::compute_delta(Space(), arguments,
                          KA::Impl::PutDelta<Accumulation>{KA::Impl::make_tensor<Accumulation>(delta)});
  Kokkos::fence();
  auto const memory = memory_of(delta);
  return std::vector<Accumulation>(memory.data(), memory.data() + memory.size());
}

/// As part of a larger array, whose rows begin one number further on.
template <class T>
auto shifted(HostTensor<T> const& t) {
  auto const columns = static_cast<int>(t.extent(3));
  HostTensor<T> const larger("larger", t.extent(0), t.extent(1), t.extent(2), columns + 8);
  auto const part = [&](auto const& of) {
    return Kokkos::subview(of, Kokkos::ALL, Kokkos::ALL, Kokkos::ALL, std::pair(1, 1 + columns));
  };
  Kokkos::deep_copy(part(larger), t);
  return part(to_device<Kokkos::LayoutRight>(larger));
}

TEMPLATE_TEST_CASE("rowsum(dO O) at any strides", "[delta]", double, float, KA::half_t, KA::bhalf_t) {
  using Accumulation = KA::accumulation_t<TestType>;
  int const dim      = GENERATE(1, 7, 8, 24, 33, 64, 128, 200, 256);
  CAPTURE(dim);
  Random random(601);
  // More rows than a team takes, and no multiple of them.
  auto const d_out = random.tensor<TestType>(3, 5, 137, dim), out = random.tensor<TestType>(3, 5, 137, dim);
  auto const dense_d_out = to_device<Kokkos::LayoutRight>(d_out), dense_out = to_device<Kokkos::LayoutRight>(out);
  auto const dense = deltas<TestType>(dense_d_out, dense_out);

  for (auto const& found :
       {dense, deltas<TestType>(dense_d_out, shifted(out)), deltas<TestType>(shifted(d_out), dense_out),
        deltas<TestType>(to_device<Kokkos::LayoutStride>(d_out), to_device<Kokkos::LayoutStride>(out)),
        deltas<TestType>(to_device<Kokkos::LayoutLeft>(d_out), to_device<Kokkos::LayoutLeft>(out))}) {
    if (!KA::Impl::runs_on_host<Space>) REQUIRE(found == dense);
    auto row  = found.begin();
    int wrong = 0;
    for_each_index(3, 5, 137, 1, [&](auto b, auto h, auto i, auto) {
      double sum = 0, magnitude = 0;
      for (int d = 0; d < dim; ++d) {
        double const term = static_cast<double>(d_out(b, h, i, d)) * static_cast<double>(out(b, h, i, d));
        sum += term;
        magnitude += std::abs(term);
      }
      double const bound = dim * magnitude * static_cast<double>(Kokkos::Experimental::epsilon_v<Accumulation>);
      wrong += !(std::abs(static_cast<double>(*row++) - sum) <= bound);
    });
    REQUIRE(wrong == 0);
  }
}

}  // namespace Test
