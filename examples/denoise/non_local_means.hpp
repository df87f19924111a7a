// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef DENOISE_NONLOCALMEANS_HPP
#define DENOISE_NONLOCALMEANS_HPP

#include "image.hpp"
#include "pixel_sequence.hpp"

#include <KokkosAttention.hpp>

#include <Kokkos_Core.hpp>

#include <algorithm>
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
  int search;       ///< rows above and below a pixel in which it is compared
};

/// The score of a patch with itself. Its distance, 0, would give the pixel's own noise more weight than all else:
/// everywhere else noise adds 2 sigma^2 to a squared difference on average, so it is added here too.
template <class Score>
struct OwnPatch {
  using index_t = KokkosAttention::index_t;

  Score noise_distance;
  index_t first_query;  ///< position of query 0 among the keys

  KOKKOS_FUNCTION Score operator()(Score score, int, int, index_t i, index_t j) const {
    return i + first_query == j ? score - noise_distance : score;
  }
};

/// A picture while it is denoised: a band of rows a call.
template <KokkosAttention::Scalar T>
class Denoiser {
  using Sequence = PixelSequence<T>;
  using Space    = typename Sequence::ExecutionSpace;
  using View     = typename Sequence::View;
  using Score    = KokkosAttention::accumulation_t<T>;
  using index_t  = KokkosAttention::index_t;

  NonLocalMeans m_method;
  int m_height, m_width, m_channels;
  double m_patch_scale;  // s above
  Sequence m_sequence;
  View m_out;

  /// Calls f with the arguments of KokkosAttention::forward for rows [begin, end).
  template <class F>
  auto with_arguments(int begin, int end, F const& f) const {
    // Rows beyond the reach of all queries are left out, the window does the rest: it is counted along the sequence,
    // from the position that a query has among these keys.
    int const first_key_row = std::max(begin - m_method.search, 0);
    int const end_key_row   = std::min(end + m_method.search, m_height);
    index_t const reach     = index_t(m_method.search) * m_width;
    index_t const offset    = index_t(begin - first_key_row) * m_width;
    auto const queries      = Kokkos::pair(index_t(begin) * m_width, index_t(end) * m_width);
    auto const keys         = Kokkos::pair(index_t(first_key_row) * m_width, index_t(end_key_row) * m_width);

    auto const rows = [](View const& view, auto const& range) {
      return Kokkos::subview(view, Kokkos::ALL, Kokkos::ALL, range, Kokkos::ALL);
    };
    auto const q = rows(m_sequence.patches, queries);
    KokkosAttention::options_t<decltype(q)> const options{
        .scale     = 2. / m_patch_scale,
        .alignment = KokkosAttention::Alignment::top_left,
        .window    = {.left = reach - offset, .right = reach + offset},
        .bias      = Kokkos::subview(m_sequence.squared_norms, Kokkos::ALL, Kokkos::ALL, Kokkos::ALL, keys)};
    double const sigma = m_method.sigma, h = m_method.strength;
    OwnPatch<Score> const own_patch{static_cast<Score>(2. * sigma * sigma / (h * h)), offset};
    return f(q, rows(m_sequence.patches, keys), rows(m_sequence.pixels, keys), rows(m_out, queries), options,
             own_patch);
  }

 public:
  /// \throws std::invalid_argument if the picture is smaller than a patch
  Denoiser(Image const& image, NonLocalMeans const& method)
      : m_method(method), m_height(height(image)), m_width(width(image)), m_channels(channels(image)) {
    if (method.patch > m_height || method.patch > m_width)
      throw std::invalid_argument("the picture is smaller than a patch");
    m_patch_scale = method.strength * method.strength * method.patch * method.patch * m_channels;
    m_sequence    = make_pixel_sequence<T>(image, method.patch, -1. / m_patch_scale);
    m_out = View(Kokkos::view_alloc(Kokkos::WithoutInitializing, "denoised pixels"), 1, 1, length(), m_channels);
  }

  index_t length() const { return index_t(m_height) * m_width; }
  int head_dim() const { return static_cast<int>(m_sequence.patches.extent(3)); }

  /// Enqueues the attention of the pixels of rows [begin, end).
  void denoise_rows(int begin, int end) const {
    with_arguments(begin, end, [](auto const&... arguments) { KokkosAttention::forward(Space(), arguments...); });
  }

  /// What the library says about the attention of these rows.
  std::string describe_rows(int begin, int end) const {
    return with_arguments(begin, end,
                          [](auto const&... arguments) { return KokkosAttention::describe(Space(), arguments...); });
  }

  /// The result; waits for it.
  Image image() const {
    auto const pixels = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), m_out);
    Image const result(Kokkos::view_alloc(Kokkos::WithoutInitializing, "denoised image"), m_height, m_width,
                       m_channels);
    for (std::size_t i = 0; i < result.span(); ++i)
      result.data()[i] = static_cast<float>(pixels.data()[i]) + middle_level;
    return result;
  }

  /// Pairs of a query and a key that it attends to.
  double pairs() const {
    double const n     = static_cast<double>(length());
    double const reach = std::min(static_cast<double>(m_method.search) * m_width, n - 1.);
    return n * (2. * reach + 1.) - reach * (reach + 1.);  // the ends of the sequence lack some on one side
  }

  /// Floating-point operations of the two products.
  double operations() const { return 2. * pairs() * (head_dim() + m_channels); }

  /// Bytes of the tensors.
  double bytes() const {
    return static_cast<double>(sizeof(T)) * static_cast<double>(m_sequence.patches.span() + m_sequence.pixels.span() +
                                                                m_sequence.squared_norms.span() + m_out.span());
  }
};

#endif
