// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTBIASENGINE_HPP
#define KOKKOSATTENTION_HOSTBIASENGINE_HPP

#include <KokkosAttention_HostBackwardEngine.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// The host engine's gradient of the bias: sums of gradients of scores, keys by queries, with queries in the lanes.

namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT {

template <Scalar ScalarType>
class HostBiasEngine : public HostBackwardEngine<ScalarType, GradientOf::bias> {
  using Base   = HostBackwardEngine<ScalarType, GradientOf::bias>;
  using T      = typename Base::T;
  using Vector = typename Base::Vector;

 public:
  using Base::Base;

  void clear_sums() const { std::fill_n(this->m_first_sum, this->m_tile.other * this->m_tile.vectors, Vector(T(0))); }

  void begin(Sequence const& sequence, Tile const& tile) {
    this->begin_rows(sequence, tile);
    this->load_own(tile);
  }

  /// Done by for_each_row.
  void accumulate(Tile const&) const {}

  template <class Store>
  void for_each_sum(int rows, int columns, Store const& store) const {
    for (int r = 0; r < rows; ++r)
      for (int c = 0; c < columns; ++c) store(r, c, sum(r, c));
  }

  template <class Store>
  void for_each_row_sum(Side side, int rows, Store const& store) const {
    int const others = side == Side::queries ? this->m_tile.other : this->m_tile.own;
    for (int n = 0; n < rows; ++n) {
      T total = 0;
      for (int other = 0; other < others; ++other) total += side == Side::queries ? sum(n, other) : sum(other, n);
      store(n, total);
    }
  }

 private:
  /// Of a query and a key of the tile.
  T sum(int query, int key) const {
    return reinterpret_cast<T const*>(this->m_first_sum)[key * this->m_tile.own + query];
  }
};

}  // namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT

#endif
