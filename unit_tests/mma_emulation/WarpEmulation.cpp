// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "WarpEmulation.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <sstream>
#include <string>

#include <ucontext.h>

namespace WarpEmulation {

namespace {

constexpr std::size_t stack_bytes = std::size_t(1) << 20, guard_bytes = 8192;
constexpr unsigned char untouched = 0xff;  // numbers of such bytes are NaN

std::size_t address(void const* place) { return reinterpret_cast<std::uintptr_t>(place); }

/// Memory is committed where it is used, and used again by the next team.
std::byte* stack(std::size_t n) {
  static std::vector<std::unique_ptr<std::byte[]>> stacks;
  while (stacks.size() <= n) stacks.push_back(std::make_unique_for_overwrite<std::byte[]>(stack_bytes));
  return stacks[n].get();
}

struct Copy {
  std::byte* to;
  void const* from;
  int bytes;
  bool filled;
};

struct Lane {
  int warp, number;
  Member member;
  ucontext_t context       = {};
  char const* place        = "the beginning";  // what it waits for, or last waited for
  std::vector<Copy> copies = {};               // that have not arrived
};

struct Warp {
  std::uint32_t ready   = ~std::uint32_t(0);
  int waiting           = 0;  // lanes that have come to the collective
  char const* operation = nullptr;
  std::size_t bytes     = 0;
  void* arguments[warp_size];
};

/// Lanes that have come to a barrier.
struct Meeting {
  int lanes           = 0;
  std::uint32_t warps = 0;
};

}  // namespace

class Team {
  League const& m_league;
  int m_rank;
  std::function<void(Member const&)> const& m_kernel;
  std::vector<Lane> m_lanes;
  std::vector<Warp> m_warps;
  Lane* m_running = nullptr;
  int m_turn = 0, m_finished = 0;
  std::array<Meeting, 16> m_meetings = {};  // at a device's barriers
  ucontext_t m_main                  = {};
  std::exception_ptr m_error;

  std::vector<std::byte> m_memory;
  std::byte *m_scratch, *m_taken_begin = nullptr, *m_taken_end = nullptr;
  std::vector<bool> m_in_flight;  // words of scratch that are being copied to

 public:
  static inline Team* running = nullptr;

  Team(League const& league, int rank, std::function<void(Member const&)> const& kernel)
      : m_league(league),
        m_rank(rank),
        m_kernel(kernel),
        m_warps(league.warps),
        m_memory(2 * guard_bytes + league.scratch_bytes, std::byte(untouched)),
        m_in_flight(league.scratch_bytes / 4 + 1) {
    // As on a device, no more than 16 bytes are promised.
    m_scratch = m_memory.data() + guard_bytes / 2;
    m_scratch += 128 - address(m_scratch) % 128 + 16;
    m_lanes.reserve(league.warps * warp_size);
    for (int w = 0; w < league.warps; ++w)
      for (int l = 0; l < warp_size; ++l) m_lanes.push_back({w, l, Member(*this, w)});
  }

  League const& league() const { return m_league; }
  int rank() const { return m_rank; }
  int lane() const { return m_running->number; }

  void run() {
    running = this;
    for (std::size_t n = 0; n < m_lanes.size(); ++n) prepare(m_lanes[n].context, stack(n));
    m_running = next();
    swapcontext(&m_main, &m_running->context);
    running = nullptr;
    if (m_error) std::rethrow_exception(m_error);
    auto const is_written = [](std::byte b) { return b != std::byte(untouched); };
    if (std::any_of(m_memory.data(), m_taken_begin ? m_taken_begin : m_scratch, is_written) ||
        std::any_of(m_taken_end ? m_taken_end : m_scratch, m_memory.data() + m_memory.size(), is_written))
      throw Violation("something was written beside the scratch that was taken");
  }

  void meet(char const* operation, void* arguments, std::size_t bytes, void (*compute)(void* const*)) {
    Lane const& lane = *m_running;
    Warp& warp       = m_warps[lane.warp];
    m_running->place = operation;
    if (warp.waiting > 0 && (warp.bytes != bytes || std::strcmp(warp.operation, operation) != 0))
      fail(std::string("lanes of a warp diverge: other ones are in ") + warp.operation);
    warp.operation              = operation;
    warp.bytes                  = bytes;
    warp.arguments[lane.number] = arguments;
    if (++warp.waiting < warp_size) return leave();
    warp.waiting = 0;
    compute(warp.arguments);
    warp.ready = ~(std::uint32_t(1) << lane.number);  // the last lane goes on by itself
  }

  void barrier(char const* name, int number, int warps) {
    m_running->place = name;
    Meeting& meeting = m_meetings.at(number);
    meeting.warps |= std::uint32_t(1) << m_running->warp;
    if (++meeting.lanes == warps * warp_size) {
      for (std::size_t w = 0; w < m_warps.size(); ++w)
        if (meeting.warps >> w & 1u) m_warps[w].ready = ~std::uint32_t(0);
      meeting = {};
    }
    leave();
  }

  void begin_copy(void* to, void const* from, int bytes, bool filled) {
    require_in_scratch(to, bytes, "a copy's target");
    if (address(from) % bytes != 0) fail("a copy's source is not aligned");
    auto const* const source = static_cast<std::byte const*>(from);
    auto const has_source    = [&](MemoryRange r) { return source >= r.begin && source + bytes <= r.end; };
    if (filled && std::none_of(m_league.readable.begin(), m_league.readable.end(), has_source))
      fail("a copy's source is in none of the arrays");
    auto* const target = static_cast<std::byte*>(to);
    for (int n = 0; n < bytes; n += 4) {
      if (m_in_flight[(target + n - m_scratch) / 4]) fail("two copies to one place are under way");
      m_in_flight[(target + n - m_scratch) / 4] = true;
    }
    std::memset(to, untouched, bytes);
    m_running->copies.push_back({target, from, bytes, filled});
  }

