// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "../Backward.hpp"

#include <array>
#include <bit>
#include <iostream>

/// \file
/// Prints checksums of both passes on fixed problems. The test runs it with different numbers of threads.

namespace Test {

/// FNV-1a over the values' bits.
template <class T>
void add(std::uint64_t& hash, HostTensor<T> const& tensor) {
  for (std::size_t e = 0; e < tensor.size(); ++e)
    hash = (hash ^ std::bit_cast<std::uint64_t>(static_cast<double>(tensor.data()[e]))) * 1099511628211u;
}

/// \param bias_heads 0: neither a bias nor dropout
template <class T>
void print_checksum(Shape const& shape, int bias_heads, int bias_queries, KA::Window const& window = {}) {
  Random random(601);
  auto problem           = random_problem<T>(random, shape);
  problem.options.causal = true;
  problem.options.window = window;
  if (bias_heads > 0) problem.options.bias = random.tensor<T>(1, bias_heads, bias_queries, shape.k_len);
  if (bias_heads > 0) add_dropout(problem, {.probability = 0.1});
  auto const out       = run_forward(problem);
  auto const gradients = run_backward(problem, random_d_out(random, problem));
  std::uint64_t hash   = 14695981039346656037u;
  add(hash, out.out);
  add(hash, out.lse);
  for (auto const& tensor : std::array{gradients.q, gradients.k, gradients.v}) add(hash, tensor);
  if (bias_heads > 0) add(hash, gradients.bias);
  std::cout << KA::Impl::scalar_name<T>() << ", " << shape << ": " << hash << "\n";
}

template <class T>
void print_checksums() {
  print_checksum<T>({2, 4, 2, 150, 300, 40, 24}, 4, 150);
  print_checksum<T>({2, 4, 1, 300, 170, 64, 64}, 1, 1);
  print_checksum<T>({64, 2, 2, 9, 11, 8, 8}, 2, 9);
  print_checksum<T>({1, 2, 1, 200, 600, 32, 32}, 2, 1);
  print_checksum<T>({2, 4, 2, 3, 5000, 16, 24}, 1, 3);
  print_checksum<T>({1, 4, 1, 600, 500, 24, 24}, 0, 0);
  print_checksum<T>({1, 2, 1, 200, 600, 32, 32}, 0, 0, {.left = 100});
}

}  // namespace Test

int main(int argc, char* argv[]) {
  Kokkos::ScopeGuard const guard(argc, argv);
  Test::print_checksums<double>();
  Test::print_checksums<float>();
  Test::print_checksums<KokkosAttention::half_t>();
  Test::print_checksums<KokkosAttention::bhalf_t>();
}
