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

/// Bytes of workspace that `forward` with these arguments needs; give as many in `options.workspace` and the call
/// allocates nothing.
template <ExecutionSpace Space, AttentionView Q, AttentionView K, AttentionView V, AttentionView Out>
std::size_t workspace_size(Space const&, Q const&, K const&, V const&, Out const&, options_t<Q> const& = {}) {
  return 0;  // every fused engine keeps its intermediate results in team scratch
}

/// The same of `backward`.
/// \throws std::invalid_argument as `backward` does
template <ExecutionSpace Space, AttentionView DOut, AttentionView Q, AttentionView K, AttentionView V,
          AttentionView Out, class Lse, class... Functors>
requires Kokkos::is_view_v<Lse> std::size_t workspace_size(Space const&, DOut const& d_out, Q const& q, K const& k,
                                                           V const& v, Out const& out, Lse const& lse,
                                                           gradients_t<Q> const& gradients, options_t<Q> options = {},
                                                           Functors const&... functors) {
  options.workspace = {};
  return Impl::checked_backward_arguments<Space>(Impl::ArgumentChecker("workspace_size"), d_out, q, k, v, out, lse,
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
std::string why_not_host(AttentionArguments<ScalarType> const& arguments, bool with_functors, bool forward) {
  if constexpr (!runs_on_host<Space>) return "none in this version";
  if (!forward) return "none in this version (the host engine has no backward pass yet)";
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

inline void describe_mma(std::ostream& text, MmaTile const& tile) {
  text << "  engine: mma\n";
  describe_tile(text, "tile", tile.queries, tile.keys, tile);
}

inline void describe_mma(std::ostream& text, MmaBackwardTile const& tile) {
  MmaBackwardShape const& shape = mma_backward_shapes[tile.shape];
  if (shape.own == Side::queries) return describe_tile(text, "dq tile", tile.rows, tile.columns, tile);
  std::string name = "dk and dv tile";
  if (shape.first_columns == 0) name = "dv tile";
  if (shape.second_columns == 0) name = "dk tile";
  describe_tile(text, name, tile.columns, tile.rows, tile);
}

/// Why no engine that would be faster than the portable one was taken.
template <class Space, Scalar ScalarType>
std::string why_portable(Space const& space, AttentionArguments<ScalarType> const& arguments, bool with_functors,
                         bool forward) {
  if constexpr (runs_on_host<Space>)
    return why_not_host<Space>(arguments, with_functors, forward);
  else
    return why_not_mma(space, arguments);
}

inline void describe_host(std::ostream& text, char const* variant, HostTile const& tile) {
  text << "  engine: host, variant " << variant << "\n"
       << "  tile: " << tile.queries << " queries by " << tile.keys << " keys, a thread each, scratch "
       << tile.scratch_bytes << " bytes\n";
}

}  // namespace Impl

/// The engine and tile that `forward` with these arguments would use, its memory, and why no faster engine was taken.
/// \throws std::invalid_argument as `forward` does
template <ExecutionSpace Space, AttentionView Q, AttentionView K, AttentionView V, AttentionView Out, class... Functors>
std::string describe(Space const& space, Q const& q, K const& k, V const& v, Out const& out,
                     options_t<Q> const& options = {}, Functors const&... functors) {
  using ScalarType = typename Q::non_const_value_type;
  Impl::ArgumentChecker const check("describe");
  Impl::check_tensors<Space>(check, q, k, v, out);
  Impl::check_options(check, q, k, options);
  (Impl::check_functor<Space>(check, functors), ...);

  auto const arguments         = Impl::make_attention_arguments(q, k, v, options);
  constexpr bool with_functors = sizeof...(Functors) != 0;
  std::ostringstream text;
  Impl::describe_call<Space>(text, "forward", arguments);
  Impl::MmaTile const mma_tile = Impl::mma_tile(space, arguments);
  if (mma_tile.shape >= 0)
    Impl::describe_mma(text, mma_tile);
  else if constexpr (with_functors)
    Impl::describe_portable(text, Impl::portable_tile<Space>(arguments));
  else if (Impl::HostKernels const* const host = Impl::host_kernels_for<Space>(arguments); host != nullptr)
    Impl::describe_host(text, host->name, host->of<ScalarType>().forward_tile(arguments));
  else
    Impl::describe_portable(text, Impl::PortableInstance<Space, ScalarType>::tile(arguments));
  text << "  workspace: " << workspace_size(space, q, k, v, out, options) << " bytes\n"
       << "  faster engines: "
       << (mma_tile.shape >= 0 ? "none in this version" : Impl::why_portable(space, arguments, with_functors, true))
       << "\n"
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
  using ScalarType = typename Q::non_const_value_type;
  using Impl::GradientOf;
  auto const [arguments, bytes] = Impl::checked_backward_arguments<Space>(
      Impl::ArgumentChecker("describe"), d_out, q, k, v, out, lse, gradients, options, functors...);
  std::ostringstream text;
  Impl::AttentionArguments<ScalarType> const sizes = arguments;
  Impl::describe_call<Space>(text, "backward", sizes);
  Impl::MmaBackwardTiles const mma_tiles = Impl::mma_backward_tiles(space, arguments);
  bool const mma                         = mma_tiles.count > 0;
  text << "  engine: " << (mma ? "mma" : "portable") << "\n";
  for (int n = 0; n < mma_tiles.count; ++n) Impl::describe_mma(text, mma_tiles.tile[n]);
  auto const describe = [&](std::string const& name, GradientOf target) {
    auto const tile = [&] {
      if constexpr (sizeof...(Functors) == 0)
        return Impl::PortableInstance<Space, ScalarType>::backward_tile(sizes, target);
      else
        return Impl::choose_backward_tile(Impl::tile_query<Space>(sizes), target);
    }();
    bool const own_queries = Impl::own_side(target) == Impl::Side::queries;
    Impl::describe_tile(text, name, own_queries ? tile.rows : tile.columns, own_queries ? tile.columns : tile.rows,
                        tile);
  };
  if (!mma && arguments.dq.data != nullptr) describe("dq tile", GradientOf::queries);
  if (!mma && (arguments.dk.data != nullptr || arguments.dv.data != nullptr))
    describe("dk and dv tile", GradientOf::keys_and_values);
  if (arguments.dbias.data != nullptr) describe(mma ? "dbias tile (portable)" : "dbias tile", GradientOf::bias);
  text << "  workspace: " << bytes << " bytes\n"
       << "  deterministic: yes" << (options.deterministic ? "" : ", though not asked for: this engine always is")
       << "\n"
       << "  faster engines: "
       << (mma ? "none in this version" : Impl::why_portable(space, sizes, sizeof...(Functors) != 0, false)) << "\n";
  return text.str();
}

}  // namespace KokkosAttention

#endif
