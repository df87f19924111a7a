// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_ROUNDUP_HPP
#define KOKKOSATTENTION_ROUNDUP_HPP

#include <Kokkos_Core.hpp>

namespace KokkosAttention::Impl {

KOKKOS_INLINE_FUNCTION constexpr int round_up(int value, int multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace KokkosAttention::Impl

#endif
