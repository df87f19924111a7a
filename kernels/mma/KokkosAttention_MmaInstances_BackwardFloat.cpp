// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include <KokkosAttention_MmaBackwardDefinitions.hpp>

namespace KokkosAttention::Impl {

template struct MmaBackwardInstance<Kokkos::Cuda, float>;

}  // namespace KokkosAttention::Impl
