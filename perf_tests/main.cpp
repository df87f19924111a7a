// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include <KokkosAttention.hpp>

#include <benchmark/benchmark.h>

#include <Kokkos_Core.hpp>

#include <sstream>

/// \file
/// Adds to every report what its figures depend on: this library's version, Kokkos' configuration and the device.

int main(int argc, char* argv[]) {
  Kokkos::ScopeGuard const guard(argc, argv);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;

  std::ostringstream configuration;
  Kokkos::DefaultExecutionSpace().print_configuration(configuration, true);
  benchmark::AddCustomContext("KokkosAttention version when configured", KOKKOSATTENTION_GIT_VERSION);
  benchmark::AddCustomContext("Kokkos version", std::to_string(KOKKOS_VERSION));
  benchmark::AddCustomContext("execution space", Kokkos::DefaultExecutionSpace::name());
  benchmark::AddCustomContext("configuration", configuration.str());
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
