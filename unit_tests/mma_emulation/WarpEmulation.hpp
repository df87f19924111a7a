// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_TEST_WARPEMULATION_HPP
#define KOKKOSATTENTION_TEST_WARPEMULATION_HPP

#include <array>
#include <cstddef>
#include <functional>
#include <stdexcept>
#include <type_traits>
#include <vector>

/// \file
/// Teams of warps on the host: every lane is a fiber, all are on one thread. A lane runs until it waits for others, so
/// that lanes and warps are as far apart as a GPU allows; what must not be read yet is NaN.

namespace WarpEmulation {

inline constexpr int warp_size = 32;

/// What a kernel must not do, and a GPU does not tell of.
struct Violation : std::logic_error {
  using std::logic_error::logic_error;
};

/// Which warp runs when one waits: the next one, or the first or last one that can.
enum class Order { in_turns, first_ahead, last_ahead };

struct MemoryRange {
  std::byte const *begin, *end;
};

struct League {
  int size, warps;
  std::size_t scratch_bytes;
  Order order                       = Order::in_turns;
  std::vector<MemoryRange> readable = {};  // global memory that may be copied from
};

class Team;

/// What kernels take for Kokkos' team member; each lane has its own.
class Member {
  friend class Team;

  Team& m_team;
  int m_warp;
  mutable std::size_t m_taken = 0;  // bytes of scratch

 public:
  Member(Team& team, int warp) : m_team(team), m_warp(warp) {}

  int team_rank() const { return m_warp; }
  int team_size() const;
  int league_rank() const;
  int league_size() const;
  void team_barrier() const;
  Member const& team_scratch(int level) const;
  void* get_shmem_aligned(std::size_t bytes, std::size_t alignment) const;
};

/// Runs the league's teams one after the other. \throw Violation
void run(League const& league, std::function<void(Member const&)> const& kernel);

/// The number of the running lane in its warp.
int lane();

/// Waits until all lanes of the warp have come here; the last one computes.
/// \param arguments the lane's; those of all are given to `compute`
void meet(char const* operation, void* arguments, std::size_t bytes, void (*compute)(void* const* arguments));

/// The same for arguments of a type. `Compute` has no state.
template <class Arguments, class Compute>
void collective(char const* operation, Arguments& arguments, Compute const&) {
  meet(operation, &arguments, sizeof(Arguments), [](void* const* of_lanes) {
    std::array<Arguments*, warp_size> lanes;
    for (int l = 0; l < warp_size; ++l) lanes[l] = static_cast<Arguments*>(of_lanes[l]);
    Compute()(lanes);
  });
}

/// Waits until all lanes of so many warps have come to the barrier of a number; 0 is the team's.
void barrier_of_warps(char const* name, int number, int warps);

/// Begins to copy into scratch, or to write zeros.
void begin_copy(void* to, void const* from, int bytes, bool filled);
/// The running lane's copies arrive.
void finish_copies();

/// Requires a place to be on a multiple of some bytes.
void require_aligned(void const* place, std::size_t bytes, char const* what);
/// Requires a place to be in the scratch that the team has taken, and aligned to its size.
void require_in_scratch(void const* place, std::size_t bytes, char const* what);

/// A number that the running lane waits for; as teams run one after the other, it must be above the limit already.
void require_more(unsigned found, unsigned limit);

}  // namespace WarpEmulation

#endif
