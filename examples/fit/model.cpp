// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "model.hpp"

#include "squared_error.hpp"

Model::Model(int positions, int sensors, int head_dim, double dropout, std::mt19937_64& random)
    : m_attention({.dropout = dropout, .seed = random()}),
      m_q(make_parameter("q", positions, head_dim, random)),
      m_k(make_parameter("k", sensors, head_dim, random)),
      m_bias(make_parameter("bias", 1, sensors, random)) {}

void Model::train(Fields const& fields, Descent const& descent) {
  auto const call = m_attention.train().record(m_q.value, m_k.value, fields.readings, {}, m_bias.value);
  KokkosAttention::backward(loss_gradient(call.out, fields.targets), call,
                            {.q = m_q.gradient, .k = m_k.gradient, .bias = m_bias.gradient});
  for (Parameter const& parameter : {m_q, m_k}) descend(parameter, descent);
  // The gradient of a bias is a sum over all positions: at the full rate it overshoots at first, and so silences some
  // sensors that work.
  descend(m_bias, {.rate = 0.1 * descent.rate, .momentum = descent.momentum});
}

Tensor Model::predict(Columns const& readings) {
  return m_attention.eval()(m_q.value, m_k.value, readings, {}, m_bias.value);
}

double Model::error(Fields const& fields) { return mean_squared_error(predict(fields.readings), fields.targets); }
