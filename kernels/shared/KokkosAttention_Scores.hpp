// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_SCORES_HPP
#define KOKKOSATTENTION_SCORES_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_Functors.hpp>
#include <KokkosAttention_Masks.hpp>
#include <KokkosAttention_Tanh.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The score functions of the options, each with its derivative, and how a chain of score functions is applied to a row
/// of scores.

namespace KokkosAttention::Impl {

/// c * tanh(s / c).
template <Scalar ScalarType>
class Softcap {
  using Accumulation = accumulation_t<ScalarType>;

  Accumulation m_cap = 0, m_inverse = 0;

 public:
  Softcap() = default;
  explicit Softcap(double cap)
      : m_cap(static_cast<Accumulation>(cap)),
        m_inverse(static_cast<Accumulation>(
            cap > 0. ? Kokkos::min(1. / cap, double(Kokkos::Experimental::finite_max_v<Accumulation>)) : 0.)) {}

  KOKKOS_FORCEINLINE_FUNCTION bool active() const { return m_cap > 0; }
  KOKKOS_FORCEINLINE_FUNCTION Accumulation operator()(Accumulation s, int, int, index_t, index_t) const {
    return m_cap * tanh(m_inverse * s);
  }
  KOKKOS_FORCEINLINE_FUNCTION Accumulation derivative(Accumulation s, int, int, index_t, index_t) const {
    Accumulation const t = tanh(m_inverse * s);
    return (1 - t) * (1 + t);
  }

 private:
  KOKKOS_FORCEINLINE_FUNCTION static Accumulation tanh(Accumulation x) {
    if constexpr (sizeof(ScalarType) == 2)
      return quick_tanh(x);
    else
      return Kokkos::tanh(x);
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
  /// As of a function that is not linear: kernels for those add a bias faster.
  KOKKOS_FORCEINLINE_FUNCTION Accumulation derivative(Accumulation, int, int, index_t, index_t) const { return 1; }
};

/// Attention with linear biases (Press et al., arXiv:2108.12409).
template <class Accumulation>
struct Alibi {
  Vector<Accumulation const> slopes;
  Alignment alignment = Alignment::top_left;  // where the causal diagonal lies
  // For one head of a sequence:
  index_t diagonal   = 0;  // its position relative to the query
  Accumulation slope = 0;

  KOKKOS_FORCEINLINE_FUNCTION bool active() const { return slopes.data != nullptr; }
  KOKKOS_FORCEINLINE_FUNCTION Alibi of_head(Sequence const& sequence, int h) const {
    return {slopes, alignment, sequence.diagonal(alignment), active() ? slopes(h) : Accumulation(0)};
  }
  static constexpr bool takes_any_position = true;
  template <class Position>
  KOKKOS_FORCEINLINE_FUNCTION Accumulation operator()(Accumulation s, int, int, Position i, Position j) const {
    Position const distance = j - (i + static_cast<Position>(diagonal));
    return s - slope * static_cast<Accumulation>(distance < 0 ? -distance : distance);
  }
  KOKKOS_FORCEINLINE_FUNCTION Accumulation derivative(int, int, index_t, index_t) const { return 1; }
};

template <class F>
struct InUse;

template <class F>
inline constexpr bool is_bias = false;
template <Scalar ScalarType>
inline constexpr bool is_bias<Bias<ScalarType>> = true;
template <class F>
inline constexpr bool is_bias<InUse<F>> = is_bias<F>;

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

/// A score function's value at a score, for rows' positions. Where those are 32 bits wide, options compute with them as
/// they are, which takes a few operations less.
template <class F, class Accumulation, class Position>
KOKKOS_FORCEINLINE_FUNCTION Accumulation value(F const& f, Accumulation s, int b, int h, Position i, Position j) {
  if constexpr (requires { requires F::takes_any_position; })
    return f(s, b, h, i, j);
  else
    return static_cast<Accumulation>(f(s, b, h, index_t(i), index_t(j)));
}

/// What a score is differentiated with respect to.
enum class ScoreInput { product, bias };

/// A score function as it is for one head of a sequence. What it loads for that is then on its way before scores are
/// there.
template <class F>
KOKKOS_FORCEINLINE_FUNCTION F of_head(F const& f, [[maybe_unused]] Sequence const& sequence, [[maybe_unused]] int h) {
  if constexpr (requires { f.of_head(sequence, h); })
    return f.of_head(sequence, h);
  else
    return f;
}

/// An option's score function that is in use, and kernels know it when they are compiled.
template <class F>
struct InUse : F {
  KOKKOS_FORCEINLINE_FUNCTION static constexpr bool active() { return true; }
  KOKKOS_FORCEINLINE_FUNCTION InUse in_sequence(Sequence const& sequence) const {
    return {Impl::in_sequence(static_cast<F const&>(*this), sequence)};
  }
  KOKKOS_FORCEINLINE_FUNCTION InUse of_head(Sequence const& sequence, int h) const {
    return {Impl::of_head(static_cast<F const&>(*this), sequence, h)};
  }
};

/// Score functions one after the other. Options that are not in use cost one test a row, none an element.
template <class... Functions>
struct ScoreChain {
  /// Whether gradients go through it without scores.
  template <class Accumulation>
  static constexpr bool is_linear = true;

  KOKKOS_FORCEINLINE_FUNCTION bool active() const { return false; }
  KOKKOS_FORCEINLINE_FUNCTION ScoreChain of_head(Sequence const&, int) const { return {}; }
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

  /// What the following are to be called of.
  KOKKOS_FORCEINLINE_FUNCTION ScoreChain of_head(Sequence const& sequence, int h) const {
    return {Impl::of_head(first, sequence, h), rest.of_head(sequence, h)};
  }

  /// Replaces a row's scores by their image; row.transform(f(i, j, score)).
  template <class Row>
  KOKKOS_FORCEINLINE_FUNCTION void apply(Row const& row, Sequence const& sequence, int h) const {
    if (is_active()) {
      using Accumulation = typename Row::value_type;
      auto const f       = Impl::in_sequence(first, sequence);
      if constexpr (AddsBias<Row, First>)
        row.add(f.bias, sequence.batch, h);
      else
        row.transform([&](auto i, auto j, Accumulation s) { return Impl::value(f, s, sequence.batch, h, i, j); });
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
        row.update([&](auto i, auto j, Accumulation& s, Accumulation& gradient) {
          if constexpr (input == ScoreInput::product)
            gradient *= Impl::derivative<Accumulation>(f, s, sequence.batch, h, i, j);
          s = Impl::value(f, s, sequence.batch, h, i, j);
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
