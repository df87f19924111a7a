// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_FLASHATTENTION_HPP
#define KOKKOSATTENTION_FLASHATTENTION_HPP

#include <KokkosAttention_Forward.hpp>
#include <KokkosAttention_Unfused.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The attention module, for those who come from Python: settings once, then calls that allocate their output.

namespace KokkosAttention {

/// Settings of the module FlashAttention.
struct FlashAttentionSettings {
  bool causal    = false;  ///< aligned bottom-right: the last query sees every key
  double dropout = 0.;     ///< probability with which a weight is dropped, in training mode
  bool flash     = true;   ///< false: store the scores and multiply by Kokkos Kernels where the build has it
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

}  // namespace Impl

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
class FlashAttention {
  FlashAttentionSettings m_settings;
  bool m_training = true;

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

  /// The causal mask (q_len, k_len), aligned bottom-right: true where query i may attend to key j.
  template <ExecutionSpace Space = Kokkos::DefaultExecutionSpace>
  Kokkos::View<bool**, typename Space::memory_space> get_mask(Space const& space, index_t q_len, index_t k_len) const {
    Impl::ArgumentChecker const check("FlashAttention::get_mask");
    check.require(q_len >= 0, "q_len", "a length", q_len);
    check.require(k_len >= 0, "k_len", "a length", k_len);
    Kokkos::View<bool**, typename Space::memory_space> const mask(
        Kokkos::view_alloc(space, Kokkos::WithoutInitializing, "KokkosAttention::mask"), q_len, k_len);
    Impl::BandMask const band =
        Impl::make_band_mask(true, {}, Impl::diagonal_offset(Alignment::bottom_right, q_len, k_len));
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
    return attend(space, q, k, v, mask, bias, true);
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
    return attend(space, q, k, v, mask, bias, m_settings.flash);
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

 private:
  template <ExecutionSpace Space, AttentionView Q, class K, class V, class MaskView, class BiasView>
  Impl::output_view_t<Q> attend(Space const& space, Q const& q, K const& k, V const& v, MaskView const& mask,
                                BiasView const& bias, bool flash) const {
    static_assert(K::rank() == V::rank() && (K::rank() == 3 || K::rank() == 4),
                  "KokkosAttention::FlashAttention: k and v must both have rank 4, or both rank 3 (one shared head)");
    Impl::ArgumentChecker("FlashAttention")
        .require(!m_training || m_settings.dropout == 0., "dropout",
                 "0 in training mode (this version has no dropout; eval() switches it off)", m_settings.dropout);
    options_t<Q> options{.causal = m_settings.causal};
    if constexpr (!std::is_same_v<MaskView, Impl::None>) options.mask = Impl::with_leading_dimensions(mask);
    if constexpr (!std::is_same_v<BiasView, Impl::None>) options.bias = Impl::with_leading_dimensions(bias);

    auto const keys   = Impl::with_heads(k);
    auto const values = Impl::with_heads(v);
    Impl::output_view_t<Q> const out(Kokkos::view_alloc(space, Kokkos::WithoutInitializing, "KokkosAttention::out"),
                                     q.extent(0), q.extent(1), q.extent(2), values.extent(3));
    if (flash)
      KokkosAttention::forward(space, q, keys, values, out, options);
    else
      Impl::forward_unfused(space, q, keys, values, out, Impl::NoLse{}, options);
    return out;
  }
};

}  // namespace KokkosAttention

#endif
