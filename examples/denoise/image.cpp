// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "image.hpp"

#include <stb_image.h>
#include <stb_image_write.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <stdexcept>
#include <vector>

namespace {

Image allocate(int height, int width, int channels) {
  return Image(Kokkos::view_alloc(Kokkos::WithoutInitializing, "image"), height, width, channels);
}

/// A new picture whose pixels are f(row, column, channel).
template <class F>
Image make_image(int height, int width, int channels, F const& f) {
  Image const image = allocate(height, width, channels);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < channels; ++c) image(y, x, c) = f(y, x, c);
  return image;
}

}  // namespace

Image load_image(std::string const& path) {
  constexpr int channels = 3;
  int width = 0, height = 0, channels_in_file = 0;
  std::unique_ptr<stbi_uc, void (*)(void*)> const pixels(
      stbi_load(path.c_str(), &width, &height, &channels_in_file, channels), stbi_image_free);
  if (!pixels) throw std::runtime_error("cannot read the picture " + path + ": " + stbi_failure_reason());
  Image const image = allocate(height, width, channels);
  std::copy_n(pixels.get(), image.span(), image.data());
  return image;
}

void save_png(std::string const& path, Image const& image) {
  std::vector<stbi_uc> levels(image.span());
  std::transform(image.data(), image.data() + image.span(), levels.begin(),
                 [](float level) { return static_cast<stbi_uc>(std::clamp(std::round(level), 0.f, 255.f)); });
  if (!stbi_write_png(path.c_str(), width(image), height(image), channels(image), levels.data(), 0))
    throw std::runtime_error("cannot write the picture " + path);
}

Image crop(Image const& image, Rectangle const& part) {
  if (part.x < 0 || part.y < 0 || part.width < 1 || part.height < 1 || part.width > width(image) - part.x ||
      part.height > height(image) - part.y)
    throw std::invalid_argument("the part to crop does not lie inside the picture of " + std::to_string(width(image)) +
                                " x " + std::to_string(height(image)) + " pixels");
  return make_image(part.height, part.width, channels(image),
                    [&](int y, int x, int c) { return image(part.y + y, part.x + x, c); });
}

Image shrink(Image const& image, int factor) {
  if (factor > width(image) || factor > height(image))
    throw std::invalid_argument("the picture is too small to shrink it by " + std::to_string(factor));
  return make_image(height(image) / factor, width(image) / factor, channels(image), [&](int y, int x, int c) {
    float sum = 0;
    for (int i = 0; i < factor; ++i)
      for (int j = 0; j < factor; ++j) sum += image(y * factor + i, x * factor + j, c);
    return sum / static_cast<float>(factor * factor);
  });
}

Image to_grey(Image const& image) {
  return make_image(height(image), width(image), 1, [&](int y, int x, int) {
    return 0.299f * image(y, x, 0) + 0.587f * image(y, x, 1) + 0.114f * image(y, x, 2);
  });
}

double psnr(Image const& image, Image const& reference) {
  double sum = 0;
  for (std::size_t i = 0; i < image.span(); ++i) {
    double const difference = image.data()[i] - reference.data()[i];
    sum += difference * difference;
  }
  return 10. * std::log10(255. * 255. * static_cast<double>(image.span()) / sum);
}
