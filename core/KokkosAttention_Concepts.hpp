// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_CONCEPTS_HPP
#define KOKKOSATTENTION_CONCEPTS_HPP

#include <KokkosAttention_Functors.hpp>
#include <KokkosAttention_Gradients.hpp>
#include <KokkosAttention_Options.hpp>
#include <KokkosAttention_Types.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// What the public functions accept, as far as types tell.

namespace KokkosAttention {

template <class T>
concept ExecutionSpace = Kokkos::is_execution_space_v<T>;

/// A View whose rank and scalar type attention is defined for: q, k, v, out.
template <class V>
concept AttentionView = Kokkos::is_view_v<V> && V::rank()
== 4 && Scalar<std::remove_const_t<typename V::value_type>>;

/// The options of a call whose queries are a Q.
template <AttentionView Q>
using options_t = Options<typename Q::non_const_value_type, typename Q::memory_space>;

/// The gradients of a call whose queries are a Q.
template <AttentionView Q>
using gradients_t = Gradients<typename Q::non_const_value_type, typename Q::memory_space>;

namespace Impl {

template <class V>
inline constexpr bool is_writable = !std::is_const_v<typename V::value_type>;

template <AttentionView Q, class View>
inline constexpr bool same_scalar =
    std::is_same_v<typename Q::non_const_value_type, typename View::non_const_value_type>;

template <AttentionView Q, class Lse>
inline constexpr bool is_lse_view =
    Lse::rank() == 3 &&
    is_writable<Lse>&& std::is_same_v<typename Lse::value_type, accumulation_t<typename Q::non_const_value_type>>;

template <AttentionView Q, class Lse>
inline constexpr bool is_lse_input =
    Lse::rank() == 3 &&
    std::is_same_v<typename Lse::non_const_value_type, accumulation_t<typename Q::non_const_value_type>>;

/// Masks, and score functions that tell their derivative.
template <class F, class Accumulation>
concept DifferentiableFunctor = Mask<F> || DifferentiableScoreFunction<F, Accumulation>;

/// A functor that a user may give after the options.
template <class F, class Accumulation>
concept UserFunctor = Mask<F> || ScoreFunction<F, Accumulation>;

}  // namespace Impl
}  // namespace KokkosAttention

#endif
