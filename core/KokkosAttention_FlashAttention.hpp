// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_FLASHATTENTION_HPP
#define KOKKOSATTENTION_FLASHATTENTION_HPP

#include <KokkosAttention_Backward.hpp>
#include <KokkosAttention_Forward.hpp>
#include <KokkosAttention_Unfused.hpp>

#include <Kokkos_Core.hpp>

#include <atomic>
#include <cstdint>

/// \file
/// The attention module, for those who come from Python: settings once, then calls that allocate their output.

namespace KokkosAttention {

/// Settings of the module FlashAttention.
struct FlashAttentionSettings {
  bool causal        = false;  ///< aligned bottom-right: the last query sees every key
  double dropout     = 0.;     ///< probability with which a weight is dropped, in training mode
  bool flash         = true;   ///< false: store the scores and multiply by Kokkos Kernels where the build has it
  std::uint64_t seed = 0;      ///< of dropout
};

namespace Impl {

/// An optional argument that was not given.
struct None {};

/// Leading dimensions that a View lacks become broadcast ones: (i, j) -> (1, 1, i, j), (h, i, j) -> (1, h, i, j).
template <class View>
auto with_leading_dimensions(View const& view) {
  static_assert(View::rank() >= 2 && View::rank() <= 4, "KokkosAttention: masks and biases have rank 2, 3 or 4");
  Kokkos::LayoutStride layout(1, 0, 1, 0, 1, 0, 1, 0);
  for (std::size_t from = 0, to = 4 - View::rank(); from < View::rank(); ++from, ++to) {
    layout.dimension[to] = view.extent(from);
    layout.stride[to]    = view.stride(from);
  }
  return BroadcastView<typename View::non_const_value_type, typename View::memory_space>(view.data(), layout);
}

/// Keys or values (batch, k_len, dim) of one shared head become (batch, 1, k_len, dim).
template <class View>
auto with_heads(View const& view) {
  if constexpr (View::rank() == 3) {
    Kokkos::LayoutStride const layout(view.extent(0), view.stride(0), 1, 0, view.extent(1), view.stride(1),
                                      view.extent(2), view.stride(2));
    return BroadcastView<typename View::non_const_value_type, typename View::memory_space>(view.data(), layout);
  } else {
    return view;
  }
}

/// Outputs have the layout of the queries where that is a dense one.
template <AttentionView Q>
using output_view_t = Kokkos::View<typename Q::non_const_value_type****,
                                   std::conditional_t<std::is_same_v<typename Q::array_layout, Kokkos::LayoutLeft>,
                                                      Kokkos::LayoutLeft, Kokkos::LayoutRight>,
                                   typename Q::memory_space>;

/// Counts calls, also of several threads; a copy goes on from the same number.
class CallCounter {
  std::atomic<std::uint64_t> m_calls = 0;

 public:
  CallCounter() = default;
  CallCounter(CallCounter const& other) : m_calls(other.value()) {}
  CallCounter& operator=(CallCounter const& other) {
    m_calls = other.value();
    return *this;
  }
  std::uint64_t value() const { return m_calls; }
  std::uint64_t next() { return m_calls++; }
};

}  // namespace Impl

/// What a call of the module leaves for the backward pass. Refers to the arrays that the call was given: they must live
/// until then.
template <AttentionView Q>
struct Recorded {
  using Input = BroadcastView<typename Q::non_const_value_type, typename Q::memory_space>;

