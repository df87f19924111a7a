// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_TEST_RANDOM_HPP
#define KOKKOSATTENTION_TEST_RANDOM_HPP

#include <Kokkos_Core.hpp>

#include <cstdint>
#include <random>

/// \file
/// Random test data on the host.

namespace Test {

class Random {
  std::mt19937_64 m_generator;

 public:
  explicit Random(std::uint64_t seed) : m_generator(seed) {}

  double normal(double deviation = 1.) { return std::normal_distribution<double>(0., deviation)(m_generator); }
  bool chance(double probability) { return std::bernoulli_distribution(probability)(m_generator); }
  /// A whole number in [low, high].
  int integer(int low, int high) { return std::uniform_int_distribution<int>(low, high)(m_generator); }
  template <class T, std::size_t n>
  T pick(T const (&choices)[n]) {
    return choices[integer(0, n - 1)];
  }

  template <class T>
  using HostTensor = Kokkos::View<T****, Kokkos::LayoutRight, Kokkos::HostSpace>;

  template <class T>
  HostTensor<T> tensor(int b, int h, int i, int j, double deviation = 1.) {
    HostTensor<T> result("random", b, h, i, j);
    for (std::size_t e = 0; e < result.size(); ++e) result.data()[e] = static_cast<T>(normal(deviation));
    return result;
  }

  HostTensor<bool> flags(int b, int h, int i, int j, double probability) {
    HostTensor<bool> result("flags", b, h, i, j);
    for (std::size_t e = 0; e < result.size(); ++e) result.data()[e] = chance(probability);
    return result;
  }
};

}  // namespace Test

#endif
