// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef DENOISE_NOISE_HPP
#define DENOISE_NOISE_HPP

#include "image.hpp"

#include <cstdint>

/// The picture with white Gaussian noise added. A number of the noise is a function of the seed and its position
/// alone, so every machine and backend makes the same noise.
Image add_noise(Image const& image, double sigma, std::uint64_t seed);

#endif