  Impl::output_view_t<Q> out;
  Kokkos::View<accumulation_t<typename Q::non_const_value_type>***, typename Q::memory_space> lse;
  Input q, k, v;  ///< of rank 4
  options_t<Q> options;
};

/// Gradients through a recorded call, see backward. They have rank 4, also where an argument of the call had less: its
/// leading extents, or the heads of k and v, are 1.
template <ExecutionSpace Space, AttentionView DOut, AttentionView Q>
void backward(Space const& space, DOut const& d_out, Recorded<Q> const& call, gradients_t<Q> const& gradients) {
  backward(space, d_out, call.q, call.k, call.v, call.out, call.lse, gradients, call.options);
}
template <AttentionView DOut, AttentionView Q>
void backward(DOut const& d_out, Recorded<Q> const& call, gradients_t<Q> const& gradients) {
  backward(typename Q::execution_space(), d_out, call, gradients);
}

/// Attention as a module. A mask says true where a query may attend to a key, in every method; mask, bias and causal
/// combine; a query with nothing to attend gives zeros.
///
/// Arguments of all calls:
///  - q (batch, heads, q_len, dim)
///  - k, v (batch, kv_heads, k_len, dim), or of rank 3 (batch, k_len, dim): one head shared by all query heads
///  - mask, bool, and bias, in the scalar type: (q_len, k_len), (heads, q_len, k_len) or (batch, heads, q_len, k_len);
///    an extent of 1 broadcasts; leave out, or give {}, for none
///
/// Calls take an execution-space instance first, or run on the default instance of q's execution space. They return a
/// newly allocated output (batch, heads, q_len, value dim).
///
/// In training mode each call drops other weights: the n-th one, refused calls among them, draws with offset n.
class FlashAttention {
  FlashAttentionSettings m_settings;
  bool m_training = true;
  mutable Impl::CallCounter m_dropout_calls;

 public:
  /// \throws std::invalid_argument for a dropout outside [0, 1]
  explicit FlashAttention(FlashAttentionSettings const& settings = {}) : m_settings(settings) {
    Impl::ArgumentChecker("FlashAttention")
        .require(settings.dropout >= 0. && settings.dropout <= 1., "dropout", "a probability in [0, 1]",
                 settings.dropout);
  }

  FlashAttentionSettings const& settings() const { return m_settings; }

  /// Training mode, in which a new module is, applies dropout; evaluation mode does not.
  FlashAttention& train(bool training = true) {
    m_training = training;
    return *this;
  }
  FlashAttention& eval() { return train(false); }
  bool is_training() const { return m_training; }

  /// The dropout of the next call.
  Dropout next_dropout() const {
    if (!m_training || m_settings.dropout == 0.) return {};
    return {m_settings.dropout, m_settings.seed, m_dropout_calls.value()};
  }

  /// The causal mask (q_len, k_len), aligned bottom-right: true where query i may attend to key j.
  template <ExecutionSpace Space = Kokkos::DefaultExecutionSpace>
  Kokkos::View<bool**, typename Space::memory_space> get_mask(Space const& space, index_t q_len, index_t k_len) const {
    Impl::ArgumentChecker const check("FlashAttention::get_mask");
    check.require(q_len >= 0, "q_len", "a length", q_len);
    check.require(k_len >= 0, "k_len", "a length", k_len);
    Kokkos::View<bool**, typename Space::memory_space> const mask(
        Kokkos::view_alloc(space, Kokkos::WithoutInitializing, "KokkosAttention::mask"), q_len, k_len);
    Impl::BandMask const band =
        Impl::make_band_mask(true, {}, Alignment::bottom_right).in_sequence({0, 0, 0, q_len, 0, k_len});
    Impl::fill_mask(space, band, mask);
    return mask;
  }

  Kokkos::View<bool**, Kokkos::DefaultExecutionSpace::memory_space> get_mask(index_t q_len, index_t k_len) const {
    return get_mask(Kokkos::DefaultExecutionSpace(), q_len, k_len);
  }

  /// Attention by the fused engines, whatever `settings().flash` says.
  template <ExecutionSpace Space, AttentionView Q, class K, class V, class MaskView = Impl::None,
            class BiasView = Impl::None>
  Impl::output_view_t<Q> flash_attn(Space const& space, Q const& q, K const& k, V const& v, MaskView const& mask = {},
                                    BiasView const& bias = {}) const {
    return attend(space, q, k, v, mask, bias, true).out;
  }
  template <AttentionView Q, class K, class V, class MaskView = Impl::None, class BiasView = Impl::None>
  Impl::output_view_t<Q> flash_attn(Q const& q, K const& k, V const& v, MaskView const& mask = {},
                                    BiasView const& bias = {}) const {
    return flash_attn(typename Q::execution_space(), q, k, v, mask, bias);
  }

