// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_PORTABLEDROPOUT_HPP
#define KOKKOSATTENTION_PORTABLEDROPOUT_HPP

#include <KokkosAttention_Functors.hpp>
#include <KokkosAttention_WeightDropout.hpp>

#include <Kokkos_Core.hpp>

/// \file
/// What dropout drew for a tile, in team scratch.

namespace KokkosAttention::Impl {

/// Which weights of a tile are kept: a byte a quad of keys.
struct KeptWeights {
  unsigned char* quads;
  int stride;  // quads a query
  index_t query_begin, key_begin;

  KOKKOS_FORCEINLINE_FUNCTION bool operator()(index_t i, index_t j) const {
    index_t const key = j - key_begin;
    return quads[(i - query_begin) * stride + key / 4] >> (key % 4) & 1;
  }
};

/// Draws for all of a tile's weights, whose first key is a multiple of 4.
template <class Member, class T>
KOKKOS_FUNCTION void draw_tile(Member const& member, Tile const& tile, WeightDropout<T> const& dropout,
                               KeptWeights const& kept) {
  static_assert(WeightDropout<T>::quad == 4);
  int const queries   = static_cast<int>(tile.query_end - tile.query_begin);
  int const quads     = static_cast<int>(tile.key_end - tile.key_begin + 3) / 4;
  index_t const first = tile.key_begin / 4;
  Kokkos::parallel_for(Kokkos::TeamVectorRange(member, queries * quads), [&](int e) {
    int const i = e / quads, q = e % quads;
    kept.quads[i * kept.stride + q] =
        static_cast<unsigned char>(dropout.kept_quad(tile.batch, tile.head, tile.query_begin + i, first + q));
  });
}

}  // namespace KokkosAttention::Impl

#endif
