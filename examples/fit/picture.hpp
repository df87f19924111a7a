// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef FIT_PICTURE_HPP
#define FIT_PICTURE_HPP

#include "problem.hpp"
#include "tensor.hpp"

#include <string>

/// Writes a PNG of the learned weights, left, and the true ones, right: a row a position, a column a sensor, brighter
/// for a larger weight. Below the maps a mark for each broken sensor.
/// \param learned (1, 1, positions, sensors)
/// \throws std::runtime_error if the file cannot be written
void save_weights(std::string const& path, Tensor const& learned, Problem const& problem);

#endif
