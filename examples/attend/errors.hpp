// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTEND_ERRORS_HPP
#define ATTEND_ERRORS_HPP

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

/// How far numbers are from a reference.
struct Errors {
  double maximum           = 0.;
  double mean              = 0.;
  double reference_maximum = 0.;
  double reference_mean    = 0.;

  /// Relative to the largest magnitude, and to the mean one: single numbers near 0 say nothing.
  double relative_maximum() const { return reference_maximum > 0. ? maximum / reference_maximum : maximum; }
  double relative_mean() const { return reference_mean > 0. ? mean / reference_mean : mean; }
};

/// Compares n numbers. Equal infinities are no error; other infinities, and NaNs, make an infinite one.
template <class T>
Errors compare(T const* numbers, double const* reference, std::size_t n) {
  Errors errors;
  for (std::size_t i = 0; i < n; ++i) {
    double const number = static_cast<double>(numbers[i]);
    if (std::isinf(number) && number == reference[i]) continue;
    constexpr double infinity = std::numeric_limits<double>::infinity();
    bool const finite         = std::isfinite(number) && std::isfinite(reference[i]);
    double const error        = finite ? std::abs(number - reference[i]) : infinity;
    double const magnitude    = std::isfinite(reference[i]) ? std::abs(reference[i]) : 0.;
    errors.maximum            = std::max(errors.maximum, error);
    errors.reference_maximum  = std::max(errors.reference_maximum, magnitude);
    errors.mean += error / static_cast<double>(n);
    errors.reference_mean += magnitude / static_cast<double>(n);
  }
  return errors;
}

#endif
