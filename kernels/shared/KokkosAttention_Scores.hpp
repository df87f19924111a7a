// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_SCORES_HPP
#define KOKKOSATTENTION_SCORES_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_Functors.hpp>
#include <KokkosAttention_Masks.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The score functions of the options, each with its derivative, and how a chain of score functions is applied to a row
/// of scores.

namespace KokkosAttention::Impl {

/// c * tanh(s / c).
template <class Accumulation>
struct Softcap {
  Accumulation cap = 0;

  KOKKOS_FORCEINLINE_FUNCTION bool active() const { return cap > 0; }
  KOKKOS_FORCEINLINE_FUNCTION Accumulation operator()(Accumulation s, int, int, index_t, index_t) const {
    return cap * Kokkos::tanh(s / cap);
  }
  KOKKOS_FORCEINLINE_FUNCTION Accumulation derivative(Accumulation s, int, int, index_t, index_t) const {
    Accumulation const t = Kokkos::tanh(s / cap);
    return (1 - t) * (1 + t);
  }
};

template <Scalar ScalarType>
struct Bias {
  using Accumulation = accumulation_t<ScalarType>;
  Tensor<ScalarType const> bias;

  KOKKOS_FORCEINLINE_FUNCTION bool active() const { return bias.data != nullptr; }
  KOKKOS_FORCEINLINE_FUNCTION Bias in_sequence(Sequence const& sequence) const {
    return {bias.from(sequence.q_begin, sequence.k_begin)};
  }
  KOKKOS_FORCEINLINE_FUNCTION Accumulation operator()(Accumulation s, int b, int h, index_t i, index_t j) const {
    return s + static_cast<Accumulation>(bias(b, h, i, j));
  }
  KOKKOS_FORCEINLINE_FUNCTION Accumulation derivative(Accumulation, int, int, index_t, index_t) const { return 1; }
};

/// Attention with linear biases (Press et al., arXiv:2108.12409).
template <class Accumulation>
struct Alibi {
  Vector<Accumulation const> slopes;
  Alignment alignment = Alignment::top_left;  // where the causal diagonal lies
  index_t diagonal    = 0;                    // its position relative to the query

  KOKKOS_FORCEINLINE_FUNCTION bool active() const { return slopes.data != nullptr; }
  KOKKOS_FORCEINLINE_FUNCTION Alibi in_sequence(Sequence const& sequence) const {
    return {slopes, alignment, sequence.diagonal(alignment)};
  }
  KOKKOS_FORCEINLINE_FUNCTION Accumulation operator()(Accumulation s, int, int h, index_t i, index_t j) const {
    index_t const distance = j - (i + diagonal);
    return s - slopes(h) * static_cast<Accumulation>(distance < 0 ? -distance : distance);
  }
  KOKKOS_FORCEINLINE_FUNCTION Accumulation derivative(Accumulation, int, int, index_t, index_t) const { return 1; }
};

template <class F>
inline constexpr bool is_bias = false;
template <Scalar ScalarType>
inline constexpr bool is_bias<Bias<ScalarType>> = true;

/// Rows that add a bias faster than element by element.
template <class Row, class F>
concept AddsBias = is_bias<F> && requires(Row const& row, F const& f) {
  row.add(f.bias, 0, 0);
};

/// A score function's derivative at a score.
template <class Accumulation, class F>
KOKKOS_FORCEINLINE_FUNCTION Accumulation derivative(F const& f, Accumulation s, int b, int h, index_t i, index_t j) {
  if constexpr (LinearScoreFunction<F, Accumulation>)
    return static_cast<Accumulation>(f.derivative(b, h, i, j));
  else
    return static_cast<Accumulation>(f.derivative(s, b, h, i, j));
}

/// What a score is differentiated with respect to.
enum class ScoreInput { product, bias };

/// Score functions one after the other. Options that are not in use cost one test a row, none an element.
template <class... Functions>
struct ScoreChain {
  /// Whether gradients go through it without scores.
  template <class Accumulation>
  static constexpr bool is_linear = true;

  KOKKOS_FORCEINLINE_FUNCTION bool active() const { return false; }
  template <class Row>
  KOKKOS_FORCEINLINE_FUNCTION void apply(Row const&, Sequence const&, int) const {}
  template <ScoreInput input, class Row>
  KOKKOS_FORCEINLINE_FUNCTION void differentiate(Row const&, Sequence const&, int) const {}
  template <class Row>
  KOKKOS_FORCEINLINE_FUNCTION void multiply_gradients(Row const&, Sequence const&, int) const {}
};

template <class First, class... Rest>
struct ScoreChain<First, Rest...> {
  First first;
  ScoreChain<Rest...> rest;

  template <class Accumulation>
  static constexpr bool is_linear =
      LinearScoreFunction<First, Accumulation>&& ScoreChain<Rest...>::template is_linear<Accumulation>;

  KOKKOS_FORCEINLINE_FUNCTION bool active() const { return is_active() || rest.active(); }

  /// Replaces a row's scores by their image; row.transform(f(i, j, score)).
  template <class Row>
  KOKKOS_FORCEINLINE_FUNCTION void apply(Row const& row, Sequence const& sequence, int h) const {
    if (is_active()) {
      using Accumulation = typename Row::value_type;
      auto const f       = Impl::in_sequence(first, sequence);
      if constexpr (AddsBias<Row, First>)
        row.add(f.bias, sequence.batch, h);
      else
        row.transform(
            [&](index_t i, index_t j, Accumulation s) -> Accumulation { return f(s, sequence.batch, h, i, j); });
    }
    rest.apply(row, sequence, h);
  }

  /// The same, and multiplies each score's gradient by the derivative with respect to the input;
  /// row.update(f(i, j, score, gradient)).
  template <ScoreInput input, class Row>
  KOKKOS_FORCEINLINE_FUNCTION void differentiate(Row const& row, Sequence const& sequence, int h) const {
    using Accumulation = typename Row::value_type;
    if (is_active()) {
      auto const f = Impl::in_sequence(first, sequence);
      if constexpr (AddsBias<Row, First>)
        row.add(f.bias, sequence.batch, h);
      else
        row.update([&](index_t i, index_t j, Accumulation& s, Accumulation& gradient) {
          if constexpr (input == ScoreInput::product)
            gradient *= Impl::derivative<Accumulation>(f, s, sequence.batch, h, i, j);
          s = static_cast<Accumulation>(f(s, sequence.batch, h, i, j));
        });
    }
    // What comes after the bias acts on it as on the product.
    rest.template differentiate<is_bias<First> ? ScoreInput::product : input>(row, sequence, h);
  }

  /// The same of gradients alone, if it is linear; row.multiply_gradients(f(i, j)).
  template <class Row>
  KOKKOS_FORCEINLINE_FUNCTION void multiply_gradients(Row const& row, Sequence const& sequence, int h) const {
    using Accumulation = typename Row::value_type;
    static_assert(is_linear<Accumulation>);
    if (is_active()) {
      auto const f = Impl::in_sequence(first, sequence);
      row.multiply_gradients(
          [&](index_t i, index_t j) -> Accumulation { return f.derivative(sequence.batch, h, i, j); });
    }
    rest.multiply_gradients(row, sequence, h);
  }

 private:
  KOKKOS_FORCEINLINE_FUNCTION bool is_active() const {
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
