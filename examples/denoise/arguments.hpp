// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef DENOISE_ARGUMENTS_HPP
#define DENOISE_ARGUMENTS_HPP

#include "image.hpp"

#include <cstdint>
#include <optional>
#include <string>

/// What the command line asks for.
struct Arguments {
  std::string input, output, noisy_output;
  bool grey = false;
  std::optional<Rectangle> crop;
  int shrink          = 1;
  double noise        = 25.;
  std::uint64_t seed  = 1;
  bool input_is_noisy = false;
  std::optional<double> filter;  // grey levels
  std::optional<int> patch;      // pixels across
  std::optional<int> search;     // pixels
  bool full        = false;
  std::string type = "float";
};

#endif
