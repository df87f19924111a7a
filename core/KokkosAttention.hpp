// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HPP
#define KOKKOSATTENTION_HPP

#include <KokkosAttention_Backward.hpp>
#include <KokkosAttention_BlockSparseMask.hpp>
#include <KokkosAttention_Config.hpp>
#include <KokkosAttention_Describe.hpp>
#include <KokkosAttention_DropoutMask.hpp>
#include <KokkosAttention_FlashAttention.hpp>
#include <KokkosAttention_Forward.hpp>
#include <KokkosAttention_Functors.hpp>
#include <KokkosAttention_Gradients.hpp>
#include <KokkosAttention_Options.hpp>
#include <KokkosAttention_Types.hpp>

#endif
