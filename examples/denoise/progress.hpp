// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef DENOISE_PROGRESS_HPP
#define DENOISE_PROGRESS_HPP

#include <Kokkos_Timer.hpp>

/// How far the work is and how long the rest will take: one line that is rewritten on a terminal, else a plain line
/// every tenth of the work.
class Progress {
  bool m_is_terminal;
  int m_tenths = 0;
  Kokkos::Timer m_timer;

 public:
  Progress();
  /// \param done the part of the work that is done, 0 ... 1
  void report(double done);
};

#endif