  void finish_copies() {
    for (Copy const& c : m_running->copies) {
      if (c.filled)
        std::memcpy(c.to, c.from, c.bytes);
      else
        std::memset(c.to, 0, c.bytes);
      for (int n = 0; n < c.bytes; n += 4) m_in_flight[(c.to + n - m_scratch) / 4] = false;
    }
    m_running->copies.clear();
  }

  void require_aligned(void const* place, std::size_t bytes, char const* what) const {
    if (address(place) % bytes != 0) fail(std::string(what) + " is not aligned");
  }
  void require_in_scratch(void const* place, std::size_t bytes, char const* what) const {
    auto const* const begin = static_cast<std::byte const*>(place);
    require_aligned(place, bytes, what);
    if (begin < m_taken_begin || begin + bytes > m_taken_end)
      fail(std::string(what) + " is not in the scratch that was taken");
  }

  void* take(std::size_t& taken, std::size_t bytes, std::size_t alignment) {
    std::byte* const from  = m_scratch + taken;
    std::byte* const begin = from + (alignment - address(from) % alignment) % alignment;
    if (begin + bytes > m_scratch + m_league.scratch_bytes) fail("more scratch is taken than was asked for");
    taken         = begin + bytes - m_scratch;
    m_taken_begin = m_taken_begin ? std::min(m_taken_begin, begin) : begin;
    m_taken_end   = std::max(m_taken_end, begin + bytes);
    return begin;
  }

  [[noreturn]] void fail(std::string const& what) const {
    std::ostringstream text;
    text << what << " (team " << m_rank << ", warp " << m_running->warp << ", lane " << m_running->number << ", in "
         << m_running->place << ")";
    throw Violation(text.str());
  }

 private:
  /// Not inlined, as getcontext could return twice for all that GCC knows, and variables would not be safe.
  [[gnu::noinline]] static void prepare(ucontext_t& context, std::byte* stack) {
    getcontext(&context);
    context.uc_stack.ss_sp   = stack;
    context.uc_stack.ss_size = stack_bytes;
    makecontext(&context, &Team::enter, 0);
  }

  static void enter() {
    Team& team = *running;
    Lane& lane = *team.m_running;
    try {
      team.m_kernel(lane.member);
      lane.place = "the end";
      if (++team.m_finished < int(team.m_lanes.size())) team.leave();
    } catch (...) {
      team.m_error = std::current_exception();
    }
    setcontext(&team.m_main);
  }

  /// To another lane, until this one is ready again.
  void leave() {
    Lane& from = *m_running;
    Lane& to   = *next();
    m_running  = &to;
    if (&to != &from) swapcontext(&from.context, &to.context);
  }

  Lane* next() {
    int const warps = m_league.warps;
    for (int n = 0; n < warps; ++n) {
      int const w = m_league.order == Order::in_turns      ? (m_turn + n) % warps
                    : m_league.order == Order::first_ahead ? n
                                                           : warps - 1 - n;
      auto& ready = m_warps[w].ready;
      if (ready == 0) continue;
      int const lane = std::countr_zero(ready);
      ready &= ready - 1;
      m_turn = ready != 0 ? w : w + 1;
      return &m_lanes[w * warp_size + lane];
    }
    fail("lanes wait for different things: " + places());
  }

  std::string places() const {
    std::ostringstream text;
    for (int w = 0; w < m_league.warps; ++w) {
      std::map<std::string, std::uint32_t> lanes;
      for (int l = 0; l < warp_size; ++l) lanes[m_lanes[w * warp_size + l].place] |= std::uint32_t(1) << l;
      text << "warp " << w << ":";
      for (auto const& [place, bits] : lanes)
        text << " lanes " << std::hex << bits << std::dec << " in " << place << ";";
    }
    return text.str();
  }
};

void run(League const& league, std::function<void(Member const&)> const& kernel) {
  for (int n = 0; n < league.size; ++n) Team(league, n, kernel).run();
}

int Member::team_size() const { return m_team.league().warps; }
int Member::league_rank() const { return m_team.rank(); }
int Member::league_size() const { return m_team.league().size; }
void Member::team_barrier() const { m_team.barrier("team_barrier", 0, team_size()); }
Member const& Member::team_scratch(int level) const {
  if (level != 0) m_team.fail("there is scratch of level 0 only");
  return *this;
}
void* Member::get_shmem_aligned(std::size_t bytes, std::size_t alignment) const {
  return m_team.take(m_taken, bytes, alignment);
}

int lane() { return Team::running->lane(); }
void meet(char const* operation, void* arguments, std::size_t bytes, void (*compute)(void* const*)) {
  Team::running->meet(operation, arguments, bytes, compute);
}
void begin_copy(void* to, void const* from, int bytes, bool filled) {
  Team::running->begin_copy(to, from, bytes, filled);
}
void finish_copies() { Team::running->finish_copies(); }
void barrier_of_warps(char const* name, int number, int warps) { Team::running->barrier(name, number, warps); }
void require_aligned(void const* place, std::size_t bytes, char const* what) {
  Team::running->require_aligned(place, bytes, what);
}
void require_in_scratch(void const* place, std::size_t bytes, char const* what) {
  Team::running->require_in_scratch(place, bytes, what);
}
void require_more(unsigned found, unsigned limit) {
  if (found <= limit)
    Team::running->fail("a team waits for a later one: for more than " + std::to_string(limit) + ", there is " +
                        std::to_string(found));
}

}  // namespace WarpEmulation
