// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_TEST_REFERENCE_HPP
#define KOKKOSATTENTION_TEST_REFERENCE_HPP

#include "Views.hpp"

#include <KokkosAttention.hpp>

#include <cmath>
#include <vector>

/// \file
/// Attention as its definition says, on the host, a query at a time: the reference in a wider type, and what an
/// unfused computation in the accumulation type would give, whose error bounds ours.

namespace Test {

/// What a type is checked against: long double for double, double for the others.
template <class T>
using wide_t = std::conditional_t<std::is_same_v<T, double>, long double, double>;

template <class T>
using HostOptions = KA::Options<T, Kokkos::HostSpace>;

/// One attention problem on the host.
template <class T>
struct Problem {
  HostTensor<T> q, k, v;
  HostOptions<T> options;
  HostTensor<bool> kept = {};  ///< with dropout: which weights are

  int batch() const { return q.extent(0); }
  int heads() const { return q.extent(1); }
  int kv_head(int h) const { return h / (q.extent(1) / k.extent(1)); }
  KA::index_t q_len() const { return q.extent(2); }
  KA::index_t k_len() const { return k.extent(2); }
  int head_dim() const { return q.extent(3); }
  int value_dim() const { return v.extent(3); }
  double scale() const { return options.scale != 0. ? options.scale : 1. / std::sqrt(double(head_dim())); }
  KA::index_t diagonal(KA::index_t i) const {
    return options.alignment == KA::Alignment::bottom_right ? i + k_len() - q_len() : i;
  }
  bool may_attend(int b, int h, KA::index_t i, KA::index_t j) const {
    if (options.causal && j > diagonal(i)) return false;
    if (options.window.left >= 0 && j < diagonal(i) - options.window.left) return false;
    if (options.window.right >= 0 && j > diagonal(i) + options.window.right) return false;
    return options.mask.data() == nullptr || broadcast(options.mask, b, h, i, j);
  }

  /// What dropout makes of a weight.
  template <class W>
  W dropped(W weight, int b, int h, KA::index_t i, KA::index_t j) const {
    if (options.dropout.probability == 0.) return weight;
    return kept(b, h, i, j) ? weight / (1 - static_cast<W>(options.dropout.probability)) : W(0);
  }

