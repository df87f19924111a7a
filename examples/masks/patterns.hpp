// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef MASKS_PATTERNS_HPP
#define MASKS_PATTERNS_HPP

#include "masks.hpp"

#include <Kokkos_Core.hpp>

#include <cstdint>

/// Documents of random lengths that fill a sequence. \throws std::invalid_argument for more documents than positions
DocumentMask random_documents(int length, int documents, std::uint64_t seed);

/// Flags of BlockSparseMask: each block of queries attends to its own block of keys, to the one before and the one
/// after, and to every `stride`-th.
Kokkos::View<bool**> banded_and_strided(int blocks, int stride);

#endif
