// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "noise.hpp"

#include <cmath>
#include <numbers>

namespace {

/// Number `counter` of the generator SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators,
/// 2014), whose state is but a counter.
std::uint64_t split_mix(std::uint64_t seed, std::uint64_t counter) {
  std::uint64_t z = seed + (counter + 1) * 0x9e3779b97f4a7c15u;
  z               = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z               = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/// A normally distributed number, by the transform of Box and Muller.
double normal(std::uint64_t seed, std::uint64_t counter) {
  std::uint64_t const bits = split_mix(seed, counter);
  double const radius      = (static_cast<double>(bits >> 32) + 0.5) * 0x1p-32;  // inside (0, 1)
  double const angle       = static_cast<double>(bits & 0xffffffffu) * 0x1p-32;
  return std::sqrt(-2. * std::log(radius)) * std::cos(2. * std::numbers::pi * angle);
}

}  // namespace

Image add_noise(Image const& image, double sigma, std::uint64_t seed) {
  Image const noisy("noisy image", image.extent(0), image.extent(1), image.extent(2));
  for (std::size_t i = 0; i < image.span(); ++i)
    noisy.data()[i] = image.data()[i] + static_cast<float>(sigma * normal(seed, i));
  return noisy;
}
