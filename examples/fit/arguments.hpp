// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef FIT_ARGUMENTS_HPP
#define FIT_ARGUMENTS_HPP

#include <cstdint>
#include <optional>
#include <string>

/// What the command line asks for.
struct Arguments {
  int sensors   = 96;
  int positions = 128;
  double broken = 0.15;  // part of the sensors

  int head_dim       = 16;
  int steps          = 3000;
  int fields         = 1024;  // in the training set
  int batch          = 128;   // fields a step
  double rate        = 0.2;
  double momentum    = 0.9;
  double dropout     = 0.;
  std::uint64_t seed = 1;

  std::string output;
  std::optional<double> bound;  // on the held-out error, in units of the variance
};

#endif
