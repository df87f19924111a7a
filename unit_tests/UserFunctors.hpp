// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_TEST_USERFUNCTORS_HPP
#define KOKKOSATTENTION_TEST_USERFUNCTORS_HPP

#include "Views.hpp"

/// \file
/// Score functions and masks as a user would write them.

namespace Test {

/// Depends on every argument, so that a mixed-up one shows.
template <class A>
struct Ripple {
  KOKKOS_FUNCTION A operator()(A s, int b, int h, KA::index_t i, KA::index_t j) const {
    return s * A(1 + b) + A(0.25) * A(h) - A(0.01) * A(i) + A(0.02) * A(j % 7);
  }
  KOKKOS_FUNCTION A derivative(A, int b, int, KA::index_t, KA::index_t) const { return A(1 + b); }
};

/// Its derivative depends on the score and on the positions.
template <class A>
struct Quadratic {
  KOKKOS_FUNCTION A operator()(A s, int, int h, KA::index_t i, KA::index_t j) const {
    return s + A(0.1) * A(1 + h) * A((i + 2 * j) % 3) * s * s;
  }
  KOKKOS_FUNCTION A derivative(A s, int, int h, KA::index_t i, KA::index_t j) const {
    return 1 + A(0.2) * A(1 + h) * A((i + 2 * j) % 3) * s;
  }
};

/// Linear, so that its derivative leaves the score out.
template <class A>
struct Incline {
  KOKKOS_FUNCTION A operator()(A s, int b, int h, KA::index_t i, KA::index_t j) const {
    return derivative(b, h, i, j) * s - A(0.01) * A(1 + h) * A(i - j);
  }
  KOKKOS_FUNCTION A derivative(int b, int h, KA::index_t i, KA::index_t j) const {
    return 1 + A(0.2) * A((b + h + i + 2 * j) % 3);
  }
};

/// The same for the reference, in types that devices do not have.
struct RippleOnHost {
  template <class W>
  W operator()(W s, int b, int h, KA::index_t i, KA::index_t j) const {
    return s * W(1 + b) + W(0.25) * W(h) - W(0.01) * W(i) + W(0.02) * W(j % 7);
  }
  template <class W>
  W derivative(W, int b, int, KA::index_t, KA::index_t) const {
    return W(1 + b);
  }
};

struct QuadraticOnHost {
  template <class W>
  W operator()(W s, int, int h, KA::index_t i, KA::index_t j) const {
    return s + W(0.1) * W(1 + h) * W((i + 2 * j) % 3) * s * s;
  }
  template <class W>
  W derivative(W s, int, int h, KA::index_t i, KA::index_t j) const {
    return 1 + W(0.2) * W(1 + h) * W((i + 2 * j) % 3) * s;
  }
};

struct InclineOnHost {
  template <class W>
  W operator()(W s, int b, int h, KA::index_t i, KA::index_t j) const {
    return derivative(s, b, h, i, j) * s - W(0.01) * W(1 + h) * W(i - j);
  }
  template <class W>
  W derivative(W, int b, int h, KA::index_t i, KA::index_t j) const {
    return 1 + W(0.2) * W((b + h + i + 2 * j) % 3);
  }
};

/// One score function after another, for the reference.
template <class First, class Second>
struct Composed {
  First first;
  Second second;
  template <class W>
  W operator()(W s, int b, int h, KA::index_t i, KA::index_t j) const {
    return second(first(s, b, h, i, j), b, h, i, j);
  }
  template <class W>
  W derivative(W s, int b, int h, KA::index_t i, KA::index_t j) const {
    return second.derivative(first(s, b, h, i, j), b, h, i, j) * first.derivative(s, b, h, i, j);
  }
};

/// Answers for single pairs only.
struct Checkerboard {
  KOKKOS_FUNCTION bool operator()(int b, int h, KA::index_t i, KA::index_t j) const { return (b + h + i + j) % 2 == 0; }
};

/// The first keys for every query; answers for tiles and ranges too.
struct Prefix {
  KA::index_t n;
  KOKKOS_FUNCTION bool operator()(int, int, KA::index_t, KA::index_t j) const { return j < n; }
  KOKKOS_FUNCTION KA::Coverage coverage(KA::Tile const& t) const {
    return t.key_begin >= n ? KA::Coverage::none : t.key_end <= n ? KA::Coverage::all : KA::Coverage::some;
  }
  KOKKOS_FUNCTION KA::KeyRange key_range(int, int, KA::index_t, KA::index_t) const { return {0, n}; }
};

/// The same of queries.
struct QueryPrefix {
  KA::index_t n;
  KOKKOS_FUNCTION bool operator()(int, int, KA::index_t i, KA::index_t) const { return i < n; }
  KOKKOS_FUNCTION KA::QueryRange query_range(int, int, KA::index_t, KA::index_t) const { return {0, n}; }
};

/// Counts how often single pairs are asked for.
struct CountingPrefix : Prefix {
  Kokkos::View<int, MemorySpace> asked;
  KOKKOS_FUNCTION bool operator()(int b, int h, KA::index_t i, KA::index_t j) const {
    Kokkos::atomic_inc(&asked());
    return Prefix::operator()(b, h, i, j);
  }
};

}  // namespace Test

#endif
