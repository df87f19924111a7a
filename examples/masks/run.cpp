// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "run.hpp"

#include "attention.hpp"
#include "masks.hpp"
#include "patterns.hpp"
#include "table.hpp"

#include <KokkosAttention.hpp>

#include <Kokkos_Core.hpp>

#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <vector>

namespace {

/// The median of the seconds that a call takes, after one that warms up.
template <class F>
double median_seconds(int runs, F const& call) {
  call();
  Kokkos::fence();
  std::vector<double> seconds(runs);
  for (double& time : seconds) {
    Kokkos::Timer const timer;
    call();
    Kokkos::fence();
    time = timer.seconds();
  }
  std::ranges::nth_element(seconds, seconds.begin() + runs / 2);
  return seconds[runs / 2];
}

struct Seconds {
  double forward, backward;
};

/// Attention under one mask after the other, a line each; the first is what the times of the others are compared with.
class Comparison {
  Inputs m_inputs;
  Results m_results, m_expected;
  int m_runs;
  Seconds m_first{};
  double m_largest_difference = 0.;

  void print(char const* name, double pairs, Seconds const& seconds, double difference) {
    if (m_first.forward == 0.) m_first = seconds;
    std::printf("%-22s %5.1f %%   %8.2f ms %5.1f %%   %8.2f ms %5.1f %%   %8.1e\n", name, 100. * pairs,
                1e3 * seconds.forward, 100. * seconds.forward / m_first.forward, 1e3 * seconds.backward,
                100. * seconds.backward / m_first.backward, difference);
    m_largest_difference = std::max(m_largest_difference, difference);
  }

 public:
  Comparison(Inputs const& inputs, int runs)
      : m_inputs(inputs), m_results(make_results(inputs)), m_expected(make_results(inputs)), m_runs(runs) {
    std::printf("%-22s %7s   %19s   %19s   %s\n", "mask", "pairs", "forward", "backward", "largest difference");
  }

  template <KokkosAttention::Mask... Masks>
  void measure(char const* name, Options const& options, Masks const&... masks) {
    Seconds const seconds{median_seconds(m_runs, [&] { forward(m_inputs, m_results, options, masks...); }),
                          median_seconds(m_runs, [&] { backward(m_inputs, m_results, options, masks...); })};
    Table const table = make_table(m_inputs.q.extent(2), options.causal, masks...);
    forward(m_inputs, m_expected, {.mask = table});
    backward(m_inputs, m_expected, {.mask = table});
    print(name, allowed_part(table), seconds, ::largest_difference(m_results, m_expected));
  }

  double largest_difference() const { return m_largest_difference; }
};

}  // namespace

void run(Arguments const& arguments) {
  int const length             = arguments.length;
  int const blocks             = (length + arguments.block - 1) / arguments.block;
  DocumentMask const documents = random_documents(length, arguments.documents, arguments.seed);
  PrefixMask const prefix{arguments.prefix.value_or(length / 4)};
  KokkosAttention::BlockSparseMask const block_sparse(banded_and_strided(blocks, arguments.stride), arguments.block,
                                                      arguments.block);

  Comparison comparison(random_inputs(arguments.heads, length, arguments.head_dim, arguments.seed), arguments.runs);
  comparison.measure("none", {});
  comparison.measure("causal", {.causal = true});
  comparison.measure("documents", {}, documents);
  comparison.measure("documents and causal", {.causal = true}, documents);
  comparison.measure("prefix", {}, prefix);
  comparison.measure("block-sparse", {}, block_sparse);
  if (comparison.largest_difference() > arguments.tolerance)
    throw std::runtime_error("a result differs from that of the same mask as a table");
}
