// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef DENOISE_RUN_HPP
#define DENOISE_RUN_HPP

#include "arguments.hpp"

/// Reads the photograph, adds noise, removes it, writes the result and reports on standard output.
/// \throws std::exception, with a message for the user, if something of that cannot be done
void run(Arguments const& arguments);

#endif
