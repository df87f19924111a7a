// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_DESCRIBE_HPP
#define KOKKOSATTENTION_DESCRIBE_HPP

#include <KokkosAttention_Forward.hpp>
#include <KokkosAttention_Unfused.hpp>

#include <Kokkos_Core.hpp>

#include <sstream>
#include <string>

/// \file
/// What a call would do, in words.

namespace KokkosAttention {

/// Bytes of workspace that `forward` with these arguments needs; give as many in `options.workspace` and the call
/// allocates nothing.
template <ExecutionSpace Space, AttentionView Q, AttentionView K, AttentionView V, AttentionView Out>
std::size_t workspace_size(Space const&, Q const&, K const&, V const&, Out const&, options_t<Q> const& = {}) {
  return 0;  // every fused engine keeps its intermediate results in team scratch
}

/// The engine and tile that `forward` with these arguments would use, its memory, and why no faster engine was taken.
/// \throws std::invalid_argument as `forward` does
template <ExecutionSpace Space, AttentionView Q, AttentionView K, AttentionView V, AttentionView Out, class... Functors>
std::string describe(Space const& space, Q const& q, K const& k, V const& v, Out const& out,
                     options_t<Q> const& options = {}, Functors const&...) {
  using ScalarType         = typename Q::non_const_value_type;
  std::size_t const needed = workspace_size(space, q, k, v, out, options);
  Impl::ArgumentChecker const check("describe");
  Impl::check_tensors<Space>(check, q, k, v, out);
  Impl::check_options(check, q, k, options, needed);

  auto const tile =
      [&](auto... sizes) {
        if constexpr (sizeof...(Functors) == 0)
          return Impl::PortableInstance<Space, ScalarType>::tile(sizes...);
        else
          return Impl::portable_tile<Space, ScalarType>(sizes...);
      }(static_cast<index_t>(q.extent(2)), static_cast<index_t>(k.extent(2)), static_cast<int>(q.extent(3)),
        static_cast<int>(v.extent(3)));
  std::ostringstream text;
  text << "KokkosAttention::forward of " << Impl::scalar_name<ScalarType>() << " on " << Space::name() << ": q "
       << Impl::shape({q.extent(0), q.extent(1), q.extent(2), q.extent(3)}) << ", k "
       << Impl::shape({k.extent(0), k.extent(1), k.extent(2), k.extent(3)}) << ", v "
       << Impl::shape({v.extent(0), v.extent(1), v.extent(2), v.extent(3)}) << "\n"
       << "  engine: portable\n"
       << "  tile: " << tile.queries << " queries by " << tile.keys << " keys, team of " << tile.team_size << " x "
       << tile.vector_length << "\n"
       << "  scratch: " << tile.scratch_bytes << " bytes a team, level " << tile.scratch_level << "\n"
       << "  workspace: " << needed << " bytes\n"
       << "  faster engines: none in this version\n"
       << "  unfused products (flash = false): " << Impl::UnfusedMatrixProduct::name << "\n";
  return text.str();
}

}  // namespace KokkosAttention

#endif
