// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_DESCRIBE_HPP
#define KOKKOSATTENTION_DESCRIBE_HPP

#include <KokkosAttention_Backward.hpp>
#include <KokkosAttention_Forward.hpp>
#include <KokkosAttention_MmaChoice.hpp>
#include <KokkosAttention_Unfused.hpp>

#include <Kokkos_Core.hpp>

#include <sstream>
#include <string>

/// \file
/// What a call would do, in words, and the workspace that it needs.

namespace KokkosAttention {

/// Bytes of workspace for `forward` with these arguments; give as many in `options.workspace` and the call allocates
/// nothing. Of the `mma` engine no call allocates any, but those for which this is not 0 are slower without.
/// \throws std::invalid_argument as `forward` does
template <ExecutionSpace Space, AttentionView Q, AttentionView K, AttentionView V, AttentionView Out, class... Functors>
std::size_t workspace_size(Space const& space, Q const& q, K const& k, V const& v, Out const& out,
                           options_t<Q> options = {}, Functors const&... functors) {
  options.workspace = {};
  return Impl::checked_forward_arguments(space, Impl::ArgumentChecker("workspace_size"), q, k, v, out, Impl::NoLse{},
                                         options, functors...)
      .second;
}

/// The same of `backward`.
/// \throws std::invalid_argument as `backward` does
template <ExecutionSpace Space, AttentionView DOut, AttentionView Q, AttentionView K, AttentionView V,
          AttentionView Out, class Lse, class... Functors>
requires Kokkos::is_view_v<Lse> std::size_t workspace_size(Space const& space, DOut const& d_out, Q const& q,
                                                           K const& k, V const& v, Out const& out, Lse const& lse,
                                                           gradients_t<Q> const& gradients, options_t<Q> options = {},
                                                           Functors const&... functors) {
  options.workspace = {};
  return Impl::checked_backward_arguments(space, Impl::ArgumentChecker("workspace_size"), d_out, q, k, v, out, lse,
                                          gradients, options, functors...)
      .second;
}

namespace Impl {

template <class Space, Scalar ScalarType>
void describe_call(std::ostream& text, char const* function, AttentionArguments<ScalarType> const& a) {
  auto const extents = [](auto... n) { return shape({static_cast<std::size_t>(n)...}); };
  text << "KokkosAttention::" << function << " of " << scalar_name<ScalarType>() << " on " << Space::name() << ": q "
       << extents(a.batch, a.q_heads, a.q_len, a.head_dim) << ", k "
       << extents(a.batch, a.kv_heads, a.k_len, a.head_dim) << ", v "
       << extents(a.batch, a.kv_heads, a.k_len, a.value_dim);
  if (a.packed()) text << ", " << a.packed_sequences << " packed sequences";
  text << "\n";
}

/// Why a call on a host does not take the host engine.
template <class Space, Scalar ScalarType>
std::string why_not_host(AttentionArguments<ScalarType> const& arguments, bool with_functors) {
  if constexpr (!runs_on_host<Space>) return "none in this version";
  if (with_functors) return "not host, which takes no functors";
  if (host_kernels() == nullptr) return "not host, which has no variant for this processor, or was switched off";
  if (host_kernels_for<Space>(arguments) == nullptr)
    return "not host, whose head dimensions end at " + std::to_string(largest_host_head_dim);
  return "none in this version";
}

inline void describe_tile(std::ostream& text, std::string const& name, int queries, int keys, auto const& tile) {
  text << "  " << name << ": " << queries << " queries by " << keys << " keys, team of " << tile.team_size << " x "
       << tile.vector_length << ", scratch " << tile.scratch_bytes << " bytes a team, level " << tile.scratch_level
       << "\n";
}

inline void describe_portable(std::ostream& text, PortableTile const& tile) {
  text << "  engine: portable\n";
  describe_tile(text, "tile", tile.queries, tile.keys, tile);
}

inline void describe_host_tile(std::ostream& text, std::string const& name, int queries, int keys,
                               std::size_t scratch_bytes) {
  text << "  " << name << ": " << queries << " queries by " << keys << " keys, a thread each, scratch " << scratch_bytes
       << " bytes\n";
}

template <class Space, Scalar ScalarType>
void describe_host(std::ostream& text, Space const& space, HostKernels const& host,
                   ForwardArguments<ScalarType> const& arguments) {
  WorkspaceCarver carver(nullptr);
  HostSplit<accumulation_t<ScalarType>> const split(carver, arguments);
  HostTile const tile = host.of<ScalarType>().forward_tile(arguments, space.concurrency());
  text << "  engine: host, variant " << host.name << "\n";
  describe_host_tile(text, "tile", tile.queries, tile.keys, tile.scratch_bytes);
  if (tile.shared_tile_bytes != 0) text << "  keys and values packed once for all queries\n";
  if (split.chunks > 1) text << "  keys split into " << split.chunks << " chunks of " << host_chunk_keys << "\n";
}

template <class Space, Scalar ScalarType>
void describe_host(std::ostream& text, Space const& space, HostKernels const& host,
                   BackwardArguments<ScalarType> const& arguments) {
  text << "  engine: host, variant " << host.name << "\n";
  auto const describe_tile = [&](std::string const& name, HostBackwardTile const& tile, Side own) {
    bool const own_queries = own == Side::queries;
    describe_host_tile(text, name, own_queries ? tile.own : tile.other, own_queries ? tile.other : tile.own,
                       tile.scratch_bytes);
  };
  auto const describe = [&](std::string const& name, GradientOf target) {
    describe_tile(name, host.of<ScalarType>().backward_tile(arguments, target), own_side(target));
  };
  HostBackwardItem const item = host_backward_item(space, host, arguments);
  if (item != HostBackwardItem::tile_of_side) {
    describe_tile("dq, dk and dv tile", host_tile_of_item(host, arguments, item), Side::keys);
    if (item == HostBackwardItem::tile_of_keys) text << "  threads add to dq in turns\n";
  } else {
    if (arguments.dq.data != nullptr) describe("dq tile", GradientOf::queries);
    if (arguments.dk.data != nullptr || arguments.dv.data != nullptr)
      describe("dk and dv tile", GradientOf::keys_and_values);
  }
  if (arguments.dbias.data != nullptr) describe("dbias tile", GradientOf::bias);
}

/// \param tile_of the tile of a target
template <Scalar ScalarType, class TileOf>
void describe_portable(std::ostream& text, BackwardArguments<ScalarType> const& arguments, TileOf const& tile_of) {
  text << "  engine: portable\n";
  auto const describe = [&](std::string const& name, GradientOf target) {
    PortableBackwardTile const tile = tile_of(target);
    bool const own_queries          = own_side(target) == Side::queries;
    describe_tile(text, name, own_queries ? tile.rows : tile.columns, own_queries ? tile.columns : tile.rows, tile);
  };
  if (arguments.dq.data != nullptr) describe("dq tile", GradientOf::queries);
  if (arguments.dk.data != nullptr || arguments.dv.data != nullptr)
    describe("dk and dv tile", GradientOf::keys_and_values);
  if (arguments.dbias.data != nullptr) describe("dbias tile", GradientOf::bias);
}

/// Of packed sequences: each is taken by the kernels for its length.
inline std::string taken_sequences(MmaLengths const& lengths) {
  if (lengths.shortest >= lengths.longest) return "";
  if (lengths.shortest > 0) return ", sequences from " + std::to_string(lengths.shortest) + " on";
  return ", sequences up to " + std::to_string(lengths.longest);
}

inline void describe_mma(std::ostream& text, MmaForwardTiles const& tiles) {
  text << "  engine: mma\n";
  for (int n = 0; n < tiles.count; ++n) {
    MmaTile const& tile = tiles.tile[n];
    describe_tile(text, "tile" + (tiles.count > 1 ? taken_sequences(tile.lengths) : ""), tile.queries, tile.keys, tile);
    if (tile.splits_ahead) text << "  keys and values: split once, in the workspace\n";
  }
}

template <Scalar ScalarType>
void describe_mma(std::ostream& text, MmaBackwardTile const& tile) {
  MmaBackwardShape const& shape = mma_backward_shapes<ScalarType>[tile.shape];
  std::string name              = gradient_names(shape) + std::string(" tile");
  if (!shape.computes_bias()) name += taken_sequences(tile.lengths);
  if (shape.own == Side::queries) return describe_tile(text, name, tile.rows, tile.columns, tile);
  describe_tile(text, name, tile.columns, tile.rows, tile);
  if (tile.splits_ahead) text << "  queries and d_out: split once, in the workspace\n";
}

/// \param portable_tile tile of a target; a bias gradient for which no tile fits is the portable engine's
template <Scalar ScalarType, class TileOf>
void describe_mma(std::ostream& text, BackwardArguments<ScalarType> const& arguments, MmaBackwardTiles const& tiles,
                  TileOf const& portable_tile) {
  text << "  engine: mma\n";
  for (int n = 0; n < tiles.count; ++n) describe_mma<ScalarType>(text, tiles.tile[n]);
  if (arguments.dbias.data == nullptr || mma_bias_tile<ScalarType>(tiles).shape >= 0) return;
  PortableBackwardTile const tile = portable_tile(GradientOf::bias);
  describe_tile(text, "dbias tile (portable)", tile.rows, tile.columns, tile);
}

/// Why no engine that would be faster than the portable one was taken.
template <class Space, Scalar ScalarType>
std::string why_portable([[maybe_unused]] Space const& space, AttentionArguments<ScalarType> const& arguments,
                         bool with_functors) {
  if constexpr (runs_on_host<Space>)
    return why_not_host<Space>(arguments, with_functors);
  else
    return why_not_mma(space, arguments);
}

}  // namespace Impl

/// The engine and tile that `forward` with these arguments would use, its memory, and why no faster engine was taken.
/// \throws std::invalid_argument as `forward` does
template <ExecutionSpace Space, AttentionView Q, AttentionView K, AttentionView V, AttentionView Out, class... Functors>
std::string describe(Space const& space, Q const& q, K const& k, V const& v, Out const& out,
                     options_t<Q> const& options = {}, Functors const&... functors) {
  using ScalarType              = typename Q::non_const_value_type;
  constexpr bool with_functors  = sizeof...(Functors) != 0;
  auto const [arguments, bytes] = Impl::checked_forward_arguments(space, Impl::ArgumentChecker("describe"), q, k, v,
                                                                  out, Impl::NoLse{}, options, functors...);
  Impl::AttentionArguments<ScalarType> const sizes = arguments;
  std::ostringstream text;
  Impl::describe_call<Space>(text, "forward", sizes);
  Impl::MmaForwardTiles const mma_tiles = Impl::mma_tiles(space, arguments);
  if (mma_tiles.count > 0)
    Impl::describe_mma(text, mma_tiles);
  else if constexpr (with_functors)
    Impl::describe_portable(text, Impl::portable_tile<Space>(sizes));
  else if (Impl::HostKernels const* const host = Impl::host_kernels_for<Space>(sizes); host != nullptr)
    Impl::describe_host(text, space, *host, arguments);
  else
    Impl::describe_portable(text, Impl::PortableInstance<Space, ScalarType>::tile(sizes));
  text << "  workspace: " << bytes << " bytes\n"
       << "  faster engines: "
       << (mma_tiles.count > 0 ? "none in this version" : Impl::why_portable(space, sizes, with_functors)) << "\n"
       << "  unfused products (flash = false): " << Impl::UnfusedMatrixProduct::name << "\n";
  return text.str();
}

/// The same of `backward`.
/// \throws std::invalid_argument as `backward` does
template <ExecutionSpace Space, AttentionView DOut, AttentionView Q, AttentionView K, AttentionView V,
          AttentionView Out, class Lse, class... Functors>
requires Kokkos::is_view_v<Lse> std::string describe(Space const& space, DOut const& d_out, Q const& q, K const& k,
                                                     V const& v, Out const& out, Lse const& lse,
                                                     gradients_t<Q> const& gradients, options_t<Q> const& options = {},
                                                     Functors const&... functors) {
  using ScalarType              = typename Q::non_const_value_type;
  constexpr bool with_functors  = sizeof...(Functors) != 0;
  auto const [arguments, bytes] = Impl::checked_backward_arguments(space, Impl::ArgumentChecker("describe"), d_out, q,
                                                                   k, v, out, lse, gradients, options, functors...);
  Impl::AttentionArguments<ScalarType> const sizes = arguments;
  std::ostringstream text;
  Impl::describe_call<Space>(text, "backward", sizes);
  auto const portable_tile = [&](Impl::GradientOf target) {
    if constexpr (with_functors)
      return Impl::choose_backward_tile(Impl::tile_query<Space>(sizes), target);
    else
      return Impl::PortableInstance<Space, ScalarType>::backward_tile(sizes, target);
  };
  Impl::MmaBackwardTiles const mma_tiles = Impl::mma_backward_tiles(space, arguments);
  if (mma_tiles.count > 0)
    Impl::describe_mma(text, arguments, mma_tiles, portable_tile);
  else if constexpr (with_functors)
    Impl::describe_portable(text, arguments, portable_tile);
  else if (Impl::HostKernels const* const host = Impl::host_kernels_for<Space>(sizes); host != nullptr)
    Impl::describe_host(text, space, *host, arguments);
  else
    Impl::describe_portable(text, arguments, portable_tile);
  text << "  workspace: " << bytes << " bytes\n"
       << "  deterministic: yes" << (options.deterministic ? "" : ", though not asked for: this engine always is")
       << "\n"
       << "  faster engines: "
       << (mma_tiles.count > 0 ? "none in this version" : Impl::why_portable(space, sizes, with_functors)) << "\n";
  return text.str();
}

}  // namespace KokkosAttention

#endif
