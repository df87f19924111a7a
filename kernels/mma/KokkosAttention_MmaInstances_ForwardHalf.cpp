// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include <KokkosAttention_MmaForwardDefinitions.hpp>

namespace KokkosAttention::Impl {

template struct MmaForwardInstance<Kokkos::Cuda, half_t>;

}  // namespace KokkosAttention::Impl
