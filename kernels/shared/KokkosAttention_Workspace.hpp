// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_WORKSPACE_HPP
#define KOKKOSATTENTION_WORKSPACE_HPP

#include <Kokkos_Core.hpp>

#include <cstddef>
#include <cstdint>

/// \file
/// Memory that a call needs beside its inputs and outputs.

namespace KokkosAttention::Impl {

inline constexpr std::size_t workspace_alignment = 256;

/// Takes arrays out of a workspace one after the other. Without memory it only counts, so that the size of a
/// workspace and the places in it come from the same code.
class WorkspaceCarver {
  std::byte* m_memory;
  std::size_t m_bytes = 0;

  static constexpr std::size_t aligned(std::size_t n) {
    return (n + workspace_alignment - 1) / workspace_alignment * workspace_alignment;
  }

 public:
  explicit WorkspaceCarver(std::byte* memory)
      : m_memory(reinterpret_cast<std::byte*>(aligned(reinterpret_cast<std::uintptr_t>(memory)))) {}

  template <class T>
  T* take(std::size_t count) {
    std::size_t const begin = m_bytes;
    m_bytes += aligned(count * sizeof(T));
    return m_memory == nullptr ? nullptr : reinterpret_cast<T*>(m_memory + begin);
  }

  /// What to ask for, so that the arrays fit wherever the memory begins.
  std::size_t bytes() const { return m_bytes == 0 ? 0 : m_bytes + workspace_alignment - 1; }
};

/// The caller's workspace, or one of our own if the caller gave none.
template <class ExecutionSpace, class View>
View workspace_or_allocate(ExecutionSpace const& space, View const& workspace, std::size_t bytes) {
  if (workspace.data() != nullptr || bytes == 0) return workspace;
  return View(Kokkos::view_alloc(space, Kokkos::WithoutInitializing, "KokkosAttention::workspace"), bytes);
}

}  // namespace KokkosAttention::Impl

#endif
