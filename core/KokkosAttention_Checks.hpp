// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_CHECKS_HPP
#define KOKKOSATTENTION_CHECKS_HPP

#include <KokkosAttention_Concepts.hpp>
#include <KokkosAttention_WeightDropout.hpp>

#include <Kokkos_Core.hpp>

#include <climits>
#include <cmath>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

/// \file
/// Checks of a call's arguments, made before anything is launched, in release builds too.

namespace KokkosAttention::Impl {

/// Reports wrong arguments of one public function by std::invalid_argument; the message names the function, the
/// argument, what was expected and what was found.
class ArgumentChecker {
  std::string_view m_function;

 public:
  explicit constexpr ArgumentChecker(std::string_view function) : m_function(function) {}

  template <class Expected, class Found>
  void require(bool condition, std::string_view argument, Expected const& expected, Found const& found) const {
    if (condition) return;
    std::ostringstream message;
    message << "KokkosAttention::" << m_function << ": " << argument << ": expected " << expected << ", found "
            << found;
    throw std::invalid_argument(message.str());
  }

  template <class View>
  void extent(View const& view, std::string_view argument, int dimension, std::size_t expected,
              std::string_view meaning) const {
    std::size_t const found = view.extent(dimension);
    if (found == expected) return;
    std::ostringstream wanted;
    wanted << "extent(" << dimension << ") = " << expected << " (" << meaning << ")";
    require(false, argument, wanted.str(), found);
  }

  template <class View>
  void broadcast_extent(View const& view, std::string_view argument, int dimension, std::size_t expected,
                        std::string_view meaning) const {
    if (view.extent(dimension) == 1) return;
    extent(view, argument, dimension, expected, std::string(meaning) + ", or 1 to broadcast");
  }

