// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef FIT_RUN_HPP
#define FIT_RUN_HPP

#include "arguments.hpp"

/// Trains, reports and draws. \throws std::runtime_error if the held-out error is above the bound
void run(Arguments const& arguments);

#endif
