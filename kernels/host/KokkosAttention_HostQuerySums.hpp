// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTQUERYSUMS_HPP
#define KOKKOSATTENTION_HOSTQUERYSUMS_HPP

#include <KokkosAttention_HostOperands.hpp>
#include <KokkosAttention_HostTurns.hpp>

#include <Kokkos_Core.hpp>

#include <atomic>
#include <climits>
#include <thread>

#include <immintrin.h>

/// \file
/// Sums of the gradients of a sequence's queries, of one thread or of several that add to them in turns.

namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT {

/// Sums of the heads that read a sequence's keys, with head_dim in the lanes.
template <Scalar ScalarType>
class HostQuerySums {
  using Operands = HostOperands<ScalarType>;
  using T        = accumulation_t<ScalarType>;
  using Vector   = HostVector<T>;

  BackwardArguments<ScalarType> const& m_arguments;
  T* m_data;
  index_t m_rows;
  std::ptrdiff_t m_stride;
  int m_first_head;

 public:
  /// \param data room for readers() times `stride` numbers, of query head `first_head` and those after it
  /// \param rows for which a head has room
  HostQuerySums(BackwardArguments<ScalarType> const& arguments, T* data, index_t rows, std::ptrdiff_t stride,
                int first_head)
      : m_arguments(arguments), m_data(data), m_rows(rows), m_stride(stride), m_first_head(first_head) {}

  HostStrides strides() const { return Operands::strides(m_rows, vectors()); }
  int vectors() const { return (m_arguments.head_dim + Vector::lanes - 1) / Vector::lanes; }
  /// Those of a row of a head, and of what follows.
  Vector* at(int head, index_t row) const {
    return reinterpret_cast<Vector*>(m_data + (head - m_first_head) * m_stride) + row * strides().row;
  }

  /// Those from a row of each head on.
  HostQuerySums from_row(index_t row) const {
    return {m_arguments, reinterpret_cast<T*>(at(m_first_head, row)), m_rows, m_stride, m_first_head};
  }

  void clear(int head, index_t begin, index_t end) const {
    HostStrides const places = strides();
    Vector* const sums       = at(head, 0);
    int const columns        = vectors();
    for (int v = 0; v < columns; ++v)
      for (index_t i = begin; i < end; ++i) sums[places(i, v)] = Vector(T(0));
  }

  /// Stores the gradients of the sequence's queries.
  void store(Sequence const& sequence) const {
    for (int head = m_first_head; head < m_first_head + m_arguments.readers(); ++head)
      for (index_t i = 0; i < sequence.q_len; ++i)
        store_row(at(head, i), strides().column, Vector(m_arguments.scale),
                  MatrixRows<ScalarType>(m_arguments.dq, sequence.entry, head, sequence.q_begin + i, 1,
                                         m_arguments.head_dim));
  }
};

/// A thread's turns, with a tile of a sequence's keys. Places are tiles of queries, those of one head after the
/// other's.
class HostQueryTurns {
  int* m_done;  // of the thread's own tile of keys
  bool m_follows;
  int m_known = 0;  // of the tile of keys before it

 public:
  /// \param done of the thread's own tile of keys, behind that of the tile before it
  /// \param follows whether there is one
  HostQueryTurns(int* done, bool follows) : m_done(done), m_follows(follows) {}

  /// Returns when so many places have the products of all tiles of keys before the thread's.
  void wait(int places) {
    if (!m_follows) return;
    // A thread that holds the turn may have to share its core with the one that waits.
    for (int n = 0; m_known < places; ++n) {
      if (n < 1024)
        _mm_pause();
      else
        std::this_thread::yield();
      m_known = std::atomic_ref<int>(m_done[-1]).load(std::memory_order_acquire);
    }
  }

  /// So many have the thread's own, too.
  void tell(int places) const { std::atomic_ref<int>(*m_done).store(places, std::memory_order_release); }

  /// The thread adds nothing more.
  void finish() {
    constexpr int all = INT_MAX;
    wait(all);
    tell(all);
  }
};

}  // namespace KokkosAttention::Impl::KOKKOSATTENTION_HOST_VARIANT

#endif
