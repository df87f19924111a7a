// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_WEIGHTDROPOUT_HPP
#define KOKKOSATTENTION_WEIGHTDROPOUT_HPP

#include <KokkosAttention_Options.hpp>
#include <KokkosAttention_Philox.hpp>

#include <Kokkos_Core.hpp>

#include <cmath>
#include <cstdint>

/// \file
/// Dropout of attention weights. One Philox draw decides for a quad: four neighbouring keys of a query, of which the
/// first is a multiple of 4. Its key comes from (seed, offset), its counter is (batch, head, query, quad).

namespace KokkosAttention::Impl {

/// Beyond these, positions would not fit the words of a counter.
inline constexpr index_t most_dropout_queries = index_t(1) << 32;
inline constexpr index_t most_dropout_keys    = index_t(1) << 34;

template <class Accumulation>
class WeightDropout {
  PhiloxKey m_key           = {};
  std::uint64_t m_threshold = 0;  // a word below it drops its weight
  Accumulation m_factor     = 1;  // of the weights that are kept

 public:
  using value_type          = Accumulation;
  static constexpr int quad = 4;

  WeightDropout() = default;
  explicit WeightDropout(Dropout const& dropout)
      : m_threshold(static_cast<std::uint64_t>(std::ldexp(dropout.probability, 32))),
        m_factor(static_cast<Accumulation>(dropout.probability < 1. ? 1. / (1. - dropout.probability) : 0.)) {
    auto const low  = [](std::uint64_t n) { return static_cast<std::uint32_t>(n); };
    auto const high = [](std::uint64_t n) { return static_cast<std::uint32_t>(n >> 32); };
    PhiloxCounter const draw =
        philox({low(dropout.offset), high(dropout.offset), 0, 0}, {low(dropout.seed), high(dropout.seed)});
    m_key = {draw.word[0], draw.word[1]};
  }

  KOKKOS_FORCEINLINE_FUNCTION bool active() const { return m_threshold != 0; }
  KOKKOS_FORCEINLINE_FUNCTION Accumulation factor() const { return m_factor; }

  /// Bit n tells whether the weight of key 4 * q + n is kept.
  KOKKOS_FORCEINLINE_FUNCTION unsigned kept_quad(int b, int h, index_t i, index_t q) const {
    PhiloxCounter const draw = philox({static_cast<std::uint32_t>(b), static_cast<std::uint32_t>(h),
                                       static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(q)},
                                      m_key);
    unsigned bits            = 0;
    KOKKOSATTENTION_UNROLL
    for (int n = 0; n < quad; ++n) bits |= unsigned(draw.word[n] >= m_threshold) << n;
    return bits;
  }

  KOKKOS_FORCEINLINE_FUNCTION bool kept(int b, int h, index_t i, index_t j) const {
    return kept_quad(b, h, i, j / quad) >> (j % quad) & 1u;
  }
};

/// Dropout or none, and kernels know which when they are compiled.
template <class Accumulation, bool is_active>
struct KnownDropout : WeightDropout<Accumulation> {
  KnownDropout() = default;
  explicit KnownDropout(WeightDropout<Accumulation> const& dropout) : WeightDropout<Accumulation>(dropout) {}

  KOKKOS_FORCEINLINE_FUNCTION static constexpr bool active() { return is_active; }
};

template <class Accumulation>
using NoDropout = KnownDropout<Accumulation, false>;

}  // namespace KokkosAttention::Impl

#endif
