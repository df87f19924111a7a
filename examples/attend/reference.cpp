// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "reference.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace {

/// Element of a tensor in which an extent of 1 broadcasts.
template <class View>
auto broadcast(View const& view, std::size_t b, std::size_t h, std::size_t i, std::size_t j) {
  return view(view.extent(0) == 1 ? 0 : b, view.extent(1) == 1 ? 0 : h, view.extent(2) == 1 ? 0 : i,
              view.extent(3) == 1 ? 0 : j);
}

void attend_row(ReferenceInput const& input, Settings const& settings, ReferenceOutput const& output, std::size_t b,
                std::size_t h, std::size_t i) {
  auto const q_len                = static_cast<Settings::index_t>(input.q.extent(2));
  auto const k_len                = static_cast<Settings::index_t>(input.k.extent(2));
  std::size_t const dim           = input.q.extent(3);
  double const scale              = settings.scale != 0. ? settings.scale : 1. / std::sqrt(static_cast<double>(dim));
  std::size_t const heads_a_group = input.q.extent(1) / input.k.extent(1);  // query heads that share keys and values
  std::size_t const kv_head       = h / heads_a_group;
  double const slope =
      settings.alibi ? Settings::alibi_slope(static_cast<int>(h), static_cast<int>(input.q.extent(1))) : 0.;
  auto const diagonal     = settings.diagonal(static_cast<Settings::index_t>(i), q_len, k_len);
  auto const [begin, end] = settings.keys(static_cast<Settings::index_t>(i), q_len, k_len);

  constexpr double infinity = std::numeric_limits<double>::infinity();
  std::vector<double> scores(end - begin, -infinity);
  double maximum = -infinity;
  for (auto j = begin; j < end; ++j) {
    if (input.mask.data() != nullptr && !broadcast(input.mask, b, h, i, j)) continue;
    double score = 0.;
    for (std::size_t d = 0; d < dim; ++d) score += input.q(b, h, i, d) * input.k(b, kv_head, j, d);
    score *= scale;
    if (settings.softcap > 0.) score = settings.softcap * std::tanh(score / settings.softcap);
    if (input.bias.data() != nullptr) score += broadcast(input.bias, b, h, i, j);
    score -= slope * std::abs(static_cast<double>(j - diagonal));
    scores[j - begin] = score;
    maximum           = std::max(maximum, score);
  }

  std::size_t const value_dim = input.v.extent(3);
  for (std::size_t d = 0; d < value_dim; ++d) output.out(b, h, i, d) = 0.;
  output.lse(b, h, i) = -infinity;
  if (maximum == -infinity) return;  // no key to attend to

  double sum = 0.;
  for (auto j = begin; j < end; ++j) {
    double const weight = std::exp(scores[j - begin] - maximum);
    if (weight == 0.) continue;
    sum += weight;
    for (std::size_t d = 0; d < value_dim; ++d) output.out(b, h, i, d) += weight * input.v(b, kv_head, j, d);
  }
  for (std::size_t d = 0; d < value_dim; ++d) output.out(b, h, i, d) /= sum;
  output.lse(b, h, i) = maximum + std::log(sum);
}

}  // namespace

ReferenceOutput reference_attention(ReferenceInput const& input, Settings const& settings) {
  std::size_t const batch = input.q.extent(0), heads = input.q.extent(1), q_len = input.q.extent(2);
  ReferenceOutput const output{
      Tensor<double, Kokkos::HostSpace>("reference out", batch, heads, q_len, input.v.extent(3)),
      decltype(ReferenceOutput::lse)("reference lse", batch, heads, q_len)};
  Kokkos::parallel_for("reference attention",
                       Kokkos::RangePolicy<Kokkos::DefaultHostExecutionSpace>(0, batch * heads * q_len),
                       [&](std::size_t row) {
                         attend_row(input, settings, output, row / q_len / heads, row / q_len % heads, row % q_len);
                       });
  Kokkos::fence();
  return output;
}
