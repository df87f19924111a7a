// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "progress.hpp"

#include <cstdio>

#include <unistd.h>

Progress::Progress() : m_is_terminal(isatty(fileno(stdout))) {}

void Progress::report(double done) {
  int const tenths = static_cast<int>(done * 10.);
  if (!m_is_terminal && tenths == m_tenths) return;
  m_tenths                  = tenths;
  double const seconds_left = m_timer.seconds() * (1. - done) / done;
  char const* const erase   = "\r\033[K";
  char const* const begin   = m_is_terminal ? erase : "";
  char const* const end     = m_is_terminal ? "" : "\n";
  if (done < 1.)
    std::printf("%s%3.0f %%, %.0f s left%s", begin, 100. * done, seconds_left, end);
  else if (m_is_terminal)
    std::printf("%s", erase);
  std::fflush(stdout);
}
