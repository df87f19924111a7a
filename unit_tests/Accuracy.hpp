// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_TEST_ACCURACY_HPP
#define KOKKOSATTENTION_TEST_ACCURACY_HPP

#include "Reference.hpp"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>

/// \file
/// The accuracy promise: errors against the wide reference are at most those of an unfused computation in the same
/// type: the largest one, the mean, and row by row.

namespace Test {

/// Relative rounding of a type.
template <class T>
constexpr double epsilon() {
  if constexpr (std::is_same_v<T, KA::half_t>)
    return 0x1p-11;
  else if constexpr (std::is_same_v<T, KA::bhalf_t>)
    return 0x1p-8;
  else
    return std::numeric_limits<T>::epsilon() / 2;
}

struct Errors {
  double largest = 0, mean = 0;
  std::size_t elements = 0;
  std::vector<double> row;        // the largest of each row
  std::vector<double> row_value;  // the largest reference value of each row
};

template <class Found, class W>
Errors errors(HostTensor<Found> const& found, HostTensor<W> const& expected) {
  Errors e;
  e.elements = expected.size();
  for_each_index(expected.extent(0), expected.extent(1), expected.extent(2), 1, [&](auto b, auto h, auto i, auto) {
    double largest = 0, value = 0;
    for (std::size_t d = 0; d < expected.extent(3); ++d) {
      double const error = std::abs(static_cast<double>(static_cast<W>(found(b, h, i, d)) - expected(b, h, i, d)));
      largest            = std::isnan(error) ? std::numeric_limits<double>::infinity() : std::max(largest, error);
      value              = std::max(value, std::abs(static_cast<double>(expected(b, h, i, d))));
      e.mean += error / expected.size();
    }
    e.largest = std::max(e.largest, largest);
    e.row.push_back(largest);
    e.row_value.push_back(value);
  });
  return e;
}

/// Requires the errors of `ours` to be at most those of `unfused`. Both are noise of the same kind, drawn once: the
/// mean, which is steady where there are many elements, may exceed by a twentieth, the largest one by a factor of 2. A
/// row may have 4 times the unfused one's error, or what rounding its scores alone explains. Where the unfused sum
/// happens to be exact, ours may still be rounded, and so may its weights, which an unfused computation stores.
template <class T, class W>
void require_accurate(Errors const& ours, Errors const& unfused, Result<W> const& expected) {
  double value = 0;
  for (double v : ours.row_value) value = std::max(value, v);
  double const rounding = epsilon<T>() * value;
  INFO("largest error " << ours.largest << ", unfused " << unfused.largest << "; mean " << ours.mean << ", unfused "
                        << unfused.mean << "; rounding of the largest value " << rounding);
  REQUIRE(ours.largest <= 2 * unfused.largest + 2 * rounding);
  double const steadiness = 1 / std::sqrt(double(ours.elements));
  REQUIRE(ours.mean <= (1.05 + steadiness) * unfused.mean + rounding / 4);
  for (std::size_t r = 0; r < ours.row.size(); ++r) {
    INFO("row " << r);
    double const scores = epsilon<KA::accumulation_t<T>>() * static_cast<double>(expected.sensitivity.data()[r]);
    double const terms  = static_cast<double>(expected.magnitude.data()[r]);
    REQUIRE(ours.row[r] <= std::max(4 * unfused.row[r], scores) + 2 * epsilon<T>() * terms);
  }
}

/// \param allowed relative to the larger of 1 and the value
template <class T, class U>
void require_close(HostTensor<T> const& a, HostTensor<U> const& b, double allowed) {
  for_each_index(a.extent(0), a.extent(1), a.extent(2), a.extent(3), [&](auto... n) {
    double const x = static_cast<double>(a(n...)), y = static_cast<double>(b(n...));
    INFO(KA::Impl::shape({n...}) << ": " << x << " and " << y);
    // Equal infinities have no difference.
    REQUIRE((x == y || std::abs(x - y) <= allowed * std::max(1., std::abs(y))));
  });
}

}  // namespace Test

#endif
