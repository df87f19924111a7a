// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTEND_ARGUMENTS_HPP
#define ATTEND_ARGUMENTS_HPP

#include "settings.hpp"

#include <optional>
#include <string>

/// What the command line asks for. Names of files may be empty.
struct Arguments {
  std::string q, k, v;
  std::string mask, bias;
  std::string output, lse;
  Settings settings;
  std::string type;  // empty: that of q
  int runs   = 5;
  bool check = false;
  std::optional<double> tolerance;
};

#endif
