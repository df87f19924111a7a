// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include <KokkosAttention.hpp>

/// \file
/// Must not compile, and say why: a score function that does not tell its derivative, given to backward.

struct Halve {
  KOKKOS_FUNCTION float operator()(float score, int, int, KokkosAttention::index_t, KokkosAttention::index_t) const {
    return score / 2;
  }
};

int main(int argc, char* argv[]) {
  Kokkos::ScopeGuard const guard(argc, argv);
  Kokkos::View<float****> const q("q", 1, 1, 2, 2);
  Kokkos::View<float***> const lse("lse", 1, 1, 2);
  KokkosAttention::backward(q, q, q, q, q, lse, {.q = q}, {}, Halve());
}
