// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "run.hpp"

#include "image.hpp"
#include "noise.hpp"
#include "non_local_means.hpp"
#include "progress.hpp"

#include <KokkosAttention.hpp>

#include <Kokkos_Core.hpp>

#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <string>

namespace {

Image load(Arguments const& arguments) {
  Image image = load_image(arguments.input);
  if (arguments.crop) image = crop(image, *arguments.crop);
  if (arguments.shrink > 1) image = shrink(image, arguments.shrink);
  if (arguments.grey) image = to_grey(image);
  return image;
}

NonLocalMeans choose_method(Arguments const& arguments, Image const& image) {
  constexpr int reach_on_processors = 12;
  constexpr bool on_processor =
      Kokkos::SpaceAccessibility<Kokkos::HostSpace, Kokkos::DefaultExecutionSpace::memory_space>::accessible;
  int const everything = std::max(height(image), width(image));
  int const reach =
      arguments.full ? everything : arguments.search.value_or(on_processor ? reach_on_processors : everything);
  // What gave about the best picture in the tests of README.md: among more pixels more are alike by chance.
  double const strength = arguments.filter.value_or((reach < everything ? 0.7 : 0.5) * arguments.noise);
  if (strength <= 0.) throw std::invalid_argument("without noise, --filter must say how strong to filter");
  return {.patch    = arguments.patch.value_or(arguments.grey ? 7 : 5),
          .sigma    = arguments.noise,
          .strength = strength,
          .reach    = std::min(reach, everything)};
}

/// Denoises a picture, and reports.
template <KokkosAttention::Scalar T>
Image denoise(Image const& noisy, NonLocalMeans const& method) {
  // Enough queries a call to fill a large GPU, few enough to see progress on a small machine.
  constexpr int queries_a_call = 16384;
  int const rows               = height(noisy);
  int const strips             = std::max(queries_a_call / (PixelOrder::strip_rows * width(noisy)), 1);
  int const band               = std::min(strips * PixelOrder::strip_rows, rows);

  Denoiser<T> const denoiser(noisy, method);
  std::printf("sequence   %lld pixels, head_dim %d (%d x %d pixels, %d channels)\n",
              static_cast<long long>(denoiser.length()), denoiser.head_dim(), method.patch, method.patch,
              channels(noisy));
  std::printf("filter     strength %.1f grey levels\n", method.strength);
  if (method.reach < std::max(rows, width(noisy)))
    std::printf("search     %d rows and columns on every side of a pixel, not the whole picture (that is --full)\n",
                method.reach);
  else
    std::printf("search     the whole picture for every pixel\n");
  std::printf("calls      of %d rows each\n%s", band, denoiser.describe_rows(0, band).c_str());

  Kokkos::fence();
  Kokkos::Timer const timer;
  Progress progress;
  for (int begin = 0; begin < rows; begin += band) {
    int const end = std::min(begin + band, rows);
    denoiser.denoise_rows(begin, end);
    Kokkos::fence();
    progress.report(static_cast<double>(end) / rows);
  }
  double const seconds = timer.seconds();

  std::printf("time       %.2f s, %.3f TFLOP/s (counting the two products of pairs within reach)\n", seconds,
              denoiser.operations() / seconds * 1e-12);
  double const length = static_cast<double>(denoiser.length());
  std::printf("memory     %.1f MB for patches, pixels, bias, positions and output\n", denoiser.bytes() * 1e-6);
  std::printf("           %.1f GB would hold the scores of all pairs, of which none is stored\n",
              length * length * sizeof(T) * 1e-9);
  return denoiser.image();
}

Image denoise(Image const& noisy, NonLocalMeans const& method, std::string const& type) {
  if (type == "double") return denoise<double>(noisy, method);
  if (type == "float") return denoise<float>(noisy, method);
  if (type == "half") return denoise<KokkosAttention::half_t>(noisy, method);
  return denoise<KokkosAttention::bhalf_t>(noisy, method);
}

}  // namespace

void run(Arguments const& arguments) {
  Image const image = load(arguments);
  std::printf("picture    %d x %d, %s\n", width(image), height(image), arguments.grey ? "grey" : "colour");
  NonLocalMeans const method = choose_method(arguments, image);

  Image const noisy = arguments.input_is_noisy ? image : add_noise(image, arguments.noise, arguments.seed);
  if (arguments.input_is_noisy)
    std::printf("noise      that of the picture, taken to be %.1f grey levels\n", arguments.noise);
  else
    std::printf("noise      %.1f grey levels, seed %llu\n", arguments.noise,
                static_cast<unsigned long long>(arguments.seed));
  if (!arguments.noisy_output.empty()) save_png(arguments.noisy_output, noisy);

  Image const denoised = denoise(noisy, method, arguments.type);
  if (!arguments.input_is_noisy)
    std::printf("PSNR       %.2f dB before, %.2f dB after\n", psnr(noisy, image), psnr(denoised, image));
  save_png(arguments.output, denoised);
  std::printf("written    %s\n", arguments.output.c_str());
}
