// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include <KokkosAttention_PortableInstances.hpp>

KOKKOSATTENTION_PORTABLE_INSTANCES(, Kokkos::Threads)
