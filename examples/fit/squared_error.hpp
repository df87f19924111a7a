// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef FIT_SQUAREDERROR_HPP
#define FIT_SQUAREDERROR_HPP

#include "tensor.hpp"

/// The mean squared difference of two tensors.
double mean_squared_error(Columns const& out, Columns const& targets);

/// The gradient, with respect to the output, of the loss: the squared error summed over rows and averaged over columns.
/// The sum, not the mean, so that a good learning rate does not depend on how many rows there are.
Tensor loss_gradient(Tensor const& out, Columns const& targets);

#endif
