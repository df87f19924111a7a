// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTNUMBERS_HPP
#define KOKKOSATTENTION_HOSTNUMBERS_HPP

#include <KokkosAttention_HostConversion.hpp>
#include <KokkosAttention_HostProduct.hpp>
#include <KokkosAttention_HostTranspose.hpp>

#include <Kokkos_Core.hpp>

#include <cstddef>

/// \file
/// Factors of products as numbers of the accumulation type.
///
/// An operand class packs arrays and scores into the two kinds of factors, in scratch: a left factor, whose elements
/// are broadcast, and a right one, in rows of vectors.

namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT {

template <Scalar ScalarType>
struct HostNumbers {
  using T      = accumulation_t<ScalarType>;
  using Vector = HostVector<T>;
  using Left   = HostLeft<T>;
  using Right  = HostRight<Vector>;
  using Source = MatrixRows<ScalarType const>;

  static constexpr bool pairs    = false;
  static constexpr int step_rows = 16;  // of a product, between two steps of a prefetch

  /// Left factors of the same rows: element (row, step), and element (step, row) of them.
  struct Both {
    Left rows, columns;
  };

  static Left rows(Source const& source, std::byte* to) { return both(source, to, nullptr).rows; }
  static Left columns(Source const& source, std::byte* to) { return both(source, to, nullptr).columns; }
  /// \param columns_to not used: both are the same numbers
  static Both both(Source const& source, std::byte* to, std::byte* /*columns_to*/) {
    auto* const numbers = reinterpret_cast<T*>(to);
    copy_rows<ScalarType>(source, numbers, source.columns);
    return {{numbers, source.columns, 1}, {numbers, 1, source.columns}};
  }

  /// Right factor with a row of the source in each lane, a step for each of its columns. Lanes beyond the rows are 0.
  static Right lanes(Source const& source, int vectors, std::byte* to) {
    auto* const numbers = reinterpret_cast<T*>(to);
    int const stride    = vectors * Vector::lanes;
    for (int i = 0; i < stride; i += Vector::lanes) {
      int d = 0;
      if (source.column_stride == 1)
        for (; d + Vector::lanes <= source.columns; d += Vector::lanes) {
          typename VectorTypes<T>::Numbers block[Vector::lanes];
          for (int n = 0; n < Vector::lanes; ++n)
            block[n] = i + n < source.rows ? load(&source(i + n, d)).numbers() : typename VectorTypes<T>::Numbers{};
          transpose(block);
          for (int n = 0; n < Vector::lanes; ++n) Vector(block[n]).store(numbers + (d + n) * stride + i);
        }
      for (; d < source.columns; ++d)
        for (int n = 0; n < Vector::lanes; ++n)
          numbers[d * stride + i + n] = i + n < source.rows ? static_cast<T>(source(i + n, d)) : T(0);
    }
    return {reinterpret_cast<Vector const*>(to), vectors};
  }

  /// What lanes() packed there.
  static Right packed_lanes(std::byte const* at, int vectors) { return {reinterpret_cast<Vector const*>(at), vectors}; }

  /// Right factor with a column of the source in each lane, a step for each of its rows. Lanes beyond the columns are
  /// undefined.
  static Right steps(Source const& source, std::byte* to) {
    int const vectors = (source.columns + Vector::lanes - 1) / Vector::lanes;
    copy_rows<ScalarType>(source, reinterpret_cast<T*>(to), vectors * Vector::lanes);
    return {reinterpret_cast<Vector const*>(to), vectors};
  }

  /// Takes weights, vector v of keys j and j + 1, or of the last key j, to where products read them.
  struct WeightWriter {
    Vector* scores;
    int vectors;

    KOKKOS_FORCEINLINE_FUNCTION void set(int j, int v, Vector first, Vector second) const {
      scores[j * vectors + v]       = first;
      scores[(j + 1) * vectors + v] = second;
    }
    KOKKOS_FORCEINLINE_FUNCTION void set_last(int j, int v, Vector last) const { scores[j * vectors + v] = last; }
  };
  /// \param in_place weights take the place of the scores
  static WeightWriter weight_writer(Vector* scores, int vectors, bool /*in_place*/, std::byte* /*to*/) {
    return {scores, vectors};
  }
  /// What was written in another place, as right factor.
  static Right written_weights(int /*steps*/, int vectors, Vector* scores, std::byte* /*to*/) {
    return {scores, vectors};
  }

  /// Scores, of which there are a row of `vectors` for each step, as right factor.
  static Right weights(Vector const* scores, int /*steps*/, int vectors, std::byte* /*to*/) {
    return {scores, vectors};
  }
  /// The same as left factor: element (row, step) is lane `step` of row `row`. Groups of vectors become parts of it;
  /// where one group has all vectors, the scores are it.
  static void set_weight_rows(Vector const* scores, int rows, int /*columns*/, int first, int group, int vectors,
                              std::byte* to) {
    if (group == vectors) return;
    auto* const numbers = reinterpret_cast<Vector*>(to);
    for (int i = 0; i < rows; ++i)
      for (int v = 0; v < group; ++v) numbers[i * vectors + first + v] = scores[i * group + v];
  }
  static Left weight_rows(Vector const* scores, int group, int vectors, std::byte* to) {
    return {group >= vectors ? reinterpret_cast<T const*>(scores) : reinterpret_cast<T const*>(to),
            vectors * Vector::lanes, 1};
  }

  /// exp(factor * score - shift).
  KOKKOS_FORCEINLINE_FUNCTION static Vector exponential(T factor, Vector score, Vector shift) {
    return softmax_exponential(factor * score - shift);
  }

  template <class Target>
  static void product(int rows, int vectors, int steps, Left const& left, Right const& right, Target const& target) {
    multiply(rows, vectors, steps, left, right, target);
  }
};

}  // namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT

#endif
