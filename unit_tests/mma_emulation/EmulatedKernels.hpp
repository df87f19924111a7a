// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_TEST_EMULATEDKERNELS_HPP
#define KOKKOSATTENTION_TEST_EMULATEDKERNELS_HPP

#include "../UserFunctors.hpp"
#include "WarpEmulation.hpp"

#include <KokkosAttention_BiasGradient.hpp>
#include <KokkosAttention_MmaBackwardEngine.hpp>
#include <KokkosAttention_MmaEngine.hpp>
#include <KokkosAttention_Options.hpp>

#include <Kokkos_Core.hpp>

#include <climits>

/// \file
/// The mma engine's kernels on emulated teams.

namespace Test {

namespace KA = KokkosAttention;

struct Schedule {
  WarpEmulation::Order order = WarpEmulation::Order::in_turns;
  int most_teams             = INT_MAX;
};

/// Compiled for each type in a translation unit of its own.
template <class T>
struct EmulatedKernels {
  using Options = KA::Options<T, Kokkos::HostSpace>;

  static void forward(KA::Impl::ForwardArguments<T> const& arguments, Options const& options,
                      KA::Impl::MmaTile const& tile, Schedule const& schedule);
  static void backward(KA::Impl::MmaBackwardData<T> const& data, Options const& options, Schedule const& schedule);
  /// Through a score function, by kernels in groups.
  static void backward_in_groups(KA::Impl::MmaBackwardData<T> const& data, Options const& options,
                                 Schedule const& schedule, Incline<KA::accumulation_t<T>> const& score);
  static void backward_in_groups(KA::Impl::MmaBackwardData<T> const& data, Options const& options,
                                 Schedule const& schedule, Quadratic<KA::accumulation_t<T>> const& score);
  /// \param arrays of a call with this plan
  static void bias_gradient(KA::Impl::MmaBackwardData<T> const& data, KA::Impl::BiasGradientPlan const& plan,
                            KA::Impl::BackwardArrays<KA::accumulation_t<T>> const& arrays, Options const& options,
                            Schedule const& schedule);
};

}  // namespace Test

#endif
