// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef DENOISE_NONLOCALMEANS_HPP
#define DENOISE_NONLOCALMEANS_HPP

#include "functors.hpp"
#include "image.hpp"
#include "pixel_order.hpp"
#include "pixel_sequence.hpp"

#include <KokkosAttention.hpp>

#include <Kokkos_Core.hpp>

#include <algorithm>
#include <cstddef>
#include <stdexcept>
#include <string>

/// Non-local means (Buades, Coll, Morel: A non-local algorithm for image denoising, CVPR 2005): every pixel becomes
/// the mean of all pixels, weighted by how much the patches around the two are alike,
///
///     weight(i, j) = exp(-|p_i - p_j|^2 / s),   s = h^2 * numbers in a patch.
///
/// As |p_i - p_j|^2 = |p_i|^2 - 2 p_i.p_j + |p_j|^2 and the first term is the same for all j, softmax removes it: this
/// is attention with the patches as queries and keys, the scale 2 / s, the bias -|p_j|^2 / s, and the pixels as values.
struct NonLocalMeans {
  int patch;        ///< pixels across
  double sigma;     ///< standard deviation of the picture's noise, in grey levels
  double strength;  ///< h, in grey levels
  int reach;        ///< rows and columns on every side of a pixel in which it is compared
};

/// A picture while it is denoised: a band of rows a call.
template <KokkosAttention::Scalar T>
class Denoiser {
  using Sequence = PixelSequence<T>;
  using Space    = typename Sequence::ExecutionSpace;
  using View     = typename Sequence::View;
  using Score    = KokkosAttention::accumulation_t<T>;

  NonLocalMeans m_method;
  PixelOrder m_order;
  int m_channels;
  double m_patch_scale;  // s above
  Sequence m_sequence;
  View m_out;

  /// Calls f with the arguments of KokkosAttention::forward for the pixels of rows [begin, end).
  template <class F>
  auto with_arguments(int begin, int end, F const& f) const {
    auto const queries = Kokkos::pair(m_order.strip_begin(begin), m_order.strip_begin(end));
    auto const q       = Kokkos::subview(m_sequence.patches, Kokkos::ALL, Kokkos::ALL, queries, Kokkos::ALL);
    auto const out     = Kokkos::subview(m_out, Kokkos::ALL, Kokkos::ALL, queries, Kokkos::ALL);
    KokkosAttention::options_t<decltype(q)> const options{.scale = 2. / m_patch_scale, .bias = m_sequence.bias};
    double const sigma = m_method.sigma, h = m_method.strength;
    OwnPatch<Score> const own_patch{static_cast<Score>(2. * sigma * sigma / (h * h)), queries.first};
    SearchWindow const search{m_order, m_sequence.positions, m_method.reach, queries.first};
    return f(Space(), q, m_sequence.patches, m_sequence.pixels, out, options, own_patch, search);
  }

  /// Pairs of coordinates at most `reach` apart.
  double pairs_along(int extent) const {
    double const reach = std::min(m_method.reach, extent - 1);
    return extent * (2. * reach + 1.) - reach * (reach + 1.);  // at the ends some lack on one side
  }

 public:
  /// \throws std::invalid_argument if the picture is smaller than a patch
  Denoiser(Image const& image, NonLocalMeans const& method)
      : m_method(method), m_order{height(image), width(image)}, m_channels(channels(image)) {
    if (method.patch > m_order.height || method.patch > m_order.width)
      throw std::invalid_argument("the picture is smaller than a patch");
    m_patch_scale = method.strength * method.strength * method.patch * method.patch * m_channels;
    m_sequence    = make_pixel_sequence<T>(image, m_order, method.patch, -1. / m_patch_scale);
    m_out =
        View(Kokkos::view_alloc(Kokkos::WithoutInitializing, "denoised pixels"), 1, 1, m_order.length(), m_channels);
  }

  KokkosAttention::index_t length() const { return m_order.length(); }
  int head_dim() const { return static_cast<int>(m_sequence.patches.extent(3)); }

  /// Enqueues the attention of the pixels of rows [begin, end), both of them multiples of PixelOrder::strip_rows, or
  /// the picture's end.
  void denoise_rows(int begin, int end) const {
    with_arguments(begin, end, [](auto const&... arguments) { KokkosAttention::forward(arguments...); });
  }

  /// What the library says about the attention of these rows.
  std::string describe_rows(int begin, int end) const {
    return with_arguments(begin, end, [](auto const&... arguments) { return KokkosAttention::describe(arguments...); });
  }

  /// The result; waits for it.
  Image image() const {
    auto const pixels = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), m_out);
    Image const result(Kokkos::view_alloc(Kokkos::WithoutInitializing, "denoised image"), m_order.height, m_order.width,
                       m_channels);
    for (std::size_t pixel = 0; pixel < pixels.extent(2); ++pixel) {
      auto const [row, column] = m_order.position(pixel);
      for (int c = 0; c < m_channels; ++c)
        result(row, column, c) = static_cast<float>(pixels(0, 0, pixel, c)) + middle_level;
    }
    return result;
  }

  /// Pairs of a query and a key that it attends to.
  double pairs() const { return pairs_along(m_order.height) * pairs_along(m_order.width); }

  /// Floating-point operations of the two products.
  double operations() const { return 2. * pairs() * (head_dim() + m_channels); }

  /// Bytes of the tensors.
  double bytes() const {
    auto const of = [](auto const& view) { return static_cast<double>(view.span() * sizeof(*view.data())); };
    return of(m_sequence.patches) + of(m_sequence.pixels) + of(m_sequence.bias) + of(m_sequence.positions) + of(m_out);
  }
};

#endif