  /// Attention by the fused engines, or with stored scores if `settings().flash` is false. The two agree to rounding.
  template <ExecutionSpace Space, AttentionView Q, class K, class V, class MaskView = Impl::None,
            class BiasView = Impl::None>
  Impl::output_view_t<Q> forward(Space const& space, Q const& q, K const& k, V const& v, MaskView const& mask = {},
                                 BiasView const& bias = {}) const {
    return attend(space, q, k, v, mask, bias, m_settings.flash).out;
  }
  template <AttentionView Q, class K, class V, class MaskView = Impl::None, class BiasView = Impl::None>
  Impl::output_view_t<Q> forward(Q const& q, K const& k, V const& v, MaskView const& mask = {},
                                 BiasView const& bias = {}) const {
    return forward(typename Q::execution_space(), q, k, v, mask, bias);
  }

  /// The same as forward.
  template <ExecutionSpace Space, AttentionView Q, class K, class V, class MaskView = Impl::None,
            class BiasView = Impl::None>
  Impl::output_view_t<Q> operator()(Space const& space, Q const& q, K const& k, V const& v, MaskView const& mask = {},
                                    BiasView const& bias = {}) const {
    return forward(space, q, k, v, mask, bias);
  }
  template <AttentionView Q, class K, class V, class MaskView = Impl::None, class BiasView = Impl::None>
  Impl::output_view_t<Q> operator()(Q const& q, K const& k, V const& v, MaskView const& mask = {},
                                    BiasView const& bias = {}) const {
    return forward(q, k, v, mask, bias);
  }

  /// As forward, and keeps what gradients need: give the result to `backward`.
  template <ExecutionSpace Space, AttentionView Q, class K, class V, class MaskView = Impl::None,
            class BiasView = Impl::None>
  Recorded<Q> record(Space const& space, Q const& q, K const& k, V const& v, MaskView const& mask = {},
                     BiasView const& bias = {}) const {
    Kokkos::View<accumulation_t<typename Q::non_const_value_type>***, typename Q::memory_space> const lse(
        Kokkos::view_alloc(space, Kokkos::WithoutInitializing, "KokkosAttention::lse"), q.extent(0), q.extent(1),
        q.extent(2));
    return attend(space, q, k, v, mask, bias, m_settings.flash, lse);
  }
  template <AttentionView Q, class K, class V, class MaskView = Impl::None, class BiasView = Impl::None>
  Recorded<Q> record(Q const& q, K const& k, V const& v, MaskView const& mask = {}, BiasView const& bias = {}) const {
    return record(typename Q::execution_space(), q, k, v, mask, bias);
  }

 private:
  /// \param lse NoLse, or where to store it
  template <ExecutionSpace Space, AttentionView Q, class K, class V, class MaskView, class BiasView,
            class Lse = Impl::NoLse>
  Recorded<Q> attend(Space const& space, Q const& q, K const& k, V const& v, MaskView const& mask, BiasView const& bias,
                     bool flash, Lse const& lse = {}) const {
    static_assert(K::rank() == V::rank() && (K::rank() == 3 || K::rank() == 4),
                  "KokkosAttention::FlashAttention: k and v must both have rank 4, or both rank 3 (one shared head)");
    options_t<Q> options{.causal = m_settings.causal, .dropout = next_dropout()};
    if (options.dropout.probability > 0.) options.dropout.offset = m_dropout_calls.next();
    if constexpr (!std::is_same_v<MaskView, Impl::None>) options.mask = Impl::with_leading_dimensions(mask);
    if constexpr (!std::is_same_v<BiasView, Impl::None>) options.bias = Impl::with_leading_dimensions(bias);

    auto const keys   = Impl::with_heads(k);
    auto const values = Impl::with_heads(v);
    Impl::output_view_t<Q> const out(Kokkos::view_alloc(space, Kokkos::WithoutInitializing, "KokkosAttention::out"),
                                     q.extent(0), q.extent(1), q.extent(2), values.extent(3));
    if (flash)
      Impl::forward(space, q, keys, values, out, lse, options);
    else
      Impl::forward_unfused(space, q, keys, values, out, lse, options);
    Recorded<Q> call{out, {}, q, keys, values, options};
    if constexpr (!std::is_same_v<Lse, Impl::NoLse>) call.lse = lse;
    return call;
  }
};

}  // namespace KokkosAttention

#endif
