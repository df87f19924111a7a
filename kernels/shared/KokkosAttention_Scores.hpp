// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_SCORES_HPP
#define KOKKOSATTENTION_SCORES_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_Functors.hpp>
#include <KokkosAttention_Masks.hpp>
#include <KokkosAttention_Tanh.hpp>

#include <Kokkos_Core.hpp>

#include <type_traits>

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
  static constexpr bool takes_long = true;

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

/// \tparam Array a tensor, or what an engine has noted of it
template <Scalar ScalarType, class Array = Tensor<ScalarType const>>
struct Bias {
  static constexpr bool takes_long = true;

  using Accumulation = accumulation_t<ScalarType>;
  Array bias;

  KOKKOS_FORCEINLINE_FUNCTION bool active() const { return bias.data != nullptr; }
  KOKKOS_FORCEINLINE_FUNCTION Bias of_head(Sequence const& sequence, int h) const {
    return {bias.matrix_from(sequence.batch, h, sequence.q_begin, sequence.k_begin)};
  }
  KOKKOS_FORCEINLINE_FUNCTION Array const& array() const { return bias; }
  template <class Noted>
  KOKKOS_FORCEINLINE_FUNCTION static Bias<ScalarType, Noted> of_array(Noted const& array) {
    return {array};
  }
  KOKKOS_FORCEINLINE_FUNCTION Accumulation operator()(Accumulation s, int b, int h, index_t i, index_t j) const {
    return s + static_cast<Accumulation>(bias(b, h, i, j));
  }
  /// As of a function that is not linear: kernels for those add a bias faster.
  KOKKOS_FORCEINLINE_FUNCTION Accumulation derivative(Accumulation, int, int, index_t, index_t) const { return 1; }
};

/// The mask option as a score function, for kernels that know that it is in use: what it drops is -inf. Beside it,
/// ranges of keys are those of a causal or window mask.
template <class Accumulation, class Array = Tensor<bool const>>
struct Flagged {
  static constexpr bool takes_long = true;

  Array flags;

  KOKKOS_FORCEINLINE_FUNCTION Flagged of_head(Sequence const& sequence, int h) const {
    return {flags.matrix_from(sequence.batch, h, sequence.q_begin, sequence.k_begin)};
  }
  KOKKOS_FORCEINLINE_FUNCTION Array const& array() const { return flags; }
  template <class Noted>
  KOKKOS_FORCEINLINE_FUNCTION static Flagged<Accumulation, Noted> of_array(Noted const& array) {
    return {array};
  }
  KOKKOS_FORCEINLINE_FUNCTION Accumulation operator()(Accumulation s, int b, int h, index_t i, index_t j) const {
    return flags(b, h, i, j) ? s : -Kokkos::Experimental::infinity_v<Accumulation>;
  }
  /// Gradients of what is dropped are multiplied by a weight of 0.
  KOKKOS_FORCEINLINE_FUNCTION Accumulation derivative(int, int, index_t, index_t) const { return 1; }
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
template <Scalar ScalarType, class Array>
inline constexpr bool is_bias<Bias<ScalarType, Array>> = true;
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

/// An option's score function that is in use, and kernels know it when they are compiled.
template <class F>
struct InUse : F {
  KOKKOS_FORCEINLINE_FUNCTION static constexpr bool active() { return true; }
  KOKKOS_FORCEINLINE_FUNCTION InUse of_head(Sequence const& sequence, int h) const {
    return {Impl::of_head(static_cast<F const&>(*this), sequence, h)};
  }
};

/// Whether it is known when compiled that a score function is in use.
template <class F>
inline constexpr bool known_active = !requires(F const& f) {
  f.active();
};
template <class F>
inline constexpr bool known_active<InUse<F>> = true;

/// What is known to be in use, and looks up an array for every pair.
template <class F>
inline constexpr bool looks_up_array = false;
template <class F>
inline constexpr bool looks_up_array<InUse<F>> = requires(F const& f) {
  f.array();
};

template <class F>
inline constexpr bool takes_long = requires {
  requires F::takes_long;
};

/// Score functions one after the other. Options that are not in use cost one test a row, none an element.
template <class... Functions>
struct ScoreChain {
  /// Whether none of them takes long for a score.
  static constexpr bool is_quick = true;
  /// Whether gradients go through it without scores.
  template <class Accumulation>
  static constexpr bool is_linear          = true;
  static constexpr bool looks_up_one_array = false;

  KOKKOS_FORCEINLINE_FUNCTION bool active() const { return false; }
  KOKKOS_FORCEINLINE_FUNCTION ScoreChain of_head(Sequence const&, int) const { return {}; }
  KOKKOS_FORCEINLINE_FUNCTION void const* array_of(Sequence const&, int) const { return nullptr; }
  template <class Row>
  KOKKOS_FORCEINLINE_FUNCTION void apply(Row const&, Sequence const&, int) const {}
  template <ScoreInput input, class Row>
  KOKKOS_FORCEINLINE_FUNCTION void differentiate(Row const&, Sequence const&, int) const {}
  template <class Row>
  KOKKOS_FORCEINLINE_FUNCTION void multiply_gradients(Row const&, Sequence const&, int) const {}
  template <class Row>
  static constexpr bool is_by_pairs = true;
  template <ScoreInput input, class Accumulation, class Position>
  KOKKOS_FORCEINLINE_FUNCTION void differentiate_pair(Accumulation&, Accumulation&, int, int, Position,
                                                      Position) const {}
};

template <class First, class... Rest>
struct ScoreChain<First, Rest...> {
  First first;
  ScoreChain<Rest...> rest;

