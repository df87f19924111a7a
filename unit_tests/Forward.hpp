// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_TEST_FORWARD_HPP
#define KOKKOSATTENTION_TEST_FORWARD_HPP

#include "Accuracy.hpp"
#include "Random.hpp"
#include "Reference.hpp"
#include "Views.hpp"

#include <vector>

/// \file
/// Running a host problem on the device, and checking what comes back.

namespace Test {

struct Shape {
  int batch = 1, heads = 1, kv_heads = 1, q_len = 1, k_len = 1, head_dim = 1, value_dim = 1;
};

inline std::ostream& operator<<(std::ostream& out, Shape const& s) {
  return out << "B " << s.batch << " Hq " << s.heads << " Hkv " << s.kv_heads << " Lq " << s.q_len << " Lk " << s.k_len
             << " D " << s.head_dim << " Dv " << s.value_dim;
}

/// Random q, k and v with standard normal elements times the deviation.
template <class T>
Problem<T> random_problem(Random& random, Shape const& s, double deviation = 1.) {
  return {random.tensor<T>(s.batch, s.heads, s.q_len, s.head_dim, deviation),
          random.tensor<T>(s.batch, s.kv_heads, s.k_len, s.head_dim, deviation),
          random.tensor<T>(s.batch, s.kv_heads, s.k_len, s.value_dim),
          {}};
}

/// Where packed sequences begin, and the last one ends.
using Offsets = std::vector<KA::index_t>;

inline Kokkos::View<KA::index_t const*, Kokkos::LayoutStride, Kokkos::HostSpace> host_offsets(Offsets const& values) {
  Kokkos::View<KA::index_t*, Kokkos::HostSpace> const view("offsets", values.size());
  for (std::size_t n = 0; n < values.size(); ++n) view(n) = values[n];
  return view;
}

/// Drops weights, by the mask that the library says it uses.
template <class T>
void add_dropout(Problem<T>& p, KA::Dropout const& dropout) {
  p.options.dropout = dropout;
  p.kept            = HostTensor<bool>("kept", p.batch(), p.heads(), p.q_len(), p.k_len());
  KA::dropout_mask(Kokkos::DefaultHostExecutionSpace(), dropout, p.kept);
  Kokkos::fence();
}

template <class T>
Kokkos::View<KA::accumulation_t<T> const*, Kokkos::LayoutStride, Kokkos::HostSpace> slopes(int heads) {
  Kokkos::View<KA::accumulation_t<T>*, Kokkos::HostSpace> const values("slopes", heads);
  for (int h = 0; h < heads; ++h) values(h) = std::exp2(-8. * (h + 1) / heads);
  return values;
}

/// A host vector of options on the device.
template <class View>
auto vector_to_device(View const& host) {
  using T = typename View::non_const_value_type;
  Kokkos::View<T*, MemorySpace> const device("vector", host.extent(0));
  auto const mirror = Kokkos::create_mirror_view(device);
  for (std::size_t n = 0; n < host.extent(0); ++n) mirror(n) = host(n);
  Kokkos::deep_copy(device, mirror);
  return device;
}

template <class Layout, class T>
KA::BroadcastView<T, MemorySpace> option_to_device(KA::BroadcastView<T, Kokkos::HostSpace> const& host) {
  if (host.data() == nullptr) return {};
  HostTensor<T> const copy("option", host.extent(0), host.extent(1), host.extent(2), host.extent(3));
  Kokkos::deep_copy(copy, host);
  return to_device<Layout>(copy);
}

template <class Layout, class T>
KA::Options<T, MemorySpace> to_device(HostOptions<T> const& host) {
  KA::Options<T, MemorySpace> options{.scale     = host.scale,
                                      .causal    = host.causal,
                                      .alignment = host.alignment,
                                      .window    = host.window,
                                      .softcap   = host.softcap,
                                      .mask      = option_to_device<Layout, bool>(host.mask),
                                      .bias      = option_to_device<Layout, T>(host.bias),
                                      .dropout   = host.dropout};
  if (host.alibi_slopes.data() != nullptr) options.alibi_slopes = vector_to_device(host.alibi_slopes);
  if (host.q_offsets.data() != nullptr) options.q_offsets = vector_to_device(host.q_offsets);
  if (host.k_offsets.data() != nullptr) options.k_offsets = vector_to_device(host.k_offsets);
  return options;
}

/// Nothing but the elements of a poisoned View was written.
template <class View>
void require_gaps_untouched(View const& view) {
  if constexpr (std::is_same_v<typename View::array_layout, Kokkos::LayoutStride>) {
    std::size_t numbers = 0;
    auto const memory   = memory_of(view);
    for (std::size_t e = 0; e < memory.size(); ++e) numbers += !is_nan(memory(e));
    REQUIRE(numbers == view.size());
  }
}

template <class T>
struct Outputs {
  HostTensor<T> out;
  HostTensor<KA::accumulation_t<T>> lse;
};

/// Runs a problem on the device with every array in one layout; outputs are full of NaN before.
template <class Layout = Kokkos::LayoutRight, class T, class... Functors>
Outputs<T> run_forward(Problem<T> const& p, Functors const&... functors) {
  using Accumulation                    = KA::accumulation_t<T>;
  DeviceTensor<T const, Layout> const q = to_device<Layout>(p.q), k = to_device<Layout>(p.k),
                                      v = to_device<Layout>(p.v);
  auto const out                        = poisoned<T, Layout>(p.batch(), p.heads(), p.q_len(), p.value_dim());
  auto const lse4                       = poisoned<Accumulation, Layout>(p.batch(), p.heads(), p.q_len(), 1);
  auto const lse                        = Kokkos::subview(lse4, Kokkos::ALL, Kokkos::ALL, Kokkos::ALL, 0);
  Space const space;
  KA::forward(space, q, k, v, out, lse, to_device<Layout>(p.options), functors...);
  space.fence();
  require_gaps_untouched(out);
  return {to_host(out), to_host(lse4)};
}

/// The LSE may be 4 times as far off as the unfused one, or as rounding its scores explains.
template <class T, class W>
void require_lse(HostTensor<KA::accumulation_t<T>> const& found, Result<W> const& expected,
                 HostTensor<KA::accumulation_t<T>> const& unfused) {
  auto const& lse = expected.lse;
  for_each_index(lse.extent(0), lse.extent(1), lse.extent(2), 1, [&](auto... n) {
    double const value = lse(n...);
    INFO("lse" << KA::Impl::shape({n...}) << " = " << found(n...) << ", expected " << value);
    if (std::isinf(value)) {
      REQUIRE(found(n...) == value);
    } else {
      double const rounding = epsilon<KA::accumulation_t<T>>() * static_cast<double>(expected.lse_sensitivity(n...));
      double const theirs   = std::abs(static_cast<double>(unfused(n...) - lse(n...)));
      REQUIRE(std::abs(static_cast<double>(found(n...) - lse(n...))) <= 4 * std::max(theirs, rounding));
    }
  });
}

/// Runs a problem and holds output and LSE against the wide reference and an unfused computation.
template <class Layout = Kokkos::LayoutRight, class T>
void check_forward(Problem<T> const& problem) {
  auto const expected = reference(problem);
  auto const rival    = unfused(problem);
  auto const found    = run_forward<Layout>(problem);
  require_accurate<T>(errors(found.out, expected.out), errors(rival.out, expected.out), expected);
  require_lse<T>(found.lse, expected, rival.lse);
}

}  // namespace Test

#endif