  /// \param data a View, or whatever else names its memory_space
  template <class ExecutionSpace, class Data>
  void accessible([[maybe_unused]] Data const& data, std::string_view argument) const {
    require(Kokkos::SpaceAccessibility<ExecutionSpace, typename Data::memory_space>::accessible, argument,
            std::string("data accessible from ") + ExecutionSpace::name(),
            std::string("data in ") + Data::memory_space::name());
  }
};

/// A functor may say in which memory it looks things up.
template <class ExecutionSpace, class Functor>
void check_functor([[maybe_unused]] ArgumentChecker const& check, [[maybe_unused]] Functor const& functor) {
  if constexpr (requires { typename Functor::memory_space; })
    check.template accessible<ExecutionSpace>(functor, "functor");
}

inline std::string shape(std::initializer_list<std::size_t> extents) {
  std::ostringstream text;
  text << "(";
  for (char const* separator = ""; std::size_t const extent : extents) {
    text << separator << extent;
    separator = ", ";
  }
  text << ")";
  return text.str();
}

/// Rows of this many numbers still fit every engine's tiles; in the backward pass, which keeps more of them, half as
/// many do.
inline constexpr std::size_t largest_head_dim          = 65536;
inline constexpr std::size_t largest_backward_head_dim = largest_head_dim / 2;

template <class ExecutionSpace, AttentionView Q, AttentionView K, AttentionView V, AttentionView Out>
void check_tensors(ArgumentChecker const& check, Q const& q, K const& k, V const& v, Out const& out) {
  check.template accessible<ExecutionSpace>(q, "q");
  check.template accessible<ExecutionSpace>(k, "k");
  check.template accessible<ExecutionSpace>(v, "v");
  check.template accessible<ExecutionSpace>(out, "out");

  check.require(q.extent(0) <= INT_MAX, "q", "batch below 2^31", q.extent(0));
  check.require(q.extent(1) <= INT_MAX, "q", "heads below 2^31", q.extent(1));
  check.require(q.extent(3) <= largest_head_dim, "q", "head_dim of at most 65536", q.extent(3));
  check.require(v.extent(3) <= largest_head_dim, "v", "value_dim of at most 65536", v.extent(3));
  check.require(q.extent(3) > 0, "q", "head_dim of at least 1", 0);
  check.require(v.extent(3) > 0, "v", "value_dim of at least 1", 0);

  check.extent(k, "k", 0, q.extent(0), "batch of q");
  check.extent(k, "k", 3, q.extent(3), "head_dim of q");
  check.require(k.extent(1) > 0 ? q.extent(1) % k.extent(1) == 0 : q.extent(1) == 0, "k",
                "a number of heads that divides the " + std::to_string(q.extent(1)) + " heads of q", k.extent(1));
  check.extent(v, "v", 0, q.extent(0), "batch of q");
  check.extent(v, "v", 1, k.extent(1), "heads of k");
  check.extent(v, "v", 2, k.extent(2), "k_len, extent(2) of k");
  check.extent(out, "out", 0, q.extent(0), "batch of q");
  check.extent(out, "out", 1, q.extent(1), "heads of q");
  check.extent(out, "out", 2, q.extent(2), "q_len, extent(2) of q");
  check.extent(out, "out", 3, v.extent(3), "value_dim, extent(3) of v");
}

template <class ExecutionSpace, AttentionView Q, class Lse>
void check_lse(ArgumentChecker const& check, Q const& q, Lse const& lse) {
  check.template accessible<ExecutionSpace>(lse, "lse");
  check.extent(lse, "lse", 0, q.extent(0), "batch of q");
  check.extent(lse, "lse", 1, q.extent(1), "heads of q");
  check.extent(lse, "lse", 2, q.extent(2), "q_len, extent(2) of q");
}

/// A gradient, if wanted, has the extents of its input.
template <class Gradient, class Input>
void check_gradient(ArgumentChecker const& check, Gradient const& gradient, Input const& input,
                    std::string const& name) {
  if (gradient.data() == nullptr) return;
  for (int d = 0; d < 4; ++d)
    check.extent(gradient, "gradients." + name, d, input.extent(d), "extent(" + std::to_string(d) + ") of " + name);
}

/// A gradient does not take the place of what the kernels still read, or of another gradient. (Overlapping in between
/// is not looked for: the arrays may be interleaved.)
template <class Gradient, class... Others>
void check_place(ArgumentChecker const& check, Gradient const& gradient, std::string const& name,
                 Others const&... others) {
  bool const taken = ((static_cast<void const*>(gradient.data()) == static_cast<void const*>(others.data())) || ...);
  check.require(gradient.data() == nullptr || gradient.size() == 0 || !taken, "gradients." + name, "memory of its own",
                "that of another argument");
}

template <AttentionView Q, AttentionView K, AttentionView V>
void check_gradients(ArgumentChecker const& check, Q const& q, K const& k, V const& v, options_t<Q> const& options,
                     gradients_t<Q> const& gradients) {
  check_gradient(check, gradients.q, q, "q");
  check_gradient(check, gradients.k, k, "k");
  check_gradient(check, gradients.v, v, "v");
  check.require(gradients.bias.data() == nullptr || options.bias.data() != nullptr, "gradients.bias",
                "none, as options.bias is not given", "a View");
  check_gradient(check, gradients.bias, options.bias, "bias");
}

template <AttentionView Q, AttentionView K, class View>
void check_broadcast(ArgumentChecker const& check, Q const& q, K const& k, View const& view, std::string_view name) {
  if (view.data() == nullptr) return;
  check.broadcast_extent(view, name, 0, q.extent(0), "batch of q");
  check.broadcast_extent(view, name, 1, q.extent(1), "heads of q");
  check.broadcast_extent(view, name, 2, q.extent(2), "q_len, extent(2) of q");
  check.broadcast_extent(view, name, 3, k.extent(2), "k_len, extent(2) of k");
}

/// Offsets of packed sequences. Their values are looked at where the host can read them.
template <class View>
void check_offset_values(ArgumentChecker const& check, View const& offsets, std::size_t len, std::string const& name,
                         std::string_view meaning) {
  if constexpr (Kokkos::SpaceAccessibility<Kokkos::HostSpace, typename View::memory_space>::accessible) {
    index_t last = 0;
    for (std::size_t n = 0; n < offsets.extent(0); last = offsets(n++))
      check.require(offsets(n) >= last, name + "(" + std::to_string(n) + ")",
                    "at least " + std::to_string(last) + ", as offsets ascend from 0", offsets(n));
    check.require(last <= static_cast<index_t>(len), name,
                  "a last offset of at most " + std::to_string(len) + " (" + std::string(meaning) + ")", last);
  }
}

template <AttentionView Q, AttentionView K>
void check_offsets(ArgumentChecker const& check, Q const& q, K const& k, options_t<Q> const& options) {
  bool const packed = options.q_offsets.data() != nullptr;
  check.require(packed == (options.k_offsets.data() != nullptr), packed ? "options.k_offsets" : "options.q_offsets",
                "offsets for queries and keys, or for neither", "none");
  if (!packed) return;
  check.require(q.extent(0) == 1, "q", "a batch of 1 for packed sequences", q.extent(0));
  check.require(options.q_offsets.extent(0) <= INT_MAX, "options.q_offsets", "fewer than 2^31 offsets",
                options.q_offsets.extent(0));
  check.require(options.q_offsets.extent(0) >= 1, "options.q_offsets", "one offset more than there are sequences",
                "none");
  check.extent(options.k_offsets, "options.k_offsets", 0, options.q_offsets.extent(0), "as many as q_offsets");
  check_offset_values(check, options.q_offsets, q.extent(2), "options.q_offsets", "q_len, extent(2) of q");
  check_offset_values(check, options.k_offsets, k.extent(2), "options.k_offsets", "k_len, extent(2) of k");
}

inline void check_dropout(ArgumentChecker const& check, Dropout const& dropout, std::size_t q_len, std::size_t k_len) {
  check.require(dropout.probability >= 0. && dropout.probability <= 1., "options.dropout.probability",
                "a probability in [0, 1]", dropout.probability);
  if (dropout.probability == 0.) return;
  check.require(q_len <= std::size_t(most_dropout_queries), "q", "at most 2^32 queries with dropout", q_len);
  check.require(k_len <= std::size_t(most_dropout_keys), "k", "at most 2^34 keys with dropout", k_len);
}

template <AttentionView Q, AttentionView K>
void check_options(ArgumentChecker const& check, Q const& q, K const& k, options_t<Q> const& options) {
  using Accumulation       = accumulation_t<typename Q::non_const_value_type>;
  auto const representable = [](double value) {
    auto const converted = static_cast<Accumulation>(value);
    return std::isfinite(converted) && (converted != 0) == (value != 0);
  };
  check.require(representable(options.scale), "options.scale", "a finite number, 0 for 1 / sqrt(head_dim)",
                options.scale);
  check.require(representable(options.softcap) && options.softcap >= 0, "options.softcap",
                "a finite number of at least 0", options.softcap);
  check.require(options.window.left >= -1, "options.window.left", "-1 (unbounded) or a number of keys",
                options.window.left);
  check.require(options.window.right >= -1, "options.window.right", "-1 (unbounded) or a number of keys",
                options.window.right);
  check_broadcast(check, q, k, options.mask, "options.mask");
  check_broadcast(check, q, k, options.bias, "options.bias");
  if (options.alibi_slopes.data() != nullptr)
    check.extent(options.alibi_slopes, "options.alibi_slopes", 0, q.extent(1), "heads of q");
  check_dropout(check, options.dropout, q.extent(2), k.extent(2));
  check_offsets(check, q, k, options);
}

template <class View>
void check_workspace(ArgumentChecker const& check, View const& workspace, std::size_t bytes) {
  if (workspace.data() == nullptr) return;
  check.require(workspace.extent(0) >= bytes, "options.workspace", "at least " + std::to_string(bytes) + " bytes",
                workspace.extent(0));
}

}  // namespace KokkosAttention::Impl

#endif
