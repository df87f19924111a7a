// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "parameter.hpp"

#include <Kokkos_Core.hpp>

Parameter make_parameter(std::string const& label, int rows, int columns, std::mt19937_64& random) {
  std::normal_distribution<double> normal(0., 0.3);
  return {.value    = make_tensor(label, rows, columns, [&](int, int) { return normal(random); }),
          .gradient = Tensor("gradient of " + label, 1, 1, rows, columns),
          .velocity = Tensor("velocity of " + label, 1, 1, rows, columns)};
}

void descend(Parameter const& parameter, Descent const& descent) {
  int const columns = static_cast<int>(parameter.value.extent(3));
  Kokkos::parallel_for(
      "gradient descent", parameter.value.size(), KOKKOS_LAMBDA(int n) {
        auto const& [value, gradient, velocity] = parameter;
        int const i = n / columns, j = n % columns;
        float& v = velocity(0, 0, i, j);
        v        = static_cast<float>(descent.momentum * v - descent.rate * gradient(0, 0, i, j));
        value(0, 0, i, j) += v;
      });
}
