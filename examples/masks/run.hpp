// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef MASKS_RUN_HPP
#define MASKS_RUN_HPP

#include "arguments.hpp"

/// Times attention under each mask, checks it and reports. \throws std::runtime_error if a difference is above the
/// tolerance
void run(Arguments const& arguments);

#endif
