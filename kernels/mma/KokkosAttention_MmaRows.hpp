// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMAROWS_HPP
#define KOKKOSATTENTION_MMAROWS_HPP

#include <KokkosAttention_MmaArithmetic.hpp>
#include <KokkosAttention_MmaCopiedBias.hpp>
#include <KokkosAttention_MmaFlags.hpp>
#include <KokkosAttention_MmaLookup.hpp>
#include <KokkosAttention_MmaPlace.hpp>
#include <KokkosAttention_Softmax.hpp>

#include <Kokkos_Core.hpp>

#include <cstdint>
#include <type_traits>

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

/// One instruction in float32. Of a NaN and a number it may be either.
template <class T>
KOKKOS_FORCEINLINE_FUNCTION T quick_larger(T a, T b) {
  if constexpr (std::is_same_v<T, float>)
    return Kokkos::fmax(a, b);
  else
    return larger(a, b);
}

template <class T, int n>
KOKKOS_FORCEINLINE_FUNCTION RowPack<T, n> larger(RowPack<T, n> const& a, RowPack<T, n> const& b) {
  return RowPack<T, n>::of([&](int r) { return quick_larger(a.value[r], b.value[r]); });
}
/// A maximum that is left behind by no more than a factor of 16 of the weights stays: the output, which is divided by
/// the sum of the same weights at the end, then need not be rescaled (as in FlashAttention-4).
template <class T, int n>
KOKKOS_FORCEINLINE_FUNCTION RowPack<T, n> next_maximum(RowPack<T, n> const& old, RowPack<T, n> const& found) {
  constexpr T slack = T(2.75);  // below ln 16
  return RowPack<T, n>::of(
      [&](int r) { return found.value[r] > old.value[r] + slack ? found.value[r] : old.value[r]; });
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

/// The same for those that the tile has. Mostly it has all, and nothing is asked of each.
template <int row_blocks, int column_blocks, class F>
KOKKOS_FORCEINLINE_FUNCTION void for_each_element_within(MmaPlace const& place, F const& f) {
  if (place.holds_all<row_blocks, column_blocks>())
    for_each_element<row_blocks, column_blocks>(f);
  else
    for_each_element<row_blocks, column_blocks>([&](int b, int n, int h, int e) {
      if (place.holds(16 * b + 8 * h, 8 * n + e)) f(b, n, h, e);
    });
}

/// Multiplies scores by a factor that was put off, if it was.
template <class Sum, class T, int row_blocks, int column_blocks>
KOKKOS_FORCEINLINE_FUNCTION void apply_factor(Sum (&scores)[row_blocks][column_blocks], T& factor) {
  if (factor == T(1)) return;
  for_each_element<row_blocks, column_blocks>(
      [&](int b, int n, int h, int e) { scores[b][n].value[2 * h + e] *= factor; });
  factor = 1;
}

/// The lane's part of a tile's rows of scores, in registers.
template <class Arithmetic, class T, int row_blocks, int column_blocks>
class MmaRows {
  using Sum         = typename Arithmetic::Sum;
  using Exponential = typename Arithmetic::Exponential;

 public:
  static constexpr int rows               = 2 * row_blocks;
  static constexpr bool takes_masks_apart = true;
  using value_type                        = T;
  using Pack                              = RowPack<T, rows>;

 private:
  Sum (&m_scores)[row_blocks][column_blocks];
  T& m_factor;
  SoftmaxState<Pack>& m_state;
  unsigned const (&m_kept)[rows];
  Exponential m_exponential;
  MmaPlace m_place;

 public:
  /// \param factor of all scores, above 0, which may be put off until their exponentials
  KOKKOS_FORCEINLINE_FUNCTION MmaRows(Sum (&scores)[row_blocks][column_blocks], T& factor, SoftmaxState<Pack>& state,
                                      unsigned const (&kept)[rows], Exponential const& exponential,
                                      MmaPlace const& place)
      : m_scores(scores), m_factor(factor), m_state(state), m_kept(kept), m_exponential(exponential), m_place(place) {}

  KOKKOS_FORCEINLINE_FUNCTION SoftmaxState<Pack> const& state() const { return m_state; }
  KOKKOS_FORCEINLINE_FUNCTION void set_state(SoftmaxState<Pack> const& state) const { m_state = state; }

  KOKKOS_FORCEINLINE_FUNCTION bool kept(index_t i, index_t j) const {
    int const r = static_cast<int>(i - m_place.row) / 8, c = static_cast<int>(j - m_place.column);
    return m_kept[r] >> (c / 8 * 2 + c % 8) & 1u;
  }

  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void transform(F const& f) const {
    // Multiplied in any case: a branch would cost more.
    T const factor = m_factor;
    m_factor       = 1;
    for_each_element_within<row_blocks, column_blocks>(m_place, [&](int b, int n, int h, int e) {
      T& score = m_scores[b][n].value[2 * h + e];
      score    = f(m_place.row + 16 * b + 8 * h, m_place.column + 8 * n + e, factor * score);
    });
  }

  /// Adds the bias of batch entry b and head h.
  template <class Number>
  KOKKOS_FORCEINLINE_FUNCTION void add(Tensor<Number const> const& bias, int b, int h) const {
    add_all_of(MmaLookup<Side::queries, row_blocks, column_blocks, Number>(bias, b, h, m_place));
  }
  /// What is copied is for the scores of a whole tile.
  template <int copied_blocks, class Number>
  KOKKOS_FORCEINLINE_FUNCTION void add(MmaCopiedBias<row_blocks, copied_blocks, Number> const& bias, int b,
                                       int h) const {
    if constexpr (copied_blocks == column_blocks)
      if (bias.is_copied(m_place)) return add_all_of(bias);
    add(bias.array, b, h);
  }

  KOKKOS_FORCEINLINE_FUNCTION void keep_flagged(Tensor<bool const> const& flags, int b, int h) const {
    MmaFlags<Side::queries, row_blocks, column_blocks>(flags, b, h, m_place)
        .for_each_dropped([&](int rb, int n, int hb, int e) { drop(rb, n, 2 * hb + e); });
  }

  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void keep(F const& keys_of) const {
    int const first_row = hidden(m_place.row);
    KOKKOSATTENTION_UNROLL
    for (int r = 0; r < rows; ++r) {
      MmaColumns const columns(keys_of(first_row + 8 * r), m_place.column);
      KOKKOSATTENTION_UNROLL
      for (int n = 0; n < column_blocks; ++n) {
        KOKKOSATTENTION_UNROLL
        for (int e = 0; e < 2; ++e)
          if (!columns.holds(8 * n + e)) drop(r / 2, n, 2 * (r % 2) + e);
      }
    }
  }

  KOKKOS_FORCEINLINE_FUNCTION Pack maximum() const {
    if constexpr (std::is_same_v<T, double>)
      return nearly_largest();
    else
      return largest();
  }

  /// Replaces each score by exp(score - shift) and returns the sums of those that the lane holds: the quad's lanes add
  /// theirs up at the end.
  KOKKOS_FORCEINLINE_FUNCTION Pack exponentiate(Pack const& shift) const {
    Pack sum(T(0)), shift_in_base_2(T(0));
    T factor_in_base_2 = 1;
    if constexpr (puts_factor_off<Exponential>) {
      factor_in_base_2 = m_exponential.in_base_2(m_factor);
      shift_in_base_2  = Pack::of([&](int r) { return m_exponential.in_base_2(shift.value[r]); });
    }
    for_each_element<row_blocks, column_blocks>([&](int b, int n, int h, int e) {
      int const r = 2 * b + h;
      T& score    = m_scores[b][n].value[2 * h + e];
      if constexpr (puts_factor_off<Exponential>)
        score = m_exponential.of_product(score, factor_in_base_2, shift_in_base_2.value[r]);
      else
        score = m_exponential(score - shift.value[r]);
      sum.value[r] += score;
    });
    m_factor = 1;
    return sum;
  }

 private:
  KOKKOS_FORCEINLINE_FUNCTION void drop(int b, int n, int e) const {
    m_scores[b][n].value[e] = -Kokkos::Experimental::infinity_v<T>;
  }

  template <class Numbers>
  KOKKOS_FORCEINLINE_FUNCTION void add_all_of(Numbers const& numbers) const {
    T const factor = m_factor;
    m_factor       = 1;
    numbers.for_each([&](int b, int n, int h, int e, auto const& number) {
      T& score = m_scores[b][n].value[2 * h + e];
      score    = factor * score + static_cast<T>(number);
    });
  }

  KOKKOS_FORCEINLINE_FUNCTION Pack largest() const {
    // Chains of every second element: one of all would wait for every comparison.
    Pack even(-Kokkos::Experimental::infinity_v<T>), odd = even;
    for_each_element<row_blocks, column_blocks>([&](int b, int n, int h, int e) {
      T& most = (e == 0 ? even : odd).value[2 * b + h];
      most    = quick_larger(most, m_scores[b][n].value[2 * h + e]);
    });
    Pack most = larger(even, odd);
    KOKKOSATTENTION_UNROLL
    for (int difference = 1; difference < 4; difference *= 2)
      most = larger(most, Pack::of([&](int r) { return exchange_lanes(most.value[r], difference); }));
    if constexpr (puts_factor_off<Exponential>) most = Pack(m_factor) * most;
    return most;
  }

  /// In float64: a score with the first 32 bits of the largest one, found without operations that matrix products wait
  /// for.
  KOKKOS_FORCEINLINE_FUNCTION Pack nearly_largest() const {
    return Pack::of([&](int r) {
      // Numbers from 0 on are ordered as signed integers are, negative ones the other way round.
      std::int32_t most_positive  = Kokkos::Experimental::finite_min_v<std::int32_t>;
      std::uint32_t most_negative = Kokkos::Experimental::finite_max_v<std::uint32_t>;
      for_each_of_row(r, [&](T score) {
        most_positive = Kokkos::max(most_positive, std::int32_t(high_bits(score)));
        most_negative = Kokkos::min(most_negative, high_bits(score));
      });
      auto const in_order = [](std::int32_t bits) {
        return bits ^ (bits >> 31 & Kokkos::Experimental::finite_max_v<std::int32_t>);
      };
      std::int32_t most = most_positive >= 0 ? most_positive : in_order(std::int32_t(most_negative));
      KOKKOSATTENTION_UNROLL
      for (int difference = 1; difference < 4; difference *= 2)
        most = Kokkos::max(most, exchange_lanes(most, difference));
      auto const high   = std::uint32_t(in_order(most));
      std::uint32_t low = 0;
      for_each_of_row(r, [&](T score) { low = high_bits(score) == high ? low_bits(score) : low; });
      KOKKOSATTENTION_UNROLL
      for (int difference = 1; difference < 4; difference *= 2) low = Kokkos::max(low, exchange_lanes(low, difference));
      return Kokkos::bit_cast<T>(std::uint64_t(high) << 32 | low);
    });
  }
  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void for_each_of_row(int r, F const& f) const {
    KOKKOSATTENTION_UNROLL
    for (int n = 0; n < column_blocks; ++n) {
      KOKKOSATTENTION_UNROLL
      for (int e = 0; e < 2; ++e) f(m_scores[r / 2][n].value[2 * (r % 2) + e]);
    }
  }
  KOKKOS_FORCEINLINE_FUNCTION static std::uint32_t high_bits(T x) {
    return static_cast<std::uint32_t>(Kokkos::bit_cast<std::uint64_t>(x) >> 32);
  }
  KOKKOS_FORCEINLINE_FUNCTION static std::uint32_t low_bits(T x) {
    return static_cast<std::uint32_t>(Kokkos::bit_cast<std::uint64_t>(x));
  }
};

}  // namespace KokkosAttention::Impl

#endif
