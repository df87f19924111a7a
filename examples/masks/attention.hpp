// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef MASKS_ATTENTION_HPP
#define MASKS_ATTENTION_HPP

#include <KokkosAttention.hpp>

#include <Kokkos_Core.hpp>

#include <cstdint>

using Tensor  = Kokkos::View<float****, Kokkos::LayoutRight>;  // (1, heads, length, head_dim)
using Options = KokkosAttention::options_t<Tensor>;

/// What attention and its backward pass read.
struct Inputs {
  Tensor q, k, v, d_out;
};

/// What they write.
struct Results {
  Tensor out;
  Kokkos::View<float***, Kokkos::LayoutRight> lse;
  Tensor dq, dk, dv;
};

Inputs random_inputs(int heads, int length, int head_dim, std::uint64_t seed);
Results make_results(Inputs const& inputs);

/// The largest difference of an output or a gradient; infinity where one is NaN.
double largest_difference(Results const& one, Results const& other);

template <KokkosAttention::Mask... Masks>
void forward(Inputs const& in, Results const& results, Options const& options, Masks const&... masks) {
  KokkosAttention::forward(in.q, in.k, in.v, results.out, results.lse, options, masks...);
}

template <KokkosAttention::Mask... Masks>
void backward(Inputs const& in, Results const& results, Options const& options, Masks const&... masks) {
  KokkosAttention::backward(in.d_out, in.q, in.k, in.v, results.out, results.lse,
                            {.q = results.dq, .k = results.dk, .v = results.dv}, options, masks...);
}

#endif
