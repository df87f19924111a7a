// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef FIT_PARAMETER_HPP
#define FIT_PARAMETER_HPP

#include "tensor.hpp"

#include <random>
#include <string>

/// Gradient descent with momentum: velocity = momentum * velocity - rate * gradient, value += velocity.
struct Descent {
  double rate, momentum;
};

/// An array that is learned.
struct Parameter {
  Tensor value, gradient, velocity;
};

/// A parameter that begins with small normally distributed numbers.
Parameter make_parameter(std::string const& label, int rows, int columns, std::mt19937_64& random);

/// One step.
void descend(Parameter const& parameter, Descent const& descent);

#endif
