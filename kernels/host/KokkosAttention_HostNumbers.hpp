// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTNUMBERS_HPP
#define KOKKOSATTENTION_HOSTNUMBERS_HPP

#include <KokkosAttention_HostConversion.hpp>
#include <KokkosAttention_HostProduct.hpp>
#include <KokkosAttention_HostTranspose.hpp>

#include <Kokkos_Core.hpp>

#include <cstddef>
#include <type_traits>

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

  static constexpr bool pairs          = false;
  static constexpr bool tile_registers = false;
  /// Steps of a part of a tile begin at a multiple of it: then sums have the same order in any part.
  static constexpr int part_steps = 2;

  /// Left factors of the same rows: element (row, step), and element (step, row) of them.
  struct Both {
    Left rows, columns;
  };

  static Left rows(Source const& source, std::byte* to) { return both(source, to, nullptr).rows; }
  static Left columns(Source const& source, std::byte* to) { return both(source, to, nullptr).columns; }
  /// Where rows lie densely, they are the factors: apart from each other, they could displace each other from a cache.
  /// \param columns_to not used: both are the same numbers
  static Both both(Source const& source, std::byte* to, std::byte* /*columns_to*/) {
    if constexpr (std::is_same_v<ScalarType, T>)
      if (source.column_stride == 1 && source.row_stride <= 2 * source.columns)
        return {{source.data, source.row_stride, 1}, {source.data, 1, source.row_stride}};
    auto* const numbers = reinterpret_cast<T*>(to);
    copy_rows<ScalarType>(source, numbers, source.columns);
    return {{numbers, source.columns, 1}, {numbers, 1, source.columns}};
  }

  static Left from_step(Left const& left, int step) { return left.from_step(step); }

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
    return packed_lanes(to, source.columns, vectors);
  }

  /// What lanes() packed there.
  static Right packed_lanes(std::byte const* at, int steps, int vectors) {
    return {reinterpret_cast<Vector const*>(at), strides(steps, vectors)};
  }

  /// Right factor with a column of the source in each lane, a step for each of its rows. Lanes beyond the columns are
  /// undefined.
  static Right steps(Source const& source, std::byte* to) {
    int const vectors = (source.columns + Vector::lanes - 1) / Vector::lanes;
    copy_rows<ScalarType>(source, reinterpret_cast<T*>(to), vectors * Vector::lanes);
    return {reinterpret_cast<Vector const*>(to), strides(source.rows, vectors)};
  }

  /// Of the vectors of right factors and results.
  static HostStrides strides(index_t /*rows*/, int vectors) { return {vectors, 1}; }

  /// Takes weights of a vector, of steps j and j + 1, or of the last step j, to where products read them. Numbers stay
  /// where the scores are.
  struct WeightWriter {
    KOKKOS_FORCEINLINE_FUNCTION void set(int, Vector, Vector) const {}
    KOKKOS_FORCEINLINE_FUNCTION void set_last(int, Vector) const {}
  };
  /// For vector v, with room for so many steps.
  static WeightWriter weight_writer(int /*v*/, int /*room*/, std::byte* /*to*/) { return {}; }
  /// Where a writer is to write the steps of vector v from step j on.
  static std::byte* weight_place(int /*v*/, int /*j*/, int /*room*/, std::byte* to) { return to; }
  /// After the writers of some vectors.
  /// \param in_place weights have been left in the scores' places
  static void finish_weights(Vector const* /*scores*/, HostStrides const&, int /*steps*/, int /*vectors*/, int /*room*/,
                             bool /*in_place*/, std::byte* /*to*/) {}
  /// What was written, as right factor.
  static Right weights(Vector const* scores, HostStrides const& strides, int /*room*/, std::byte* /*to*/) {
    return {scores, strides};
  }

  /// The same as left factor, vector by vector: element (row, step) is lane `step` of row `row`.
  struct WeightRowWriter {
    Vector* vectors;
    int stride;

    KOKKOS_FORCEINLINE_FUNCTION void set(int i, int v, Vector vector) const { vectors[i * stride + v] = vector; }
  };
  static WeightRowWriter weight_row_writer(int /*columns*/, int vectors, std::byte* to) {
    return {reinterpret_cast<Vector*>(to), vectors};
  }
  /// Zeros after the last vector, up to what a product reads.
  static void pad_weight_rows(int /*rows*/, int /*vectors*/, std::byte* /*to*/) {}
  /// \param whole where one group has all vectors, the scores are the factor
  static Left weight_rows(Vector const* scores, bool whole, int vectors, std::byte* to) {
    return {whole ? reinterpret_cast<T const*>(scores) : reinterpret_cast<T const*>(to), vectors * Vector::lanes, 1};
  }

  /// exp(factor * score - shift).
  KOKKOS_FORCEINLINE_FUNCTION static Vector exponential(T factor, Vector score, Vector shift) {
    return softmax_exponential(factor * score - shift);
  }

  template <class Target>
  static void product(int rows, int vectors, int steps, Left const& left, Right const& right, Target const& target,
                      HostPrefetch& prefetch) {
    multiply(rows, vectors, steps, left, right, target, prefetch);
  }
  /// Of a product: as many steps of the prefetch.
  static constexpr int blocks(int rows, int vectors) { return product_blocks(rows, vectors); }
};

}  // namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT

#endif
