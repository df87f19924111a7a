// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_TEST_EMULATEDPASSES_HPP
#define KOKKOSATTENTION_TEST_EMULATEDPASSES_HPP

#include "EmulatedKernels.hpp"
#include "../Backward.hpp"

#include <KokkosAttention_MmaBackwardTiles.hpp>
#include <KokkosAttention_MmaQueryTurns.hpp>
#include <KokkosAttention_MmaStatistics.hpp>
#include <KokkosAttention_MmaTiles.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <array>
#include <vector>

/// \file
/// Both passes of the mma engine on emulated teams: what a GPU computes, where there is none.

namespace Test {

using KA::Impl::MmaBackwardTile;
using KA::Impl::MmaTile;
using WarpEmulation::Order;

#define MMA_TYPES double, float, KA::half_t, KA::bhalf_t

// TeamPolicy::scratch_size_max on an H100, less what alignment takes.
constexpr std::size_t h100_scratch = 224104;

template <class T>
KA::Impl::MmaTileQuery tile_query(Problem<T> const& p) {
  return {p.head_dim(), p.value_dim(), h100_scratch};
}

/// A workspace as it may be.
inline Kokkos::View<std::byte*, Kokkos::HostSpace> used_workspace(KA::Impl::WorkspaceCarver const& count) {
  Kokkos::View<std::byte*, Kokkos::HostSpace> const workspace("workspace", count.bytes());
  std::fill_n(workspace.data(), workspace.size(), std::byte(0xff));
  return workspace;
}

/// What wrote where it should not is found by the NaN around results.
template <class Layout, class T>
Outputs<T> emulate_forward(Problem<T> const& p, std::vector<MmaTile> const& tiles, Schedule const& schedule = {}) {
  auto const q = to_device<Layout>(p.q), k = to_device<Layout>(p.k), v = to_device<Layout>(p.v),
             out       = poisoned<T, Layout>(p.batch(), p.heads(), p.q_len(), p.value_dim());
  auto const lse4      = poisoned<KA::accumulation_t<T>, Layout>(p.batch(), p.heads(), p.q_len(), 1);
  auto const lse       = Kokkos::subview(lse4, Kokkos::ALL, Kokkos::ALL, Kokkos::ALL, 0);
  auto const arguments = KA::Impl::make_forward_arguments(q, k, v, out, lse, p.options);
  for (MmaTile const& tile : tiles) EmulatedKernels<T>::forward(arguments, p.options, tile, schedule);
  require_gaps_untouched(out);
  return {to_host(out), to_host(lse4)};
}
template <class Layout, class T>
Outputs<T> emulate_forward(Problem<T> const& p, MmaTile const& tile, Schedule const& schedule = {}) {
  return emulate_forward<Layout>(p, std::vector{tile}, schedule);
}

using KA::Impl::MmaLengths;

/// Lengths for which kernels are chosen: those of teams of few warps, others for short sequences, and those in turns.
template <class T>
std::array<MmaLengths, 3> all_lengths(Problem<T> const& p) {
  KA::index_t const limit = KA::Impl::shortest_mma_turns<T>(tile_query(p));
  return {{{0, Kokkos::min(limit - 1, KA::index_t(64))}, {0, limit - 1}, {limit, KA::Impl::longest_mma_sequence}}};
}

/// The kernels that compute a problem's gradients on an H100 as if its sequences were of some lengths. All take it.
template <class T>
KA::Impl::MmaBackwardTiles backward_tiles(Problem<T> const& p, MmaLengths const& lengths, bool single = false,
                                          bool plain = false) {
  auto query    = tile_query(p);
  query.lengths = lengths;
  query.single  = single;
  query.plain   = plain;
  auto tiles    = KA::Impl::choose_mma_backward_tiles<T>(query, true, true, true, p.options.bias.data() != nullptr);
  for (int n = 0; n < tiles.count; ++n) tiles.tile[n].lengths = {};
  return tiles;
}
template <class T>
KA::Impl::MmaBackwardTiles backward_tiles(Problem<T> const& p, bool single = false, bool plain = false) {
  return backward_tiles(p, all_lengths(p)[2], single, plain);
}

/// \param taken as kernels take them, see MmaStatistics
/// \param functors none, or one that EmulatedKernels have
template <class T, class... Functors>
void emulate_gradients_of_sides(KA::Impl::BackwardArguments<T> const& arguments,
                                KA::Impl::BackwardArguments<T> const& taken,
                                KA::Impl::Tensor<KA::accumulation_t<T> const> const& delta, Problem<T> const& p,
                                MmaBackwardTile const& tile, Schedule const& schedule, Functors const&... functors) {
  bool const in_turns = KA::Impl::mma_backward_shapes<T>[tile.shape].turns;
  KA::Impl::WorkspaceCarver count(nullptr);
  KA::Impl::MmaTurnArrays<T>(count, arguments, tile);
  auto const workspace = used_workspace(count);
  KA::Impl::WorkspaceCarver carver(workspace.data());
  KA::Impl::MmaTurnArrays<T> turns(carver, arguments, tile);
  turns.heads_in_turns = 3;
  if (in_turns) KA::Impl::begin_turns(Space(), arguments, turns);
  Kokkos::fence();
  KA::Impl::MmaBackwardData<T> const data{taken, delta, tile, turns};
  if constexpr (sizeof...(Functors) == 0)
    EmulatedKernels<T>::backward(data, p.options, schedule);
  else
    EmulatedKernels<T>::backward_in_groups(data, p.options, schedule, functors...);
  if (in_turns) KA::Impl::end_turns(Space(), arguments, turns);
  Kokkos::fence();
}

template <class T>
void emulate_bias_gradient(KA::Impl::BackwardArguments<T> const& arguments,
                           KA::Impl::Tensor<KA::accumulation_t<T> const> const& delta, Problem<T> const& p,
                           MmaBackwardTile const& tile, Schedule const& schedule) {
  using Arrays = KA::Impl::BackwardArrays<KA::accumulation_t<T>>;
  KA::Impl::BiasGradientPlan const plan(arguments, tile.rows, tile.columns);
  KA::Impl::WorkspaceCarver count(nullptr);
  Arrays(count, arguments, plan);
  auto const workspace = used_workspace(count);
  KA::Impl::WorkspaceCarver carver(workspace.data());
  Arrays const arrays(carver, arguments, plan);
  KA::Impl::clear_bias_gradient(Space(), arguments, plan);
  Kokkos::fence();
  EmulatedKernels<T>::bias_gradient({arguments, delta, tile}, plan, arrays, p.options, schedule);
  KA::Impl::add_bias_gradient_parts(Space(), arguments, plan, arrays.partial, arrays.part_stride);
  Kokkos::fence();
}

/// The gradients that tiles' kernels compute, one after the other; the others are NaN.
template <class Layout, class T, class... Functors>
GradientResult<T> emulate_backward(Problem<T> const& p, HostTensor<T> const& d_out_on_host,
                                   std::vector<MmaBackwardTile> const& tiles, Schedule const& schedule = {},
                                   Functors const&... functors) {
  using Accumulation = KA::accumulation_t<T>;
  auto const forward = run_forward(p, functors...);
  auto const q = to_device<Layout>(p.q), k = to_device<Layout>(p.k), v = to_device<Layout>(p.v),
             out = to_device<Layout>(forward.out), d_out = to_device<Layout>(d_out_on_host);
  auto const lse4 = to_device<Layout>(forward.lse);
  auto const lse  = Kokkos::subview(lse4, Kokkos::ALL, Kokkos::ALL, Kokkos::ALL, 0);
  auto const like = [](auto const& t) {
    return poisoned<T, Layout>(t.extent(0), t.extent(1), t.extent(2), t.extent(3));
  };
  auto const dq = like(p.q), dk = like(p.k), dv = like(p.v), dbias = like(p.options.bias);
  auto const delta         = poisoned<Accumulation, Kokkos::LayoutRight>(p.batch(), p.heads(), p.q_len(), 1);
  auto const delta_of_call = KA::Impl::make_tensor<Accumulation>(delta);
  for (MmaBackwardTile const& tile : tiles) {
    auto const& shape    = KA::Impl::mma_backward_shapes<T>[tile.shape];
    auto const arguments = KA::Impl::make_backward_arguments(
        d_out, q, k, v, out, lse,
        shape.computes_bias() ? KA::Gradients<T, MemorySpace>{.bias = dbias}
                              : KA::Gradients<T, MemorySpace>{.q = dq, .k = dk, .v = dv},
        p.options);
    KA::Impl::WorkspaceCarver count(nullptr);
    KA::Impl::MmaStatistics<T>(count, arguments);
    auto const workspace = used_workspace(count);
    KA::Impl::WorkspaceCarver carver(workspace.data());
    KA::Impl::MmaStatistics<T> const statistics(carver, arguments);
    KA::Impl::compute_statistics(Space(), arguments, delta_of_call, statistics);
    Kokkos::fence();
    auto const taken  = statistics.arguments(arguments);
    auto const deltas = statistics.deltas(delta_of_call.read_only());
    if (shape.computes_bias())
      emulate_bias_gradient(taken, deltas, p, tile, schedule);
    else
      emulate_gradients_of_sides(arguments, taken, deltas, p, tile, schedule, functors...);
    if (shape.computes_queries()) require_gaps_untouched(dq);
    if (shape.computes_keys()) require_gaps_untouched(dk);
    if (shape.computes_values()) require_gaps_untouched(dv);
    if (shape.computes_bias()) require_gaps_untouched(dbias);
  }
  return {to_host(dq), to_host(dk), to_host(dv), to_host(dbias)};
}

template <class Layout, class T, class... Functors>
GradientResult<T> emulate_backward(Problem<T> const& p, HostTensor<T> const& d_out, MmaBackwardTile const& tile,
                                   Schedule const& schedule = {}, Functors const&... functors) {
  return emulate_backward<Layout>(p, d_out, std::vector{tile}, schedule, functors...);
}

template <class T>
void require_forward(Outputs<T> const& found, Problem<T> const& problem) {
  auto const expected = reference(problem);
  auto const rival    = unfused(problem);
  require_accurate<T>(errors(found.out, expected.out), errors(rival.out, expected.out), expected);
  require_lse<T>(found.lse, expected, rival.lse);
}

/// The gradients that a shape computes.
template <class T, class Modify = Unmodified>
void require_backward(KA::Impl::MmaBackwardShape const& shape, GradientResult<T> const& found,
                      Problem<T> const& problem, HostTensor<T> const& d_out, Modify const& modify = {}) {
  auto const expected   = attention_gradients<wide_t<T>>(problem, d_out, Exact{}, modify);
  auto const rival      = attention_gradients<KA::accumulation_t<T>>(problem, d_out, Stored<T>{}, modify);
  auto const& magnitude = expected.magnitude;
  if (shape.computes_queries()) require_gradient("dq", found.q, expected.q, rival.q, magnitude.q);
  if (shape.computes_keys()) require_gradient("dk", found.k, expected.k, rival.k, magnitude.k);
  if (shape.computes_values()) require_gradient("dv", found.v, expected.v, rival.v, magnitude.v);
  if (shape.computes_bias()) require_gradient("dbias", found.bias, expected.bias, rival.bias, magnitude.bias);
}

/// Both passes with the tiles that an H100 would take for sequences of some lengths.
/// \param expected the problem that the results are to solve
template <class Layout = Kokkos::LayoutRight, class T>
void check_emulated_passes(Random& random, Problem<T> const& problem, Problem<T> const& expected) {
  auto const d_out = random_d_out(random, problem);
  for (MmaLengths const& lengths : all_lengths(problem)) {
    CAPTURE(lengths.longest);
    auto query      = tile_query(problem);
    query.lengths   = lengths;
    query.adds_bias = problem.options.bias.data() != nullptr;
    require_forward(emulate_forward<Layout>(problem, KA::Impl::choose_mma_tile<T>(query)), expected);
    auto const tiles = backward_tiles(problem, lengths);
    REQUIRE(tiles.count > 0);
    for (int n = 0; n < tiles.count; ++n)
      require_backward(KA::Impl::mma_backward_shapes<T>[tiles.tile[n].shape],
                       emulate_backward<Layout>(problem, d_out, tiles.tile[n]), expected, d_out);
  }
}

}  // namespace Test

#endif
