// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTEND_RUN_HPP
#define ATTEND_RUN_HPP

#include "arguments.hpp"

/// Reads the arrays, computes and times their attention, writes the results and reports on standard output.
/// \throws std::exception, with a message for the user, if something of that cannot be done, or if the errors exceed
///         the tolerance
void run(Arguments const& arguments);

#endif
