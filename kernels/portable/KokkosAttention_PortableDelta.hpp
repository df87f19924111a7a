// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_PORTABLEDELTA_HPP
#define KOKKOSATTENTION_PORTABLEDELTA_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_Launch.hpp>
#include <KokkosAttention_Loops.hpp>
#include <KokkosAttention_MatrixRows.hpp>
#include <KokkosAttention_PortableProduct.hpp>

#include <Kokkos_Core.hpp>

#include <climits>

/// \file
/// delta = rowsum(dO O), which backward passes subtract from the gradients of weights (Dao et al., arXiv:2205.14135,
/// appendix B.2).

namespace KokkosAttention::Impl::inline KOKKOSATTENTION_VECTORS {

/// A row a thread; on devices a vector lane has two packs of 16 bytes of it, or more of a row that is longer than its
/// thread. Rows that do not lie in packs are read number by number and summed in the same order: on devices sums do not
/// depend on strides.
/// \tparam Put put(entry, head, i, delta) stores that of a query
template <class ExecutionSpace, Scalar ScalarType, class Put>
class DeltaKernel {
  using T      = accumulation_t<ScalarType>;
  using Member = typename Kokkos::TeamPolicy<ExecutionSpace>::member_type;

  static constexpr bool on_host = runs_on_host<ExecutionSpace>;
  static constexpr int pack     = 16 / int(sizeof(ScalarType));

  static constexpr int team_lanes = on_host ? 1 : 256, thread_rows = on_host ? 64 : 4;

  BackwardArguments<ScalarType> m_arguments;
  Put m_put;
  bool m_in_packs;
  int m_lanes = 1;  // of a row

 public:
  DeltaKernel(BackwardArguments<ScalarType> const& arguments, Put const& put)
      : m_arguments(arguments),
        m_put(put),
        m_in_packs(lies_in_packs(arguments.d_out, arguments.value_dim) &&
                   lies_in_packs(arguments.out, arguments.value_dim)) {
    if constexpr (!on_host)
      while (m_lanes < 32 && m_lanes * 2 * pack < arguments.value_dim) m_lanes *= 2;
  }

  void launch(ExecutionSpace const& space) const {
    if (items() == 0) return;
    Kokkos::TeamPolicy<ExecutionSpace> const policy(space, static_cast<int>(Kokkos::min(items(), index_t(INT_MAX))),
                                                    team_lanes / m_lanes, m_lanes);
    Kokkos::parallel_for("KokkosAttention::backward, delta (portable)", as_kernel_argument(policy), *this);
  }

  KOKKOS_FUNCTION void operator()(Member const& member) const {
    for (index_t item = member.league_rank(); item < items(); item += member.league_size()) {
      index_t const begin = item * team_rows(), end = Kokkos::min(begin + team_rows(), rows());
      Kokkos::parallel_for(Kokkos::TeamThreadRange(member, begin, end), [&](index_t r) { write_row(member, r); });
    }
  }

 private:
  KOKKOS_FUNCTION index_t rows() const { return index_t(m_arguments.batch) * m_arguments.q_heads * m_arguments.q_len; }
  KOKKOS_FUNCTION index_t team_rows() const { return thread_rows * (team_lanes / m_lanes); }
  KOKKOS_FUNCTION index_t items() const { return (rows() + team_rows() - 1) / team_rows(); }

  KOKKOS_FUNCTION void write_row(Member const& member, index_t r) const {
    int const entry = static_cast<int>(r / m_arguments.q_len / m_arguments.q_heads);
    int const head  = static_cast<int>(r / m_arguments.q_len % m_arguments.q_heads);
    index_t const i = r % m_arguments.q_len;
    MatrixRows<ScalarType const> const gradient(m_arguments.d_out, entry, head, i, 1, m_arguments.value_dim);
    MatrixRows<ScalarType const> const out(m_arguments.out, entry, head, i, 1, m_arguments.value_dim);
    if constexpr (on_host) {
      m_put(entry, head, i, sum_on_host(gradient, out));
    } else {
      T sum = 0;
      Kokkos::parallel_reduce(
          Kokkos::ThreadVectorRange(member, (m_arguments.value_dim + pack - 1) / pack),
          [&](int n, T& partial) { add_pack(gradient, out, pack * n, partial); }, sum);
      Kokkos::single(Kokkos::PerThread(member), [&] { m_put(entry, head, i, sum); });
    }
  }

  KOKKOS_FUNCTION T sum_on_host(MatrixRows<ScalarType const> const& gradient,
                                MatrixRows<ScalarType const> const& out) const {
    constexpr int width = RegisterBlock<T, true>::width;
    auto const term     = [&](int d) { return static_cast<T>(gradient(0, d)) * static_cast<T>(out(0, d)); };
    T lane[width]       = {};
    int d               = 0;
    for (; d + width <= m_arguments.value_dim; d += width) {
      KOKKOSATTENTION_LANES
      for (int l = 0; l < width; ++l) lane[l] += term(d + l);
    }
    for (int l = 0; d < m_arguments.value_dim; ++d, ++l) lane[l] += term(d);
    T sum = 0;
    for (int l = 0; l < width; ++l) sum += lane[l];
    return sum;
  }

  KOKKOS_FUNCTION void add_pack(MatrixRows<ScalarType const> const& gradient, MatrixRows<ScalarType const> const& out,
                                int begin, T& sum) const {
    auto const load = [&](MatrixRows<ScalarType const> const& row) {
      using Numbers = Pack<ScalarType, pack>;
      if (m_in_packs) return Numbers::load(&row(0, begin));
      Numbers numbers = {};
      for (int n = 0; n < pack && begin + n < row.columns; ++n) numbers.value[n] = row(0, begin + n);
      return numbers;
    };
    Pack<ScalarType, pack> const x = load(gradient), y = load(out);
    KOKKOSATTENTION_UNROLL
    for (int n = 0; n < pack; ++n) sum += static_cast<T>(x.value[n]) * static_cast<T>(y.value[n]);
  }
};

template <class ExecutionSpace, Scalar ScalarType, class Put>
void compute_delta(ExecutionSpace const& space, BackwardArguments<ScalarType> const& arguments, Put const& put) {
  DeltaKernel<ExecutionSpace, ScalarType, Put>(arguments, put).launch(space);
}

/// Stores deltas as they are.
template <class T>
struct PutDelta {
  Tensor<T> delta;  // (B, Hq, Lq)

  KOKKOS_FORCEINLINE_FUNCTION void operator()(int entry, int head, index_t i, T x) const {
    delta(entry, head, i, 0) = x;
  }
};

}  // namespace KokkosAttention::Impl::inline KOKKOSATTENTION_VECTORS

#endif
