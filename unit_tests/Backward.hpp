// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_TEST_BACKWARD_HPP
#define KOKKOSATTENTION_TEST_BACKWARD_HPP

#include "Forward.hpp"
#include "GradientReference.hpp"

#include <array>

/// \file
/// Running a host problem forward and backward on the device, and checking the gradients that come back.

namespace Test {

template <class T>
HostTensor<T> random_d_out(Random& random, Problem<T> const& p) {
  return random.tensor<T>(p.batch(), p.heads(), p.q_len(), p.value_dim());
}

/// Gradients by forward and backward on the device with every array in one layout; what is written, and the workspace,
/// is full of NaN before.
template <class Layout = Kokkos::LayoutRight, class T, class... Functors>
GradientResult<T> run_backward(Problem<T> const& p, HostTensor<T> const& d_out_on_host, Functors const&... functors) {
  using Accumulation                    = KA::accumulation_t<T>;
  DeviceTensor<T const, Layout> const q = to_device<Layout>(p.q), k = to_device<Layout>(p.k),
                                      v = to_device<Layout>(p.v), d_out = to_device<Layout>(d_out_on_host);
  auto const out  = poisoned<T, Layout>(p.batch(), p.heads(), p.q_len(), p.value_dim());
  auto const lse4 = poisoned<Accumulation, Layout>(p.batch(), p.heads(), p.q_len(), 1);
  auto const lse  = Kokkos::subview(lse4, Kokkos::ALL, Kokkos::ALL, Kokkos::ALL, 0);
  auto options    = to_device<Layout>(p.options);
  auto const like = [](auto const& t) {
    return poisoned<T, Layout>(t.extent(0), t.extent(1), t.extent(2), t.extent(3));
  };
  auto const dq = like(p.q), dk = like(p.k), dv = like(p.v), dbias = like(p.options.bias);
  KA::Gradients<T, MemorySpace> gradients{.q = dq, .k = dk, .v = dv};
  if (p.options.bias.data() != nullptr) gradients.bias = dbias;
  Space const space;
  KA::forward(space, q, k, v, out, lse, options, functors...);
  options.workspace = Kokkos::View<std::byte*, MemorySpace>(
      "workspace", KA::workspace_size(space, d_out, q, k, v, out, lse, gradients, options, functors...));
  Kokkos::deep_copy(options.workspace, std::byte(0xff));
  KA::backward(space, d_out, q, k, v, out, lse, gradients, options, functors...);
  space.fence();
  for (auto const& gradient : std::array{dq, dk, dv}) require_gaps_untouched(gradient);
  if (p.options.bias.data() != nullptr) require_gaps_untouched(dbias);
  return {to_host(dq), to_host(dk), to_host(dv), p.options.bias.data() != nullptr ? to_host(dbias) : HostTensor<T>()};
}

/// Requires the errors of one gradient to be within a small multiple of those of an unfused computation in the
/// accumulation type: the mean within 2, the largest one within 4. In addition an element may be off by one rounding in
/// the scalar type of the terms that it is a sum of: rowsum(dO O) is computed from the stored output.
template <class T, class W, class Rival>
void require_gradient(char const* name, HostTensor<T> const& found, HostTensor<W> const& expected,
                      HostTensor<Rival> const& unfused, HostTensor<W> const& magnitude) {
  Errors const ours = errors(found, expected), theirs = errors(unfused, expected);
  double largest = 0, mean = 0;
  for (std::size_t e = 0; e < magnitude.size(); ++e) {
    largest = std::max(largest, static_cast<double>(magnitude.data()[e]));
    mean += static_cast<double>(magnitude.data()[e]) / magnitude.size();
  }
  INFO(name << ": largest error " << ours.largest << ", unfused " << theirs.largest << "; mean " << ours.mean
            << ", unfused " << theirs.mean << "; a rounding of the terms " << epsilon<T>() * largest << ", mean "
            << epsilon<T>() * mean);
  REQUIRE(ours.largest <= 4 * theirs.largest + epsilon<T>() * largest);
  REQUIRE(ours.mean <= 2 * theirs.mean + epsilon<T>() * mean);
}

template <class T, class Modify = Unmodified>
void require_gradients(GradientResult<T> const& found, Problem<T> const& problem, HostTensor<T> const& d_out,
                       Modify const& modify = {}) {
  auto const expected   = attention_gradients<wide_t<T>>(problem, d_out, Exact{}, modify);
  auto const rival      = attention_gradients<KA::accumulation_t<T>>(problem, d_out, Stored<T>{}, modify);
  auto const& magnitude = expected.magnitude;
  require_gradient("dq", found.q, expected.q, rival.q, magnitude.q);
  require_gradient("dk", found.k, expected.k, rival.k, magnitude.k);
  require_gradient("dv", found.v, expected.v, rival.v, magnitude.v);
  if (found.bias.data() != nullptr) require_gradient("dbias", found.bias, expected.bias, rival.bias, magnitude.bias);
}

/// Runs a problem forward and backward and holds the gradients against the wide reference.
template <class Layout = Kokkos::LayoutRight, class T>
void check_backward(Random& random, Problem<T> const& problem) {
  auto const d_out = random_d_out(random, problem);
  require_gradients(run_backward<Layout>(problem, d_out), problem, d_out);
}

/// Both passes.
template <class Layout = Kokkos::LayoutRight, class T>
void check_passes(Random& random, Problem<T> const& problem) {
  check_forward<Layout>(problem);
  check_backward<Layout>(random, problem);
}

template <class T>
void require_same_bits(HostTensor<T> const& a, HostTensor<T> const& b) {
  REQUIRE(a.size() == b.size());
  for_each_index(a.extent(0), a.extent(1), a.extent(2), a.extent(3), [&](auto... n) {
    INFO(KA::Impl::shape({n...}) << ": " << double(a(n...)) << " and " << double(b(n...)));
    REQUIRE(double(a(n...)) == double(b(n...)));
  });
}

template <class T>
void require_same_bits(GradientResult<T> const& a, GradientResult<T> const& b) {
  require_same_bits(a.q, b.q);
  require_same_bits(a.k, b.k);
  require_same_bits(a.v, b.v);
  require_same_bits(a.bias, b.bias);
}

}  // namespace Test

#endif
