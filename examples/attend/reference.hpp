// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTEND_REFERENCE_HPP
#define ATTEND_REFERENCE_HPP

#include "settings.hpp"
#include "tensors.hpp"

#include <Kokkos_Core.hpp>

/// Arrays of a call, on the host in double; mask and bias may be empty.
struct ReferenceInput {
  using DoubleTensor = Tensor<double, Kokkos::HostSpace>;
  DoubleTensor q, k, v, bias;
  Tensor<bool, Kokkos::HostSpace> mask;
};

struct ReferenceOutput {
  Tensor<double, Kokkos::HostSpace> out;
  Kokkos::View<double***, Kokkos::LayoutRight, Kokkos::HostSpace> lse;
};

/// Attention by its definition, row by row, in double.
ReferenceOutput reference_attention(ReferenceInput const& input, Settings const& settings);

#endif
