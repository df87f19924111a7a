// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_TEST_EMULATEDKERNELSIMPL_HPP
#define KOKKOSATTENTION_TEST_EMULATEDKERNELSIMPL_HPP

#include "EmulatedKernels.hpp"

#include <KokkosAttention_MmaBackwardTeam.hpp>
#include <KokkosAttention_MmaBiasEngine.hpp>
#include <KokkosAttention_MmaForwardTeam.hpp>
#include <KokkosAttention_MmaOptionInUse.hpp>
#include <KokkosAttention_MmaSplitAhead.hpp>
#include <KokkosAttention_Modifiers.hpp>
#include <KokkosAttention_WeightDropout.hpp>

#include <algorithm>
#include <stdexcept>
#include <type_traits>
#include <vector>

/// \file
/// What the kernels do, with the emulation's team member.

namespace Test {

using KA::index_t;

template <class T>
WarpEmulation::MemoryRange memory_of(KA::Impl::Tensor<T const> const& tensor, index_t b, index_t h, index_t l,
                                     index_t d) {
  if (b * h * l * d == 0) return {nullptr, nullptr};
  return {reinterpret_cast<std::byte const*>(tensor.data),
          reinterpret_cast<std::byte const*>(&tensor(b - 1, h - 1, l - 1, d - 1) + 1)};
}

template <class T>
std::vector<WarpEmulation::MemoryRange> inputs(KA::Impl::AttentionArguments<T> const& a) {
  return {memory_of(a.q, a.batch, a.q_heads, a.q_len, a.head_dim),
          memory_of(a.k, a.batch, a.kv_heads, a.k_len, a.head_dim),
          memory_of(a.v, a.batch, a.kv_heads, a.k_len, a.value_dim)};
}

template <class Tile>
WarpEmulation::League league(Tile const& tile, index_t items, Schedule const& schedule,
                             std::vector<WarpEmulation::MemoryRange> readable) {
  return {static_cast<int>(std::min(items, index_t(schedule.most_teams))), tile.team_size,
          tile.scratch_bytes + KA::Impl::mma_scratch_alignment, schedule.order, std::move(readable)};
}

/// The arguments of kernels whose rows of the other side are split ahead, into the workspace.
template <class T, class Arguments, class Shape>
Arguments split_ahead(Arguments const& arguments, Shape const& shape, std::vector<std::byte>& workspace,
                      Schedule const& schedule) {
  KA::Impl::WorkspaceCarver count(nullptr);
  KA::Impl::MmaSplitArrays<T>(count, arguments, shape);
  workspace.assign(count.bytes(), std::byte(0xff));
  KA::Impl::WorkspaceCarver carver(workspace.data());
  KA::Impl::MmaSplitArrays<T> const arrays(carver, arguments, shape);
  return KA::Impl::with_split_rows(arguments, arrays, [&](int columns, auto const& job) {
    KA::Impl::with_split_columns(columns, [&](auto padded_columns) {
      using Team = KA::Impl::MmaSplitTeam<T, WarpEmulation::Member, decltype(padded_columns)::value>;
      WarpEmulation::run(WarpEmulation::League{static_cast<int>(Team::teams(job)),
                                               Team::warps,
                                               Team::scratch_bytes() + KA::Impl::mma_scratch_alignment,
                                               schedule.order,
                                               {memory_of(job.from, job.batch, job.heads, job.length, job.columns)}},
                         Team{job});
    });
  });
}

template <int n, class T, class Scores, class M, class Dropout>
void run_forward_shape(KA::Impl::ForwardArguments<T> const& arguments, Scores const& scores, M const& mask,
                       Dropout const& dropout, KA::Impl::MmaTile const& tile, Schedule const& schedule) {
  if constexpr (n < KA::Impl::mma_shape_count<T>) {
    if (tile.shape != n) return run_forward_shape<n + 1>(arguments, scores, mask, dropout, tile, schedule);
    using WarpEmulation::Member;
    index_t const items = KA::Impl::mma_forward_items(arguments, tile);
    if constexpr (KA::Impl::MmaArithmetic<T>::splits && KA::Impl::knows_option<Dropout> &&
                  KA::Impl::has_split_ahead_kernel(KA::Impl::mma_shapes<T>[n]))
      if (tile.splits_ahead) {
        constexpr bool scale_is_power = false, ahead = true;
        using Team = KA::Impl::MmaForwardTeam<n, Member, T, Scores, M, Dropout, scale_is_power, ahead>;
        std::vector<std::byte> workspace;
        auto const split   = split_ahead<T>(arguments, KA::Impl::mma_shapes<T>[n], workspace, schedule);
        auto const columns = [](auto const& tensor) { return tensor.stride[2]; };
        return WarpEmulation::run(
            league(tile, items, schedule,
                   {memory_of(split.q, split.batch, split.q_heads, split.q_len, split.head_dim),
                    memory_of(split.k, split.batch, split.kv_heads, split.k_len, columns(split.k)),
                    memory_of(split.v, split.batch, split.kv_heads, split.k_len, columns(split.v))}),
            Team{split, scores, mask, dropout, tile, 3});
      }
    if (tile.splits_ahead) throw std::logic_error("no kernel of this call splits keys and values ahead");
    KA::Impl::with_kind_of_scale<T, Dropout>(arguments.scale, [&](auto is_power) {
      using Team    = KA::Impl::MmaForwardTeam<n, Member, T, Scores, M, Dropout, decltype(is_power)::value>;
      auto readable = inputs(arguments);
      if constexpr (Scores::looks_up_one_array)
        readable.push_back(
            memory_of(scores.first.array(), arguments.batch, arguments.q_heads, arguments.q_len, arguments.k_len));
      WarpEmulation::run(league(tile, items, schedule, std::move(readable)),
                         Team{arguments, scores, mask, dropout, tile, 3});
    });
  }
}

template <class T>
WarpEmulation::League backward_league(KA::Impl::MmaBackwardData<T> const& data, index_t items,
                                      Schedule const& schedule) {
  auto const& [a, delta, tile, turns] = data;
  auto readable                       = inputs(a);
  auto const add_rows                 = [&](auto const& tensor, index_t columns) {
    readable.push_back(memory_of(tensor, a.batch, a.q_heads, a.q_len, columns));
  };
  // Of what is split ahead, all of a row may be read.
  if (tile.splits_ahead) add_rows(a.q, a.q.stride[2]);
  add_rows(a.d_out, tile.splits_ahead ? a.d_out.stride[2] : a.value_dim);
  readable.push_back(memory_of(a.lse, a.batch, a.q_heads, a.q_len, 1));
  readable.push_back(memory_of(delta, a.batch, a.q_heads, a.q_len, 1));
  return league(tile, items, schedule, std::move(readable));
}

template <int n, class T, class Scores, class M, class Dropout>
void run_backward_shape(KA::Impl::MmaBackwardData<T> const& data, Scores const& scores, M const& mask,
                        Dropout const& dropout, Schedule const& schedule) {
  if constexpr (n < KA::Impl::mma_backward_shape_count<T>) {
    constexpr KA::Impl::MmaBackwardShape shape = KA::Impl::mma_backward_shapes<T>[n];
    if constexpr (!shape.computes_bias() && KA::Impl::may_take<Scores, Dropout>(shape)) {
      using WarpEmulation::Member;
      auto const run = [&](auto is_power, auto... ahead) {
        using Team = KA::Impl::MmaBackwardTeam<n, Member, T, Scores, M, Dropout, decltype(is_power)::value,
                                               decltype(ahead)::value...>;
        std::vector<std::byte> workspace;
        auto given = data;
        if constexpr (sizeof...(ahead) != 0)
          given.arguments = split_ahead<T>(data.arguments, shape, workspace, schedule);
        WarpEmulation::run(backward_league(given, KA::Impl::mma_backward_items(data, shape.own), schedule),
                           Team{given, scores, mask, dropout});
      };
      if (data.tile.shape == n) {
        if constexpr (KA::Impl::may_split_ahead<T, Scores, Dropout>(shape))
          if (data.tile.splits_ahead) return run(std::false_type(), std::true_type());
        if (data.tile.splits_ahead) throw std::logic_error("no kernel of this call has queries and dO split ahead");
        if constexpr (shape.turns)
          KA::Impl::with_kind_of_scale<T, Dropout>(data.arguments.scale, run);
        else
          run(std::false_type());
      }
    }
    run_backward_shape<n + 1>(data, scores, mask, dropout, schedule);
  }
}

template <int n, class T, class Scores, class M>
void run_groups_shape(KA::Impl::MmaBackwardData<T> const& data, Scores const& scores, M const& mask,
                      Schedule const& schedule) {
  if constexpr (n < KA::Impl::mma_backward_shape_count<T>) {
    constexpr KA::Impl::MmaBackwardShape shape = KA::Impl::mma_backward_shapes<T>[n];
    using Dropout                              = KA::Impl::NoDropout<KA::accumulation_t<T>>;
    static_assert(KA::Impl::may_take<Scores, Dropout>(shape));
    if constexpr (shape.groups) {
      using Team = KA::Impl::MmaBackwardTeam<n, WarpEmulation::Member, T, Scores, M, Dropout>;
      if (data.tile.shape == n)
        return WarpEmulation::run(backward_league(data, KA::Impl::mma_backward_items(data, shape.own), schedule),
                                  Team{data, scores, mask, Dropout()});
    }
    return run_groups_shape<n + 1>(data, scores, mask, schedule);
  }
  throw std::logic_error("no kernel in groups has this tile");
}

template <int n, class T, class Scores, class M>
void run_bias_shape(KA::Impl::MmaBackwardData<T> const& data, KA::Impl::BiasGradientLoop<T, Scores, M> const& loop,
                    Schedule const& schedule) {
  if constexpr (n < KA::Impl::mma_backward_shape_count<T>) {
    if constexpr (KA::Impl::mma_backward_shapes<T>[n].computes_bias()) {
      using WarpEmulation::Member;
      if (data.tile.shape == n)
        WarpEmulation::run(backward_league(data, loop.items(), schedule),
                           KA::Impl::MmaBiasTeam<n, Member, T, Scores, M>{loop, data.delta, data.tile});
    }
    run_bias_shape<n + 1>(data, loop, schedule);
  }
}

/// Calls f(scores, mask, dropout) with the types of plain calls, of calls with one option that looks up an array, in 16
/// bits, or with those of calls with any options: kernels for each option would take as long again to compile.
template <class Arguments, class T, class F>
void with_options(Arguments const& arguments, KA::Options<T, Kokkos::HostSpace> const& options, F const& f) {
  using Accumulation = KA::accumulation_t<T>;
  auto const scores  = KA::Impl::make_scores(options);
  auto const mask    = KA::Impl::make_mask(options);
  KA::Impl::WeightDropout<Accumulation> const dropout(options.dropout);
  using KA::Impl::OptionInUse;
  OptionInUse const in_use = KA::Impl::option_in_use(arguments, scores, mask, dropout);
  bool const looks_up      = sizeof(T) == 2 && (in_use == OptionInUse::bias || in_use == OptionInUse::mask);
  if (in_use != OptionInUse::none && !looks_up) return f(scores, mask, dropout);
  auto const alone = [&](auto const&... score) {
    f(KA::Impl::score_chain(score...), KA::Impl::all_of(mask.first), KA::Impl::NoDropout<Accumulation>());
  };
  if constexpr (sizeof(T) == 2) {
    if (in_use == OptionInUse::bias) return alone(KA::Impl::InUse<KA::Impl::Bias<T>>{scores.rest.first});
    if (in_use == OptionInUse::mask)
      return alone(KA::Impl::InUse<KA::Impl::Flagged<Accumulation>>{{mask.rest.first.flags}});
  }
  alone();
}

template <class T>
void EmulatedKernels<T>::forward(KA::Impl::ForwardArguments<T> const& arguments, Options const& options,
                                 KA::Impl::MmaTile const& tile, Schedule const& schedule) {
  with_options(arguments, options, [&](auto const& scores, auto const& mask, auto const& dropout) {
    run_forward_shape<0>(arguments, scores, mask, dropout, tile, schedule);
  });
}

template <class T>
void EmulatedKernels<T>::backward(KA::Impl::MmaBackwardData<T> const& data, Options const& options,
                                  Schedule const& schedule) {
  with_options(data.arguments, options, [&](auto const& scores, auto const& mask, auto const& dropout) {
    run_backward_shape<0>(data, scores, mask, dropout, schedule);
  });
}

template <class T>
void EmulatedKernels<T>::backward_in_groups(KA::Impl::MmaBackwardData<T> const& data, Options const& options,
                                            Schedule const& schedule, Incline<KA::accumulation_t<T>> const& score) {
  run_groups_shape<0>(data, KA::Impl::score_chain(score), KA::Impl::all_of(KA::Impl::make_mask(options).first),
                      schedule);
}

template <class T>
void EmulatedKernels<T>::backward_in_groups(KA::Impl::MmaBackwardData<T> const& data, Options const& options,
                                            Schedule const& schedule, Quadratic<KA::accumulation_t<T>> const& score) {
  run_groups_shape<0>(data, KA::Impl::score_chain(score), KA::Impl::all_of(KA::Impl::make_mask(options).first),
                      schedule);
}

template <class T>
void EmulatedKernels<T>::bias_gradient(KA::Impl::MmaBackwardData<T> const& data, KA::Impl::BiasGradientPlan const& plan,
                                       KA::Impl::BackwardArrays<KA::accumulation_t<T>> const& arrays,
                                       Options const& options, Schedule const& schedule) {
  auto const scores = KA::Impl::make_scores(options);
  auto const mask   = KA::Impl::make_mask(options);
  KA::Impl::BiasGradientLoop<T, std::decay_t<decltype(scores)>, std::decay_t<decltype(mask)>> const loop{
      data.arguments,
      plan,
      arrays.partial,
      arrays.part_stride,
      scores,
      mask,
      KA::Impl::WeightDropout<KA::accumulation_t<T>>(options.dropout)};
  run_bias_shape<0>(data, loop, schedule);
}

}  // namespace Test

#endif
