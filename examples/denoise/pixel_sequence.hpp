// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef DENOISE_PIXELSEQUENCE_HPP
#define DENOISE_PIXELSEQUENCE_HPP

#include "image.hpp"
#include "pixel_order.hpp"

#include <KokkosAttention.hpp>

#include <Kokkos_Core.hpp>

/// The pixels of a picture as the tensors of attention.
template <KokkosAttention::Scalar T>
struct PixelSequence {
  using ExecutionSpace = Kokkos::DefaultExecutionSpace;
  using View           = Kokkos::View<T****, Kokkos::LayoutRight, ExecutionSpace::memory_space>;

  View patches;  // (1, 1, pixels, patch * patch * channels): queries and keys
  View pixels;   // (1, 1, pixels, channels): values
  View bias;     // (1, 1, 1, pixels): |patch|^2 times a factor
  Kokkos::View<PixelOrder::Position*, ExecutionSpace::memory_space> positions;
};

/// Grey levels are counted from the middle, which distances do not notice: smaller numbers keep more digits.
inline constexpr float middle_level = 127.5f;

/// Writes the patch, the value, the bias and the position of one pixel.
template <KokkosAttention::Scalar T>
struct CollectPatch {
  using Accumulation = KokkosAttention::accumulation_t<T>;
  using Sequence     = PixelSequence<T>;

  Kokkos::View<float const***, Kokkos::LayoutRight, typename Sequence::ExecutionSpace::memory_space> image;
  PixelOrder order;
  Sequence sequence;
  int patch;
  Accumulation norm_factor;

  /// Beyond its border the picture continues as its mirror image.
  KOKKOS_FUNCTION static int mirror(int position, int length) {
    return position < 0 ? -1 - position : position < length ? position : 2 * length - 1 - position;
  }

  KOKKOS_FUNCTION void operator()(KokkosAttention::index_t pixel) const {
    auto const [row, column]  = order.position(pixel);
    sequence.positions(pixel) = {row, column};
    int const channels        = static_cast<int>(image.extent(2));
    int feature               = 0;
    Accumulation sum          = 0;
    for (int y = row - patch / 2; y <= row + patch / 2; ++y)
      for (int x = column - patch / 2; x <= column + patch / 2; ++x)
        for (int c = 0; c < channels; ++c, ++feature) {
          T const level = static_cast<T>(image(mirror(y, order.height), mirror(x, order.width), c) - middle_level);
          sequence.patches(0, 0, pixel, feature) = level;
          sum += static_cast<Accumulation>(level) * static_cast<Accumulation>(level);
        }
    for (int c = 0; c < channels; ++c)
      sequence.pixels(0, 0, pixel, c) = static_cast<T>(image(row, column, c) - middle_level);
    sequence.bias(0, 0, 0, pixel) = static_cast<T>(norm_factor * sum);
  }
};

/// \param patch pixels across a patch, at most the picture's width and height
/// \param norm_factor what the squared norms are multiplied by
template <KokkosAttention::Scalar T>
PixelSequence<T> make_pixel_sequence(Image const& image, PixelOrder const& order, int patch, double norm_factor) {
  using View                 = typename PixelSequence<T>::View;
  using ExecutionSpace       = typename PixelSequence<T>::ExecutionSpace;
  auto const length          = order.length();
  std::size_t const head_dim = image.extent(2) * patch * patch;
  PixelSequence<T> const sequence{
      View(Kokkos::view_alloc(Kokkos::WithoutInitializing, "patches"), 1, 1, length, head_dim),
      View(Kokkos::view_alloc(Kokkos::WithoutInitializing, "pixels"), 1, 1, length, image.extent(2)),
      View(Kokkos::view_alloc(Kokkos::WithoutInitializing, "bias"), 1, 1, 1, length),
      decltype(PixelSequence<T>::positions)(Kokkos::view_alloc(Kokkos::WithoutInitializing, "positions"), length)};
  auto const device_image = Kokkos::create_mirror_view_and_copy(typename ExecutionSpace::memory_space(), image);
  Kokkos::parallel_for("collect patches", Kokkos::RangePolicy<ExecutionSpace>(0, length),
                       CollectPatch<T>{device_image, order, sequence, patch,
                                       static_cast<KokkosAttention::accumulation_t<T>>(norm_factor)});
  return sequence;
}

#endif
