// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "squared_error.hpp"

#include <Kokkos_Core.hpp>

double mean_squared_error(Columns const& out, Columns const& targets) {
  int const rows = static_cast<int>(out.extent(2)), columns = static_cast<int>(out.extent(3));
  double sum = 0.;
  Kokkos::parallel_reduce(
      "squared error", rows * columns,
      KOKKOS_LAMBDA(int n, double& partial) {
        int const i = n / columns, j = n % columns;
        double const difference = out(0, 0, i, j) - targets(0, 0, i, j);
        partial += difference * difference;
      },
      sum);
  return sum / (static_cast<double>(rows) * columns);
}

Tensor loss_gradient(Tensor const& out, Columns const& targets) {
  int const rows = static_cast<int>(out.extent(2)), columns = static_cast<int>(out.extent(3));
  Tensor const gradient(Kokkos::view_alloc(Kokkos::WithoutInitializing, "loss gradient"), 1, 1, rows, columns);
  float const factor = 2.f / static_cast<float>(columns);
  Kokkos::parallel_for(
      "loss gradient", rows * columns, KOKKOS_LAMBDA(int n) {
        int const i = n / columns, j = n % columns;
        gradient(0, 0, i, j) = factor * (out(0, 0, i, j) - targets(0, 0, i, j));
      });
  return gradient;
}
