// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include <KokkosAttention.hpp>

#include <Kokkos_Core.hpp>
#include <Kokkos_Random.hpp>

#include <iostream>

int main(int argc, char* argv[]) {
  Kokkos::ScopeGuard const kokkos(argc, argv);
  using View = Kokkos::View<float****, Kokkos::LayoutRight>;  // any layout works

  int const batch = 2, heads = 8, length = 1024, head_dim = 64;
  View const q("q", batch, heads, length, head_dim), k("k", batch, heads, length, head_dim),
      v("v", batch, heads, length, head_dim), out("out", batch, heads, length, head_dim);
  Kokkos::Random_XorShift64_Pool<> const random(1);
  for (View const& view : {q, k, v}) Kokkos::fill_random(view, random, -1.f, 1.f);

  KokkosAttention::forward(q, k, v, out, {.causal = true});

  std::cout << KokkosAttention::describe(Kokkos::DefaultExecutionSpace(), q, k, v, out, {.causal = true});
  auto const first = [](View const& view) {
    return Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), Kokkos::subview(view, 0, 0, 0, 0))();
  };
  std::cout << "the first query sees the first key alone: out = " << first(out) << ", v = " << first(v) << "\n";
}
