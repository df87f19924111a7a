// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef MASKS_ARGUMENTS_HPP
#define MASKS_ARGUMENTS_HPP

#include <cstdint>
#include <optional>

/// What the command line asks for.
struct Arguments {
  int length    = 4096;
  int heads     = 4;
  int head_dim  = 64;
  int documents = 8;
  std::optional<int> prefix;  // keys
  int block          = 128;   // queries and keys
  int stride         = 8;     // blocks
  int runs           = 3;
  std::uint64_t seed = 1;
  double tolerance   = 1e-5;
};

#endif
