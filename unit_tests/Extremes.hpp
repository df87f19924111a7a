// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_TEST_EXTREMES_HPP
#define KOKKOSATTENTION_TEST_EXTREMES_HPP

#include "Backward.hpp"

#include <cfloat>
#include <cmath>

/// \file
/// Problems in float32 whose rows are of very different magnitudes. What takes rows apart into numbers of a smaller
/// range has to scale them, and a row that is far larger than others must not spoil those that it has no part in.

namespace Test {

enum class Extreme {
  hidden_rows,
  unseen_keys,
  large_gradient,
  small_gradients,
  subnormal,
  largest_values,
  large_queries_small_keys,
  small_queries_large_keys
};
constexpr int extremes = 8;

struct ExtremeProblem {
  Problem<float> problem;
  HostTensor<float> d_out;
};

/// Row l of all heads times a factor; of all rows, if l is below 0.
inline void multiply_row(HostTensor<float> const& tensor, int l, float factor) {
  for_each_index(tensor.extent(0), tensor.extent(1), tensor.extent(2), tensor.extent(3),
                 [&](auto b, auto h, auto i, auto d) {
                   if (l < 0 || int(i) == l) tensor(b, h, i, d) *= factor;
                 });
}

inline ExtremeProblem extreme_problem(Extreme extreme) {
  Random random(560 + int(extreme));
  auto p           = random_problem<float>(random, {1, 2, 1, 70, 90, 40, 40});
  auto const d_out = random_d_out(random, p);
  switch (extreme) {
    case Extreme::hidden_rows: {
      auto const mask = random.flags(1, 1, 70, 90, 0.8);
      for (int i = 0; i < 70; ++i) mask(0, 0, i, 41) = false;
      for (int j = 0; j < 90; ++j) mask(0, 0, 33, j) = false;
      p.options.mask = mask;
      multiply_row(p.k, 41, 0x1p60f);
      multiply_row(p.v, 41, 0x1p60f);
      multiply_row(p.q, 33, 0x1p60f);
      multiply_row(d_out, 33, 0x1p60f);
      break;
    }
    case Extreme::unseen_keys:
      p.options.causal    = true;
      p.options.alignment = KA::Alignment::top_left;
      for (int j = 70; j < 90; ++j) multiply_row(p.k, j, 0x1p60f), multiply_row(p.v, j, 0x1p100f);
      break;
    case Extreme::large_gradient:  // of a query that sees one key
      p.options.causal    = true;
      p.options.alignment = KA::Alignment::top_left;
      multiply_row(d_out, 0, 0x1p60f);
      break;
    case Extreme::small_gradients:
      for (int i = 0; i < 70; ++i) multiply_row(d_out, i, std::ldexp(1.f, -i));
      break;
    case Extreme::subnormal:
      multiply_row(p.k, -1, 0x1p-130f);
      multiply_row(p.v, -1, 0x1p-130f);
      break;
    case Extreme::largest_values:
      multiply_row(p.v, 30, 0x1p125f);
      p.v(0, 0, 30, 7) = FLT_MAX;
      multiply_row(d_out, -1, 0x1p-30f);
      break;
    case Extreme::large_queries_small_keys:
      for (int i = 0; i < 70; ++i) multiply_row(p.q, i, i % 2 ? 0x1p120f : 0x1p119f);
      multiply_row(p.k, -1, 0x1p-120f);
      multiply_row(d_out, -1, 0x1p-20f);
      break;
    case Extreme::small_queries_large_keys:
      multiply_row(p.q, -1, 0x1p-120f);
      multiply_row(p.k, -1, 0x1p120f);
      multiply_row(d_out, -1, 0x1p-20f);
      break;
  }
  return {p, d_out};
}

/// Requires each row's error to be at most 4 times the unfused computation's, or a few roundings of its largest terms.
template <class W>
void require_rows(char const* name, HostTensor<float> const& found, HostTensor<W> const& expected,
                  HostTensor<float> const& unfused, HostTensor<W> const& magnitude) {
  Errors const ours = errors(found, expected), theirs = errors(unfused, expected), terms = errors(found, magnitude);
  for (std::size_t r = 0; r < ours.row.size(); ++r) {
    INFO(name << ", row " << r << ": error " << ours.row[r] << ", unfused " << theirs.row[r] << ", terms "
              << terms.row_value[r]);
    REQUIRE(ours.row[r] <= 4 * theirs.row[r] + 4 * epsilon<float>() * terms.row_value[r] + 4 * FLT_TRUE_MIN);
  }
}

/// \param forward forward(problem) -> Outputs
template <class Forward>
void check_extreme_forward(Problem<float> const& problem, Forward const& forward) {
  auto const expected = reference(problem);
  auto const rival    = unfused(problem);
  auto const found    = forward(problem);
  require_accurate<float>(errors(found.out, expected.out), errors(rival.out, expected.out), expected);
  require_lse<float>(found.lse, expected, rival.lse);
}

inline void require_extreme_gradients(GradientResult<float> const& found, ExtremeProblem const& p, bool q = true,
                                      bool k = true, bool v = true) {
  auto const expected = attention_gradients<double>(p.problem, p.d_out);
  auto const rival    = attention_gradients<float>(p.problem, p.d_out);
  if (q) require_rows("dq", found.q, expected.q, rival.q, expected.magnitude.q);
  if (k) require_rows("dk", found.k, expected.k, rival.k, expected.magnitude.k);
  if (v) require_rows("dv", found.v, expected.v, rival.v, expected.magnitude.v);
}

/// What is not finite must reach no output but those that depend on it.
template <class Forward>
void check_infinities(Forward const& forward) {
  Random random(570);
  auto const clean = random_problem<float>(random, {1, 1, 1, 40, 50, 24, 24});
  Problem<float> p{HostTensor<float>("q", 1, 1, 40, 24), clean.k, HostTensor<float>("v", 1, 1, 50, 24), {}};
  Kokkos::deep_copy(p.q, clean.q);
  Kokkos::deep_copy(p.v, clean.v);
  p.q(0, 0, 7, 1)     = INFINITY;
  p.v(0, 0, 5, 3)     = -INFINITY;
  p.v(0, 0, 20, 4)    = NAN;
  auto const found    = forward(p).out;
  auto const expected = reference(clean).out;
  for_each_index(1, 1, 40, 24, [&](auto b, auto h, auto i, auto d) {
    CAPTURE(i, d, found(b, h, i, d), expected(b, h, i, d));
    if (i == 7 || d == 3 || d == 4)
      REQUIRE(!std::isfinite(found(b, h, i, d)));
    else
      REQUIRE(std::abs(found(b, h, i, d) - expected(b, h, i, d)) < 1e-6);
  });
}

}  // namespace Test

#endif