  template <class View>
  static auto broadcast(View const& view, std::size_t b, std::size_t h, std::size_t i, std::size_t j) {
    return view(view.extent(0) == 1 ? 0 : b, view.extent(1) == 1 ? 0 : h, view.extent(2) == 1 ? 0 : i,
                view.extent(3) == 1 ? 0 : j);
  }
};

template <class W>
struct Result {
  HostTensor<W> out;
  HostTensor<W> lse;  // (B, H, L, 1)
  /// By how many units of rounding scores, and so the LSE, may be off: the largest sum of |scale q k|, and of
  /// what is added to it, in a row.
  HostTensor<W> lse_sensitivity;  // (B, H, L, 1)
  /// The same of an output: times the largest |v|.
  HostTensor<W> sensitivity;  // (B, H, L, 1)
  /// The largest sum of |weight v| in a row of the output: what roundings of the weights are relative to.
  HostTensor<W> magnitude;  // (B, H, L, 1)
};

/// No rounding beyond that of the type computed in.
struct Exact {
  template <class W>
  W operator()(W value) const {
    return value;
  }
};

/// What an unfused computation stores, weights and outputs, rounded to T.
template <class T>
struct Stored {
  template <class W>
  W operator()(W value) const {
    return static_cast<W>(static_cast<T>(value));
  }
};

/// \tparam W type computed in
/// \param store rounding of weights and output
/// \param modify further score function (score, b, h, i, j), for user functors
template <class W, class T, class Store = Exact, class Modify>
Result<W> attention(Problem<T> const& p, Store const& store, Modify const& modify) {
  auto const& o = p.options;
  Result<W> result{HostTensor<W>("out", p.batch(), p.heads(), p.q_len(), p.value_dim()),
                   HostTensor<W>("lse", p.batch(), p.heads(), p.q_len(), 1),
                   HostTensor<W>("sensitivity", p.batch(), p.heads(), p.q_len(), 1),
                   HostTensor<W>("sensitivity", p.batch(), p.heads(), p.q_len(), 1),
                   HostTensor<W>("magnitude", p.batch(), p.heads(), p.q_len(), 1)};
  std::vector<W> score(p.k_len());
  W const infinity = std::numeric_limits<W>::infinity();
  for_each_index(p.batch(), p.heads(), p.q_len(), 1, [&](auto b, auto h, auto i, auto) {
    W maximum = -infinity, largest_terms = 4, largest_value = 0;
    for (KA::index_t j = 0; j < p.k_len(); ++j) {
      W s = 0, terms = 0;
      for (int d = 0; d < p.head_dim(); ++d) {
        W const term = static_cast<W>(p.q(b, h, i, d)) * static_cast<W>(p.k(b, p.kv_head(h), j, d));
        s += term;
        terms += std::abs(term);
      }
      s *= static_cast<W>(p.scale());
      if (o.softcap > 0) s = static_cast<W>(o.softcap) * std::tanh(s / static_cast<W>(o.softcap));
      if (o.bias.data() != nullptr) s += static_cast<W>(p.broadcast(o.bias, b, h, i, j));
      if (o.alibi_slopes.data() != nullptr)
        s -= static_cast<W>(o.alibi_slopes(h)) * static_cast<W>(std::abs(j - p.diagonal(i)));
      s        = modify(s, b, h, i, j);
      score[j] = p.may_attend(b, h, i, j) ? s : -infinity;
      if (std::isfinite(score[j]))
        largest_terms = std::max(largest_terms, terms * std::abs(static_cast<W>(p.scale())) + 2 * std::abs(s));
      maximum = std::max(maximum, score[j]);
    }
    W sum = 0;
    for (W& s : score) sum += s = maximum == -infinity ? W(0) : std::exp(s - maximum);
    result.lse(b, h, i, 0) = sum == W(0) ? -infinity : maximum + std::log(sum);
    for (W& s : score) s = sum == W(0) ? W(0) : s / sum;
    for (KA::index_t j = 0; j < p.k_len(); ++j) score[j] = store(p.dropped(score[j], b, h, i, j));
    for (int d = 0; d < p.value_dim(); ++d) {
      W value = 0, terms = 0;
      for (KA::index_t j = 0; j < p.k_len(); ++j)
        if (score[j] != W(0)) {
          W const v = static_cast<W>(p.v(b, p.kv_head(h), j, d));
          value += score[j] * v;
          terms += std::abs(score[j] * v);
          largest_value = std::max(largest_value, std::abs(v));
        }
      result.out(b, h, i, d)       = store(value);
      result.magnitude(b, h, i, 0) = std::max(result.magnitude(b, h, i, 0), terms);
    }
    result.lse_sensitivity(b, h, i, 0) = largest_terms;
    result.sensitivity(b, h, i, 0)     = largest_terms * largest_value;
  });
  return result;
}

/// No further score function.
struct Unmodified {
  template <class W>
  W operator()(W score, int, int, KA::index_t, KA::index_t) const {
    return score;
  }
  template <class W>
  W derivative(W, int, int, KA::index_t, KA::index_t) const {
    return 1;
  }
};
inline constexpr Unmodified unmodified;

template <class T>
Result<wide_t<T>> reference(Problem<T> const& problem) {
  return attention<wide_t<T>>(problem, Exact{}, unmodified);
}

template <class T>
Result<KA::accumulation_t<T>> unfused(Problem<T> const& problem) {
  return attention<KA::accumulation_t<T>>(problem, Stored<T>{}, unmodified);
}

}  // namespace Test

#endif
