// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMAFLAGS_HPP
#define KOKKOSATTENTION_MMAFLAGS_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_Loops.hpp>
#include <KokkosAttention_MmaInstructions.hpp>
#include <KokkosAttention_MmaLane.hpp>
#include <KokkosAttention_MmaPlace.hpp>

#include <Kokkos_Core.hpp>

#include <cstdint>

/// \file
/// How a lane learns which of its pairs an array of flags drops. Where the flags of a query lie side by side, each of a
/// warp's lanes reads several at a time and makes bits of them, and lanes exchange these.

namespace KokkosAttention::Impl {

/// \tparam own the side whose numbers the tile's rows are; its columns are those of the other
template <Side own, int row_blocks, int column_blocks>
class MmaFlags {
  static constexpr int rows = 2 * row_blocks, columns = 2 * column_blocks;
  static_assert(own == Side::queries ? column_blocks % 2 == 0 && columns <= 32
                                     : 8 * column_blocks <= 32 || column_blocks % 4 == 0);

  /// How many flags a lane reads at a time.
  static constexpr int width = own == Side::keys || column_blocks % 4 == 0 ? 8 : 4;

  /// What a lane reads: words of so many flags each, one a query. Of rows of queries, a quad's lanes read width keys
  /// each, then the next ones; of rows of keys, a lane reads those of a query, and of the query 32 after it.
  static constexpr int words      = own == Side::queries ? rows : (8 * column_blocks + 31) / 32;
  static constexpr int bits       = own == Side::queries ? columns : 8 * rows;
  static constexpr int query_step = own == Side::queries ? 8 : 32;             // from word to word
  static constexpr int key_step   = own == Side::queries ? 4 * width : width;  // from one reading to the next

  struct alignas(width) Pack {
    unsigned value[width / 4];
  };

  MmaPlace const& m_place;
  MmaLane m_lane;
  int m_query, m_key;  // the first that the lane reads, from the lane's place on
  bool const* m_first;
  index_t m_query_stride, m_key_stride;

 public:
  KOKKOS_FORCEINLINE_FUNCTION MmaFlags(Tensor<bool const> const& flags, int b, int h, MmaPlace const& place)
      : m_place(place),
        m_lane(MmaLane::of(hidden(MmaLane::here().number()))),
        m_query(own == Side::queries ? 0 : m_lane.number() % (8 * column_blocks) - 2 * m_lane.member),
        m_key(own == Side::queries ? width * m_lane.member - 2 * m_lane.member : -m_lane.quad),
        m_first(&flags(b, h, (own == Side::queries ? place.row : place.column) + m_query,
                       (own == Side::queries ? place.column : place.row) + m_key)),
        m_query_stride(flags.stride[2]),
        m_key_stride(flags.stride[3]) {}

  /// f(b, n, h, e) for the elements of the tile that are dropped. All of a warp's lanes call it together.
  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void for_each_dropped(F const& f) const {
    bool const in_packs = m_place.template holds_all<row_blocks, column_blocks>() && m_key_stride == 1 &&
                          m_query_stride % width == 0 && reinterpret_cast<std::uintptr_t>(m_first) % width == 0;
    unsigned flags[words];
    if (any_lane(!in_packs))
      read_one_by_one(flags);
    else
      read_packs(flags);
    // Mostly all are set.
    unsigned all = flags[0];
    KOKKOSATTENTION_UNROLL
    for (int w = 1; w < words; ++w) all &= flags[w];
    if (any_lane(all != ~0u >> (32 - bits))) exchange(flags, f);
  }

 private:
  KOKKOS_FORCEINLINE_FUNCTION void read_packs(unsigned (&flags)[words]) const {
    // Of four bytes that are 0 or 1, the product's upper four bits; no sum below them carries.
    constexpr unsigned gather = 1u << 28 | 1u << 21 | 1u << 14 | 1u << 7;
    KOKKOSATTENTION_UNROLL
    for (int w = 0; w < words; ++w) {
      bool const* const query = m_first + query_step * w * m_query_stride;
      flags[w]                = 0;
      KOKKOSATTENTION_UNROLL
      for (int p = bits / width - 1; p >= 0; --p) {
        auto const pack = *reinterpret_cast<Pack const*>(query + key_step * p);
        KOKKOSATTENTION_UNROLL
        for (int i = width / 4 - 1; i >= 0; --i) flags[w] = flags[w] << 4 | pack.value[i] * gather >> 28;
      }
    }
  }

  /// The same one by one; those beyond the tile are set.
  KOKKOS_FORCEINLINE_FUNCTION void read_one_by_one(unsigned (&flags)[words]) const {
    int const queries = (own == Side::queries ? m_place.rows : m_place.columns) - m_query;
    int const keys    = (own == Side::queries ? m_place.columns : m_place.rows) - m_key;
    KOKKOSATTENTION_UNROLL
    for (int w = 0; w < words; ++w) {
      bool const* const query = m_first + query_step * w * m_query_stride;
      flags[w]                = 0;
      KOKKOSATTENTION_ROLLED
      for (int first = 0; first < bits; first += 4) {
        KOKKOSATTENTION_UNROLL
        for (int bit = first; bit < first + 4; ++bit) {
          int const key  = key_step * (bit / width) + bit % width;
          bool const set = query_step * w >= queries || key >= keys || query[key * m_key_stride];
          flags[w] |= unsigned(set) << bit;
        }
      }
    }
  }

  template <class F>
  KOKKOS_FORCEINLINE_FUNCTION void exchange(unsigned const (&flags)[words], F const& f) const {
    if constexpr (own == Side::queries) {
      // With eight keys a lane, lane n % 4 has read those of column block n; with four, two lanes have.
      constexpr int sources = width == 8 ? 4 : 2;
      int const source = width == 8 ? 0 : m_lane.member / 2, shift = 2 * (m_lane.member % (width / 2));
      KOKKOSATTENTION_UNROLL
      for (int r = 0; r < rows; ++r) {
        KOKKOSATTENTION_UNROLL
        for (int s = 0; s < sources; ++s) {
          unsigned const found = value_of_lane(flags[r], 4 * m_lane.quad + 4 / sources * s + source) >> shift;
          KOKKOSATTENTION_UNROLL
          for (int n = s; n < column_blocks; n += sources) {
            KOKKOSATTENTION_UNROLL
            for (int e = 0; e < 2; ++e)
              if (!(found >> (width * (n / sources) + e) & 1u)) f(r / 2, n, r % 2, e);
          }
        }
      }
    } else {
      KOKKOSATTENTION_UNROLL
      for (int n = 0; n < column_blocks; ++n) {
        KOKKOSATTENTION_UNROLL
        for (int e = 0; e < 2; ++e) {
          unsigned const found = value_of_lane(flags[n / 4], 8 * (n % 4) + 2 * m_lane.member + e) >> m_lane.quad;
          KOKKOSATTENTION_UNROLL
          for (int r = 0; r < rows; ++r)
            if (!(found >> (8 * r) & 1u)) f(r / 2, n, r % 2, e);
        }
      }
    }
  }
};

}  // namespace KokkosAttention::Impl

#endif
