// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HOSTSHAREDKEYS_HPP
#define KOKKOSATTENTION_HOSTSHAREDKEYS_HPP

#include <KokkosAttention_Arguments.hpp>
#include <KokkosAttention_HostTiles.hpp>
#include <KokkosAttention_Workspace.hpp>

#include <cstddef>

/// \file
/// Keys and values that many queries read: packed once, tile by tile, in a call's workspace.

namespace KokkosAttention::Impl {

struct HostSharedKeys {
  std::byte* data = nullptr;  // none: each work item packs what it reads
  int kv_heads = 0, tile_keys = 1;
  index_t tiles         = 0;  // of a key-value head
  std::size_t key_bytes = 0, tile_bytes = 0;
  index_t items = 0;  // tiles of all

  /// From an empty workspace, only its size is counted.
  template <Scalar ScalarType>
  HostSharedKeys(WorkspaceCarver& carver, AttentionArguments<ScalarType> const& a, HostTile const& tile) {
    if (tile.shared_tile_bytes == 0) return;
    kv_heads   = a.kv_heads;
    tile_keys  = tile.keys;
    tiles      = (a.k_len + tile.keys - 1) / tile.keys;
    key_bytes  = tile.shared_key_bytes;
    tile_bytes = tile.shared_tile_bytes;
    items      = a.batch * a.kv_heads * tiles;
    data       = carver.take<std::byte>(items * tile_bytes);
  }

  /// The keys of the tile that begins with key `begin`; its values follow key_bytes later.
  std::byte* keys(int entry, int kv_head, index_t begin) const {
    return data + ((index_t(entry) * kv_heads + kv_head) * tiles + begin / tile_keys) * tile_bytes;
  }
  std::byte* values(int entry, int kv_head, index_t begin) const { return keys(entry, kv_head, begin) + key_bytes; }
};

}  // namespace KokkosAttention::Impl

#endif
