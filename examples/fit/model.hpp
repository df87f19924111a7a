// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef FIT_MODEL_HPP
#define FIT_MODEL_HPP

#include "parameter.hpp"
#include "problem.hpp"
#include "tensor.hpp"

#include <KokkosAttention.hpp>

#include <random>

/// Attention whose queries (a row a position), keys (a row a sensor) and bias (a number a sensor) are learned. Its
/// values are what the sensors read.
class Model {
  KokkosAttention::FlashAttention m_attention;
  Parameter m_q, m_k, m_bias;

 public:
  Model(int positions, int sensors, int head_dim, double dropout, std::mt19937_64& random);

  /// One step of gradient descent.
  void train(Fields const& fields, Descent const& descent);

  /// What it predicts from readings, without dropout.
  Tensor predict(Columns const& readings);

  /// Its mean squared error, without dropout.
  double error(Fields const& fields);
};

#endif
