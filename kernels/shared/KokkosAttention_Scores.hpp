// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_SCORES_HPP
#define KOKKOSATTENTION_SCORES_HPP

#include <KokkosAttention_Functors.hpp>
#include <KokkosAttention_Tensor.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The score functions of the options, and how a chain of score functions is applied to a row of scores.

namespace KokkosAttention::Impl {

/// c * tanh(s / c).
template <class Accumulation>
struct Softcap {
  Accumulation cap = 0;

  KOKKOS_FUNCTION bool active() const { return cap > 0; }
  KOKKOS_FUNCTION Accumulation operator()(Accumulation s, int, int, index_t, index_t) const {
    return cap * Kokkos::tanh(s / cap);
  }
};

template <Scalar ScalarType>
struct Bias {
  using Accumulation = accumulation_t<ScalarType>;
  Tensor<ScalarType const> bias;

  KOKKOS_FUNCTION bool active() const { return bias.data != nullptr; }
  KOKKOS_FUNCTION Accumulation operator()(Accumulation s, int b, int h, index_t i, index_t j) const {
    return s + static_cast<Accumulation>(bias(b, h, i, j));
  }
};

/// Attention with linear biases (Press et al., arXiv:2108.12409).
template <class Accumulation>
struct Alibi {
  Accumulation const* slopes = nullptr;
  index_t stride             = 0;
  index_t diagonal           = 0;  // the causal diagonal relative to the query

  KOKKOS_FUNCTION bool active() const { return slopes != nullptr; }
  KOKKOS_FUNCTION Accumulation operator()(Accumulation s, int, int h, index_t i, index_t j) const {
    index_t const distance = j - (i + diagonal);
    return s - slopes[h * stride] * static_cast<Accumulation>(distance < 0 ? -distance : distance);
  }
};

/// Score functions one after the other. Options that are not in use cost one test a row, none an element.
template <class... Functions>
struct ScoreChain {
  template <class Row>
  KOKKOS_FUNCTION void apply(Row const&, int, int) const {}
};

template <class First, class... Rest>
struct ScoreChain<First, Rest...> {
  First first;
  ScoreChain<Rest...> rest;

  template <class Row>
  KOKKOS_FUNCTION void apply(Row const& row, int b, int h) const {
    if (is_active()) {
      using Accumulation = typename Row::value_type;
      index_t const i    = row.query();
      row.transform([&](index_t j, Accumulation s) -> Accumulation { return first(s, b, h, i, j); });
    }
    rest.apply(row, b, h);
  }

 private:
  KOKKOS_FUNCTION bool is_active() const {
    if constexpr (requires { first.active(); })
      return first.active();
    else
      return true;
  }
};

inline ScoreChain<> score_chain() { return {}; }

template <class First, class... Rest>
ScoreChain<First, Rest...> score_chain(First const& first, Rest const&... rest) {
  return {first, score_chain(rest...)};
}

}  // namespace KokkosAttention::Impl

#endif
