// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_TEST_GRADIENTREFERENCE_HPP
#define KOKKOSATTENTION_TEST_GRADIENTREFERENCE_HPP

#include "Reference.hpp"

#include <array>

/// \file
/// The gradients of attention as the chain rule says, on the host, a query at a time, with all weights stored.

namespace Test {

template <class W>
struct GradientResult {
  HostTensor<W> q, k, v, bias;
};

/// Gradients, and the sums of the absolute values of all terms that they are sums of: what rounding errors are relative
/// to, where terms cancel too.
template <class W>
struct GradientReference : GradientResult<W> {
  GradientResult<W> magnitude;
};

template <class W, class View>
HostTensor<W> zeros_like(View const& view) {
  return HostTensor<W>("gradient", view.extent(0), view.extent(1), view.extent(2), view.extent(3));
}

/// Gradients of the sum of d_out * out.
/// \tparam W type computed in
/// \param modify further score function with derivative, for user functors
template <class W, class T, class Store = Exact, class Modify = Unmodified>
GradientReference<W> attention_gradients(Problem<T> const& p, HostTensor<T> const& d_out, Store const& store = {},
                                         Modify const& modify = {}) {
  auto const& o    = p.options;
  auto const zeros = [&] {
    return GradientResult<W>{zeros_like<W>(p.q), zeros_like<W>(p.k), zeros_like<W>(p.v), zeros_like<W>(o.bias)};
  };
  GradientReference<W> result{zeros(), zeros()};
  auto& magnitude     = result.magnitude;
  std::size_t const n = p.k_len();
  std::vector<W> weight(n), by_product(n), by_bias(n), d_weight(n), weight_terms(n);
  W const infinity = std::numeric_limits<W>::infinity(), scale = static_cast<W>(p.scale());
  for_each_index(p.batch(), p.heads(), p.q_len(), 1, [&](auto b, auto h, auto i, auto) {
    int const g = p.kv_head(h);
    W maximum   = -infinity;
    for (std::size_t j = 0; j < n; ++j) {
      W s = 0;
      for (int d = 0; d < p.head_dim(); ++d) s += static_cast<W>(p.q(b, h, i, d)) * static_cast<W>(p.k(b, g, j, d));
      s *= scale;
      by_product[j] = 1;
      if (o.softcap > 0) {
        W const t     = std::tanh(s / static_cast<W>(o.softcap));
        s             = static_cast<W>(o.softcap) * t;
        by_product[j] = (1 - t) * (1 + t);
      }
      if (o.bias.data() != nullptr) s += static_cast<W>(p.broadcast(o.bias, b, h, i, j));
      if (o.alibi_slopes.data() != nullptr)
        s -= static_cast<W>(o.alibi_slopes(h)) * static_cast<W>(std::abs(KA::index_t(j) - p.diagonal(i)));
      by_bias[j] = modify.derivative(s, b, h, i, j);
      by_product[j] *= by_bias[j];
      s         = modify(s, b, h, i, j);
      weight[j] = p.may_attend(b, h, i, j) ? s : -infinity;
      maximum   = std::max(maximum, weight[j]);
    }
    if (maximum == -infinity) return;
    W sum = 0, delta = 0, delta_terms = 0;
    for (W& w : weight) sum += w = std::exp(w - maximum);
    for (std::size_t j = 0; j < n; ++j) {
      weight[j] /= sum;
      W const kept = p.dropped(weight[j], b, h, i, j);
      W product = 0, terms = 0;
      for (int d = 0; d < p.value_dim(); ++d) {
        W const term = static_cast<W>(d_out(b, h, i, d)) * static_cast<W>(p.v(b, g, j, d));
        product += term;
        terms += std::abs(term);
        result.v(b, g, j, d) += kept * static_cast<W>(d_out(b, h, i, d));
        magnitude.v(b, g, j, d) += kept * std::abs(static_cast<W>(d_out(b, h, i, d)));
      }
      d_weight[j]     = p.dropped(product, b, h, i, j);
      weight_terms[j] = p.dropped(terms, b, h, i, j);
      delta += weight[j] * d_weight[j];
      delta_terms += weight[j] * weight_terms[j];
    }
    for (std::size_t j = 0; j < n; ++j) {
      if (weight[j] == 0) continue;  // a masked pair, whose derivatives need not be finite
      W const d_score = weight[j] * (d_weight[j] - delta), terms = weight[j] * (weight_terms[j] + delta_terms);
      if (o.bias.data() != nullptr) {
        auto const element = [&](auto const& tensor) -> W& {
          return tensor(o.bias.extent(0) == 1 ? 0 : b, o.bias.extent(1) == 1 ? 0 : h, o.bias.extent(2) == 1 ? 0 : i,
                        o.bias.extent(3) == 1 ? 0 : j);
        };
        element(result.bias) += d_score * by_bias[j];
        element(magnitude.bias) += terms * std::abs(by_bias[j]);
      }
      W const factor = scale * by_product[j];
      for (int d = 0; d < p.head_dim(); ++d) {
        W const key = static_cast<W>(p.k(b, g, j, d)), query = static_cast<W>(p.q(b, h, i, d));
        result.q(b, h, i, d) += factor * d_score * key;
        result.k(b, g, j, d) += factor * d_score * query;
        magnitude.q(b, h, i, d) += std::abs(factor * key) * terms;
        magnitude.k(b, g, j, d) += std::abs(factor * query) * terms;
      }
    }
  });
  for (auto const& tensor : std::array{result.q, result.k, result.v, result.bias})
    for (std::size_t e = 0; e < tensor.size(); ++e) tensor.data()[e] = store(tensor.data()[e]);
  return result;
}

}  // namespace Test

#endif
