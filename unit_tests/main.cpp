// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include <catch2/catch_session.hpp>

#include <KokkosAttention_HostKernels.hpp>

#include <Kokkos_Core.hpp>

#include <iostream>
#include <stdexcept>

int main(int argc, char* argv[]) {
  Kokkos::ScopeGuard const guard(argc, argv);
  try {
    KokkosAttention::Impl::host_kernels();
  } catch (std::invalid_argument const& error) {
    std::cout << error.what() << "\n";
    return 4;  // as Catch2 does where all tests are skipped
  }
  return Catch::Session().run(argc, argv);
}
