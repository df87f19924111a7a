// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef FIT_PROBLEM_HPP
#define FIT_PROBLEM_HPP

#include "tensor.hpp"

#include <Kokkos_Core.hpp>

#include <algorithm>
#include <random>
#include <vector>

/// Random fields, a column each: what the sensors read, and what is to be predicted from it.
struct Fields {
  Columns readings;  // (1, 1, sensors, fields): the values of attention
  Columns targets;   // (1, 1, positions, fields)

  int number() const { return static_cast<int>(readings.extent(3)); }
  /// Fields [begin, end), without a copy.
  Fields part(int begin, int end) const;
};

/// A field on [0, 1] is measured by a row of sensors. All are noisy, and some are broken: they read nothing but noise.
/// To be predicted are Gaussian means of the field around positions that lie along a sine.
class Problem {
  std::vector<bool> m_is_broken;
  Kokkos::View<double**, Kokkos::HostSpace> m_weights;  // (positions, sensors)

 public:
  /// \param broken the part of the sensors that is broken
  Problem(int sensors, int positions, double broken, std::mt19937_64& random);

  int sensors() const { return static_cast<int>(m_weights.extent(1)); }
  int positions() const { return static_cast<int>(m_weights.extent(0)); }
  bool is_broken(int sensor) const { return m_is_broken[sensor]; }
  int broken_sensors() const { return static_cast<int>(std::ranges::count(m_is_broken, true)); }

  /// The true weight of a sensor at a position. It does not know of broken sensors: to make do without them is left to
  /// whoever predicts.
  double weight(int position, int sensor) const { return m_weights(position, sensor); }

  /// Random fields of variance 1.
  Fields draw(int number, std::mt19937_64& random) const;

  /// The mean squared error of one who knows the true weights and the broken sensors, and shares the weights of these
  /// out among the others.
  double informed_error(Fields const& fields) const;
};

#endif
