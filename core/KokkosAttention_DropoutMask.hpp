// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_DROPOUTMASK_HPP
#define KOKKOSATTENTION_DROPOUTMASK_HPP

#include <KokkosAttention_Checks.hpp>
#include <KokkosAttention_Concepts.hpp>
#include <KokkosAttention_Tensor.hpp>
#include <KokkosAttention_WeightDropout.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// What dropout drops, as a mask.

namespace KokkosAttention {
namespace Impl {

struct FillDropoutMaskKernel {
  WeightDropout<float> dropout;
  Tensor<bool> mask;
  index_t heads, q_len, quads, k_len;

  KOKKOS_FUNCTION void operator()(index_t e) const {
    constexpr int quad = WeightDropout<float>::quad;
    index_t const i = e / quads % q_len, h = e / quads / q_len % heads, b = e / quads / q_len / heads;
    index_t const first = e % quads * quad;
    unsigned const kept = dropout.kept_quad(static_cast<int>(b), static_cast<int>(h), i, e % quads);
    for (int n = 0; n < quad && first + n < k_len; ++n)
      mask(b, h, i, first + n) = !dropout.active() || (kept >> n & 1u);
  }
};

}  // namespace Impl

/// Writes which weights a call with these dropout options keeps: true where the weight of key j for query i is kept.
/// For packed sequences the batch index is the number of the sequence, and positions count from its beginning.
/// \param space execution-space instance
/// \param dropout as in Options
/// \param mask bool (batch, heads, q_len, k_len), written
/// \throws std::invalid_argument for a probability outside [0, 1], or a View that `space` cannot access
template <ExecutionSpace Space, class MaskView>
requires Kokkos::is_view_v<MaskView>
void dropout_mask(Space const& space, Dropout const& dropout, MaskView const& mask) {
  static_assert(MaskView::rank() == 4 && std::is_same_v<typename MaskView::value_type, bool>,
                "KokkosAttention::dropout_mask: the mask must be a writable bool View of rank 4");
  Impl::ArgumentChecker const check("dropout_mask");
  check.template accessible<Space>(mask, "mask");
  Impl::check_dropout(check, dropout, mask.extent(2), mask.extent(3));
  index_t const k_len = mask.extent(3), quads = (k_len + 3) / 4;
  Kokkos::parallel_for(
      "KokkosAttention::dropout_mask",
      Kokkos::RangePolicy<Space, Kokkos::IndexType<index_t>>(
          space, 0, index_t(mask.extent(0)) * index_t(mask.extent(1)) * index_t(mask.extent(2)) * quads),
      Impl::FillDropoutMaskKernel{Impl::WeightDropout<float>(dropout), Impl::make_tensor<bool>(mask),
                                  index_t(mask.extent(1)), index_t(mask.extent(2)), quads, k_len});
}

/// As above, on the default instance of the mask's execution space.
template <class MaskView>
requires Kokkos::is_view_v<MaskView>
void dropout_mask(Dropout const& dropout, MaskView const& mask) {
  dropout_mask(typename MaskView::execution_space(), dropout, mask);
}

}  // namespace KokkosAttention

#endif