  static constexpr bool is_quick = !takes_long<First> && ScoreChain<Rest...>::is_quick;
  template <class Accumulation>
  static constexpr bool is_linear =
      LinearScoreFunction<First, Accumulation>&& ScoreChain<Rest...>::template is_linear<Accumulation>;
  /// Of kernels for one option, which looks up an array.
  static constexpr bool looks_up_one_array = sizeof...(Rest) == 0 && looks_up_array<First>;

  KOKKOS_FORCEINLINE_FUNCTION bool active() const { return is_active() || rest.active(); }

  /// What the following are to be called of.
  KOKKOS_FORCEINLINE_FUNCTION ScoreChain of_head(Sequence const& sequence, int h) const {
    return {Impl::of_head(first, sequence, h), rest.of_head(sequence, h)};
  }

  /// Where the one array that is looked up lies, of a head.
  KOKKOS_FORCEINLINE_FUNCTION void const* array_of([[maybe_unused]] Sequence const& sequence,
                                                   [[maybe_unused]] int h) const {
    if constexpr (looks_up_one_array)
      return of_head(sequence, h).first.array().data;
    else
      return nullptr;
  }

  /// Replaces a row's scores by their image; row.transform(f(i, j, score)).
  template <class Row>
  KOKKOS_FORCEINLINE_FUNCTION void apply(Row const& row, Sequence const& sequence, int h) const {
    if (is_active()) {
      using Accumulation = typename Row::value_type;
      if constexpr (AddsBias<Row, First>)
        row.add(first.bias, sequence.batch, h);
      else if constexpr (KeepsFlagged<Row, First>)
        row.keep_flagged(first.flags, sequence.batch, h);
      else
        row.transform([&](auto i, auto j, Accumulation s) { return Impl::value(first, s, sequence.batch, h, i, j); });
    }
    rest.apply(row, sequence, h);
  }

  /// The same, and multiplies each score's gradient by the derivative with respect to the input;
  /// row.update(f(i, j, score, gradient)).
  template <ScoreInput input, class Row>
  KOKKOS_FORCEINLINE_FUNCTION void differentiate(Row const& row, Sequence const& sequence, int h) const {
    using Accumulation = typename Row::value_type;
    if (is_active()) {
      if constexpr (AddsBias<Row, First>)
        row.add(first.bias, sequence.batch, h);
      else if constexpr (KeepsFlagged<Row, First>)
        row.keep_flagged(first.flags, sequence.batch, h);
      else
        row.update([&](auto i, auto j, Accumulation& s, Accumulation& gradient) {
          differentiate_first<input>(s, gradient, sequence.batch, h, i, j);
        });
    }
    // What comes after the bias acts on it as on the product.
    rest.template differentiate<is_bias<First> ? ScoreInput::product : input>(row, sequence, h);
  }

  /// Whether it does the same pair by pair, whatever is in use.
  template <class Row>
  static constexpr bool is_by_pairs = !AddsBias<Row, First> && !KeepsFlagged<Row, First> && known_active<First> &&
                                      ScoreChain<Rest...>::template is_by_pairs<Row>;
  template <ScoreInput input, class Accumulation, class Position>
  KOKKOS_FORCEINLINE_FUNCTION void differentiate_pair(Accumulation& s, Accumulation& gradient, int b, int h, Position i,
                                                      Position j) const {
    differentiate_first<input>(s, gradient, b, h, i, j);
    rest.template differentiate_pair<is_bias<First> ? ScoreInput::product : input>(s, gradient, b, h, i, j);
  }

  /// The same of gradients alone, if it is linear; row.multiply_gradients(f(i, j)).
  template <class Row>
  KOKKOS_FORCEINLINE_FUNCTION void multiply_gradients(Row const& row, Sequence const& sequence, int h) const {
    using Accumulation = typename Row::value_type;
    static_assert(is_linear<Accumulation>);
    if (is_active())
      row.multiply_gradients(
          [&](index_t i, index_t j) -> Accumulation { return first.derivative(sequence.batch, h, i, j); });
    rest.multiply_gradients(row, sequence, h);
  }

 private:
  template <ScoreInput input, class Accumulation, class Position>
  KOKKOS_FORCEINLINE_FUNCTION void differentiate_first(Accumulation& s, Accumulation& gradient, int b, int h,
                                                       Position i, Position j) const {
    if constexpr (input == ScoreInput::product) gradient *= Impl::derivative<Accumulation>(first, s, b, h, i, j);
    s = Impl::value(first, s, b, h, i, j);
  }
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

/// Score functions that look up their array where an engine has noted that it is: till then, its place takes no
/// registers. engine.noted(array) is what to look up.
template <class Engine, class Scores>
KOKKOS_FORCEINLINE_FUNCTION auto noted_scores([[maybe_unused]] Engine const& engine, Scores const& scores) {
  if constexpr (Scores::looks_up_one_array) {
    if constexpr (requires { engine.noted(scores.first.array()); }) {
      auto const first = scores.first.of_array(engine.noted(scores.first.array()));
      return ScoreChain<InUse<std::remove_cv_t<decltype(first)>>>{{first}, {}};
    } else {
      return scores;
    }
  } else {
    return scores;
  }
}

}  // namespace KokkosAttention::Impl

#endif
