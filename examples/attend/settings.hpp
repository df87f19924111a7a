// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTEND_SETTINGS_HPP
#define ATTEND_SETTINGS_HPP

#include <KokkosAttention.hpp>

#include <algorithm>
#include <cmath>

/// The options of attention that are no arrays, in the words of KokkosAttention::Options.
struct Settings {
  using index_t = KokkosAttention::index_t;

  double scale                         = 0.;
  bool causal                          = false;
  KokkosAttention::Alignment alignment = KokkosAttention::Alignment::bottom_right;
  KokkosAttention::Window window       = {};
  double softcap                       = 0.;
  bool alibi                           = false;

  /// The key at a query's causal diagonal.
  index_t diagonal(index_t query, index_t q_len, index_t k_len) const {
    return alignment == KokkosAttention::Alignment::bottom_right ? query + k_len - q_len : query;
  }

  /// The keys [begin, end) that causal and window leave to a query.
  KokkosAttention::KeyRange keys(index_t query, index_t q_len, index_t k_len) const {
    index_t const center = diagonal(query, q_len, k_len);
    index_t begin = 0, end = k_len;
    if (window.left >= 0) begin = std::max(begin, center - window.left);
    if (window.right >= 0) end = std::min(end, center + window.right + 1);
    if (causal) end = std::min(end, center + 1);
    return {begin, std::max(begin, end)};
  }

  /// The slopes of ALiBi (Press et al., arXiv:2108.12409): a geometric sequence from 2^(-8/heads), its own ratio.
  static double alibi_slope(int head, int heads) { return std::exp2(-8. * (head + 1) / heads); }
};

#endif
