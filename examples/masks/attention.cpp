// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attention.hpp"

#include <Kokkos_Random.hpp>

#include <algorithm>
#include <string>

namespace {

float largest_difference(Tensor const& one, Tensor const& other) {
  float const *a = one.data(), *b = other.data();
  float const infinity = Kokkos::Experimental::infinity_v<float>;
  float largest        = 0.f;
  Kokkos::parallel_reduce(
      "largest difference", Kokkos::RangePolicy<Kokkos::IndexType<std::size_t>>(0, one.size()),
      KOKKOS_LAMBDA(std::size_t n, float& partial) {
        float const difference = Kokkos::abs(a[n] - b[n]);
        partial                = Kokkos::max(partial, Kokkos::isnan(difference) ? infinity : difference);
      },
      Kokkos::Max<float>(largest));
  return largest;
}

}  // namespace

Inputs random_inputs(int heads, int length, int head_dim, std::uint64_t seed) {
  auto const tensor = [&](std::string const& label) { return Tensor(label, 1, heads, length, head_dim); };
  Inputs const inputs{tensor("q"), tensor("k"), tensor("v"), tensor("d_out")};
  Kokkos::Random_XorShift64_Pool<> const random(seed);
  for (Tensor const& view : {inputs.q, inputs.k, inputs.v, inputs.d_out}) Kokkos::fill_random(view, random, -1.f, 1.f);
  return inputs;
}

Results make_results(Inputs const& inputs) {
  Tensor const& q   = inputs.q;
  auto const tensor = [&](std::string const& label) { return Tensor(label, 1, q.extent(1), q.extent(2), q.extent(3)); };
  return {.out = tensor("out"),
          .lse = decltype(Results::lse)("lse", 1, q.extent(1), q.extent(2)),
          .dq  = tensor("dq"),
          .dk  = tensor("dk"),
          .dv  = tensor("dv")};
}

double largest_difference(Results const& one, Results const& other) {
  return std::max({largest_difference(one.out, other.out), largest_difference(one.dq, other.dq),
                   largest_difference(one.dk, other.dk), largest_difference(one.dv, other.dv)});
}
