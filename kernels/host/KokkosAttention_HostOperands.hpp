// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTOPERANDS_HPP
#define KOKKOSATTENTION_HOSTOPERANDS_HPP

#include <KokkosAttention_HostNumbers.hpp>
#include <KokkosAttention_HostPairs.hpp>
#include <KokkosAttention_HostTiles.hpp>
#include <KokkosAttention_PortableDropout.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// Which operands a type has in this variant, and what the host engine's passes share.

namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT {

#if defined(KOKKOSATTENTION_HOST_BF16)
template <Scalar ScalarType>
using HostOperands = std::conditional_t<std::is_same_v<ScalarType, bhalf_t>, HostPairs, HostNumbers<ScalarType>>;
#else
template <Scalar ScalarType>
using HostOperands = HostNumbers<ScalarType>;

struct HostTileRegisters {};
#endif

template <Scalar ScalarType>
HostTileQuery host_tile_query(AttentionArguments<ScalarType> const& arguments) {
  return {.element_bytes  = int(sizeof(accumulation_t<ScalarType>)),
          .vector_bytes   = KOKKOSATTENTION_HOST_VECTOR_BYTES,
          .pairs          = HostOperands<ScalarType>::pairs,
          .tile_registers = HostOperands<ScalarType>::tile_registers,
          .head_dim       = arguments.head_dim,
          .value_dim      = arguments.value_dim,
          .group          = arguments.group(),
          .packed         = arguments.packed(),
          .q_len          = arguments.q_len,
          .k_len          = arguments.k_len};
}

template <class T>
void draw_on_host(Tile const& tile, WeightDropout<T> const& dropout, KeptWeights const& kept) {
  int const queries = static_cast<int>(tile.query_end - tile.query_begin);
  int const quads   = static_cast<int>(tile.key_end - tile.key_begin + 3) / 4;
  for (int i = 0; i < queries; ++i)
    for (int q = 0; q < quads; ++q)
      kept.quads[i * kept.stride + q] = static_cast<unsigned char>(
          dropout.kept_quad(tile.batch, tile.head, tile.query_begin + i, tile.key_begin / 4 + q));
}

template <class T>
KOKKOS_FORCEINLINE_FUNCTION bool all_are_one(HostVector<T> vector) {
  typename VectorTypes<T>::Integers const different = vector.numbers() != T(1);
#if KOKKOSATTENTION_HOST_VECTOR_BYTES == 64
  auto const bits = (__m512i)different;
  return _mm512_test_epi64_mask(bits, bits) == 0;
#else
  bool any = false;
  for (int l = 0; l < HostVector<T>::lanes; ++l) any |= different[l] != 0;
  return !any;
#endif
}

/// Stores factor * sums, a row of `to` from row `first` on from each lane; sums of its columns are `stride` vectors
/// apart. Rows whose factor is 0 become 0.
template <class Stored, class T>
void store_lanes(HostVector<T> const* sums, index_t stride, HostVector<T> factor, int first,
                 MatrixRows<Stored> const& to) {
  using Vector   = HostVector<T>;
  using Numbers  = typename VectorTypes<T>::Numbers;
  int const rows = Kokkos::min(Vector::lanes, to.rows - first);
  // Nothing was summed where there was nothing to attend.
  auto const product = [&](int d) {
    return factor.numbers() == T(0) ? Numbers{} : (factor * sums[d * stride]).numbers();
  };
  int d = 0;
#if defined(KOKKOSATTENTION_HOST_BF16)
  // Half as many to transpose, and rounded by the processor, which takes numbers that are not normal for 0.
  if constexpr (std::is_same_v<Stored, bhalf_t>)
    if (to.column_stride == 1)
      for (; d + 2 * Vector::lanes <= to.columns; d += 2 * Vector::lanes) {
        Bits32 block[Vector::lanes];
        for (int n = 0; n < Vector::lanes; ++n)
          block[n] = pairs_of_lanes(Vector(product(d + 2 * n)), Vector(product(d + 2 * n + 1)));
        transpose(block);
        for (int n = 0; n < rows; ++n) std::memcpy(static_cast<void*>(&to(first + n, d)), &block[n], sizeof(block[n]));
      }
#endif
  if (to.column_stride == 1)
    for (; d + Vector::lanes <= to.columns; d += Vector::lanes) {
      Numbers block[Vector::lanes];
      for (int n = 0; n < Vector::lanes; ++n) block[n] = product(d + n);
      transpose(block);
      for (int n = 0; n < Vector::lanes; ++n)
        if (n < rows) store(Vector(block[n]), &to(first + n, d));
    }
  for (; d < to.columns; ++d) {
    T numbers[Vector::lanes];
    Vector(product(d)).store(numbers);
    for (int n = 0; n < rows; ++n) to(first + n, d) = static_cast<Stored>(numbers[n]);
  }
}

/// Stores factor * numbers in a row, from vectors a stride apart.
template <class Stored, class T>
void store_row(HostVector<T> const* vectors, index_t stride, HostVector<T> factor, MatrixRows<Stored> const& to) {
  using Vector = HostVector<T>;
  for (int d = 0; d < to.columns; d += Vector::lanes) {
    Vector const product = factor * vectors[d / Vector::lanes * stride];
    if (to.column_stride == 1 && d + Vector::lanes <= to.columns) {
      store(product, &to(0, d));
    } else {
      T numbers[Vector::lanes];
      product.store(numbers);
      for (int n = 0; n < Vector::lanes && d + n < to.columns; ++n) to(0, d + n) = static_cast<Stored>(numbers[n]);
    }
  }
}

}  // namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT

#endif
