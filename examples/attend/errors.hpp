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

/// Compares n numbers. Infinities count where they differ only; a NaN makes the errors infinite.
template <class T>
Errors compare(T const* numbers, double const* reference, std::size_t n) {
  Errors errors;
  for (std::size_t i = 0; i < n; ++i) {
    double const number = static_cast<double>(numbers[i]);
    if (number == reference[i] && std::isinf(number)) continue;
    double const error     = std::abs(number - reference[i]);
    double const magnitude = std::abs(reference[i]);
    errors.maximum = std::max(errors.maximum, std::isnan(error) ? std::numeric_limits<double>::infinity() : error);
    errors.reference_maximum = std::max(errors.reference_maximum, magnitude);
    errors.mean += error / static_cast<double>(n);
    errors.reference_mean += magnitude / static_cast<double>(n);
  }
  return errors;
}

#endif
