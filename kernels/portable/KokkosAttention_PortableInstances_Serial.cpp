// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include <KokkosAttention_PortableDefinitions.hpp>

KOKKOSATTENTION_PORTABLE_INSTANCES(Kokkos::Serial)
