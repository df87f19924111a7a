// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "problem.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace {

using std::numbers::pi;

constexpr double smoothing          = 0.03;  // standard deviation of the Gaussian means
constexpr double correlation_length = 0.02;  // of the fields
constexpr double noise_deviation    = 0.3;   // of a sensor that works

double sensor_place(int sensor, int sensors) { return (sensor + 0.5) / sensors; }

double position_place(int position, int positions) {
  return 0.5 + 0.45 * std::sin(2. * pi * (position + 0.5) / positions);
}

/// A sum of waves with random amplitudes and phases, whose correlation is about a Gaussian.
class RandomField {
  struct Wave {
    double amplitude, frequency, phase;
  };
  std::vector<Wave> m_waves;

 public:
  explicit RandomField(std::mt19937_64& random) {
    constexpr double negligible = 3.;  // frequencies above 3 / correlation_length: a tenth of the lowest amplitude
    std::normal_distribution<double> normal;
    std::uniform_real_distribution<double> phase(0., 2. * pi);
    double variance = 0.;
    for (double frequency = pi; frequency * correlation_length < negligible; frequency += pi) {
      double const spectrum = std::exp(-0.25 * std::pow(frequency * correlation_length, 2));
      m_waves.push_back({spectrum * normal(random), frequency, phase(random)});
      variance += 0.5 * spectrum * spectrum;
    }
    for (Wave& wave : m_waves) wave.amplitude /= std::sqrt(variance);
  }

  double operator()(double x) const {
    double sum = 0.;
    for (auto const& [amplitude, frequency, phase] : m_waves) sum += amplitude * std::cos(frequency * x + phase);
    return sum;
  }
};

}  // namespace

Fields Fields::part(int begin, int end) const {
  auto const columns = [&](Columns const& all) {
    return Kokkos::subview(all, Kokkos::ALL, Kokkos::ALL, Kokkos::ALL, Kokkos::pair(begin, end));
  };
  return {columns(readings), columns(targets)};
}

Problem::Problem(int sensors, int positions, double broken, std::mt19937_64& random)
    : m_is_broken(sensors), m_weights("true weights", positions, sensors) {
  std::fill_n(m_is_broken.begin(), std::lround(broken * sensors), true);
  std::shuffle(m_is_broken.begin(), m_is_broken.end(), random);
  for (int i = 0; i < positions; ++i) {
    double sum = 0.;
    for (int j = 0; j < sensors; ++j) {
      double const distance  = (position_place(i, positions) - sensor_place(j, sensors)) / smoothing;
      sum += m_weights(i, j) = std::exp(-0.5 * distance * distance);
    }
    for (int j = 0; j < sensors; ++j) m_weights(i, j) /= sum;
  }
}

Fields Problem::draw(int number, std::mt19937_64& random) const {
  Kokkos::View<double**, Kokkos::HostSpace> const clean("clean readings", sensors(), number);
  for (int field = 0; field < number; ++field) {
    RandomField const value(random);
    for (int j = 0; j < sensors(); ++j) clean(j, field) = value(sensor_place(j, sensors()));
  }
  std::normal_distribution<double> normal;
  return {.readings = make_tensor("readings", sensors(), number,
                                  [&](int j, int field) {
                                    double const noise = normal(random);
                                    return is_broken(j) ? noise : clean(j, field) + noise_deviation * noise;
                                  }),
          .targets  = make_tensor("targets", positions(), number, [&](int i, int field) {
            double sum = 0.;
            for (int j = 0; j < sensors(); ++j) sum += weight(i, j) * clean(j, field);
            return sum;
          })};
}

double Problem::informed_error(Fields const& fields) const {
  auto const readings = on_host(fields.readings), targets = on_host(fields.targets);
  double error = 0.;
  for (int i = 0; i < positions(); ++i)
    for (int field = 0; field < fields.number(); ++field) {
      double sum = 0., weights = 0.;
      for (int j = 0; j < sensors(); ++j) {
        if (is_broken(j)) continue;
        sum += weight(i, j) * readings(0, 0, j, field);
        weights += weight(i, j);
      }
      error += std::pow(sum / weights - targets(0, 0, i, field), 2);
    }
  return error / (static_cast<double>(positions()) * fields.number());
}
