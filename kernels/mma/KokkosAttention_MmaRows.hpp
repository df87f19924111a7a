// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMAROWS_HPP
#define KOKKOSATTENTION_MMAROWS_HPP

#include <KokkosAttention_MmaArithmetic.hpp>
#include <KokkosAttention_MmaExponential.hpp>
#include <KokkosAttention_Softmax.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// Rows of scores that lie in the registers of a warp. A lane holds a part of several rows, and works on all of them at
/// once: what is one number a row is a RowPack.

namespace KokkosAttention::Impl {

/// A number for each row of which a lane holds a part.
template <class T, int n>
struct RowPack {
  T value[n];

  RowPack() = default;
  KOKKOS_FORCEINLINE_FUNCTION explicit RowPack(T x) {
    KOKKOSATTENTION_UNROLL
    for (int r = 0; r < n; ++r) value[r] = x;
  }

  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION static RowPack of(F const& f) {
    RowPack result;
    KOKKOSATTENTION_UNROLL
    for (int r = 0; r < n; ++r) result.value[r] = f(r);
    return result;
  }

  KOKKOS_FORCEINLINE_FUNCTION friend RowPack operator+(RowPack const& a, RowPack const& b) {
    return of([&](int r) { return a.value[r] + b.value[r]; });
  }
  KOKKOS_FORCEINLINE_FUNCTION friend RowPack operator-(RowPack const& a, RowPack const& b) {
    return of([&](int r) { return a.value[r] - b.value[r]; });
  }
  KOKKOS_FORCEINLINE_FUNCTION friend RowPack operator*(RowPack const& a, RowPack const& b) {
    return of([&](int r) { return a.value[r] * b.value[r]; });
  }
};

template <class T, int n>
KOKKOS_FORCEINLINE_FUNCTION RowPack<T, n> larger(RowPack<T, n> const& a, RowPack<T, n> const& b) {
  return RowPack<T, n>::of([&](int r) { return larger(a.value[r], b.value[r]); });
}
template <class T, int n>
KOKKOS_FORCEINLINE_FUNCTION RowPack<T, n> softmax_shift(RowPack<T, n> const& maximum) {
  return RowPack<T, n>::of([&](int r) { return softmax_shift(maximum.value[r]); });
}
/// Of a change of the maximum, which after a few tiles is seldom any.
template <class T, int n>
KOKKOS_FORCEINLINE_FUNCTION RowPack<T, n> softmax_exponential(RowPack<T, n> const& x) {
  bool change = false;
  KOKKOSATTENTION_UNROLL
  for (int r = 0; r < n; ++r) change = change || x.value[r] != T(0);
  if (!any_lane(change)) return RowPack<T, n>(T(1));
  return RowPack<T, n>::of([&](int r) { return branch_free_exponential(x.value[r]); });
}

/// Where a lane's part of a tile lies: rows row + 16 b + 8 h, columns column + 8 n + e.
struct MmaPlace {
  index_t row, column;  // positions in the sequence
  int rows, columns;    // how far the tile goes from there

  KOKKOS_FORCEINLINE_FUNCTION bool holds(int r, int c) const { return r < rows && c < columns; }
};

/// Calls f(b, n, h, e) for a lane's elements.
template <int row_blocks, int column_blocks, class F>
KOKKOS_FORCEINLINE_FUNCTION void for_each_element(F const& f) {
  KOKKOSATTENTION_UNROLL
  for (int b = 0; b < row_blocks; ++b) {
    KOKKOSATTENTION_UNROLL
    for (int n = 0; n < column_blocks; ++n) {
      KOKKOSATTENTION_UNROLL
      for (int h = 0; h < 2; ++h) {
        KOKKOSATTENTION_UNROLL
        for (int e = 0; e < 2; ++e) f(b, n, h, e);
      }
    }
  }
}

/// The lane's part of a tile's rows of scores, in registers.
template <class Arithmetic, class T, int row_blocks, int column_blocks>
class MmaRows {
  using Sum = typename Arithmetic::Sum;

 public:
  static constexpr int rows = 2 * row_blocks;
  using value_type          = T;
  using Pack                = RowPack<T, rows>;

 private:
  Sum (&m_scores)[row_blocks][column_blocks];
  SoftmaxState<Pack>& m_state;
  unsigned const (&m_kept)[rows];
  WarpExponential m_exponential;
  MmaPlace m_place;

 public:
  KOKKOS_FORCEINLINE_FUNCTION MmaRows(Sum (&scores)[row_blocks][column_blocks], SoftmaxState<Pack>& state,
                                      unsigned const (&kept)[rows], WarpExponential const& exponential,
                                      MmaPlace const& place)
      : m_scores(scores), m_state(state), m_kept(kept), m_exponential(exponential), m_place(place) {}

  KOKKOS_FORCEINLINE_FUNCTION SoftmaxState<Pack> const& state() const { return m_state; }
  KOKKOS_FORCEINLINE_FUNCTION void set_state(SoftmaxState<Pack> const& state) const { m_state = state; }

  KOKKOS_FORCEINLINE_FUNCTION bool kept(index_t i, index_t j) const {
    int const r = static_cast<int>(i - m_place.row) / 8, c = static_cast<int>(j - m_place.column);
    return m_kept[r] >> (c / 8 * 2 + c % 8) & 1u;
  }

  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void transform(F const& f) const {
    for_each_element<row_blocks, column_blocks>([&](int b, int n, int h, int e) {
      int const r = 16 * b + 8 * h, c = 8 * n + e;
      T& score = m_scores[b][n].value[2 * h + e];
      if (m_place.holds(r, c)) score = f(m_place.row + r, m_place.column + c, score);
    });
  }

  KOKKOS_FORCEINLINE_FUNCTION Pack maximum() const {
    // In pairs: a chain would wait for every comparison.
    T most_of[rows][2 * column_blocks];
    for_each_element<row_blocks, column_blocks>(
        [&](int b, int n, int h, int e) { most_of[2 * b + h][2 * n + e] = m_scores[b][n].value[2 * h + e]; });
    KOKKOSATTENTION_UNROLL
    for (int width = column_blocks; width > 0; width /= 2) {
      KOKKOSATTENTION_UNROLL
      for (int r = 0; r < rows; ++r) {
        KOKKOSATTENTION_UNROLL
        for (int c = 0; c < width; ++c) most_of[r][c] = larger(most_of[r][c], most_of[r][c + width]);
      }
    }
    Pack most = Pack::of([&](int r) { return most_of[r][0]; });
    KOKKOSATTENTION_UNROLL
    for (int difference = 1; difference < 4; difference *= 2)
      most = larger(most, Pack::of([&](int r) { return quad_exchange(most.value[r], difference); }));
    return most;
  }

  /// Replaces each score by exp(score - shift) and returns the sums of those that the lane holds: the quad's lanes add
  /// theirs up at the end.
  KOKKOS_FORCEINLINE_FUNCTION Pack exponentiate(Pack const& shift) const {
    Pack sum(T(0));
    for_each_element<row_blocks, column_blocks>([&](int b, int n, int h, int e) {
      T& score = m_scores[b][n].value[2 * h + e];
      score    = m_exponential(score - shift.value[2 * b + h]);
      sum.value[2 * b + h] += score;
    });
    return sum;
  }
};

}  // namespace KokkosAttention::Impl

#endif
