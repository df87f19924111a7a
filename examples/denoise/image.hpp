// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef DENOISE_IMAGE_HPP
#define DENOISE_IMAGE_HPP

#include <Kokkos_Core.hpp>

#include <string>

/// A picture (row, column, channel) in grey levels 0 ... 255, not rounded and not limited to them.
using Image = Kokkos::View<float***, Kokkos::LayoutRight, Kokkos::HostSpace>;

inline int height(Image const& image) { return static_cast<int>(image.extent(0)); }
inline int width(Image const& image) { return static_cast<int>(image.extent(1)); }
inline int channels(Image const& image) { return static_cast<int>(image.extent(2)); }

struct Rectangle {
  int x, y, width, height;
};

/// Reads a colour picture. \throws std::runtime_error if the file is no picture
Image load_image(std::string const& path);

/// Writes a PNG, rounded to grey levels. \throws std::runtime_error if the file cannot be written
void save_png(std::string const& path, Image const& image);

/// The part of a picture. \throws std::invalid_argument if it does not lie inside
Image crop(Image const& image, Rectangle const& part);

/// A picture whose pixels are the means of `factor` x `factor` pixels.
/// \throws std::invalid_argument if the picture is smaller than that
Image shrink(Image const& image, int factor);

/// The luma of a colour picture (ITU-R BT.601), one channel.
Image to_grey(Image const& image);

/// Peak signal-to-noise ratio in decibels, 10 log10(255^2 / mean squared difference).
double psnr(Image const& image, Image const& reference);

#endif
