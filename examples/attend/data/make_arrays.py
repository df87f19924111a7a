# SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Makes the arrays in this folder: grouped heads, q_len != k_len, odd sizes."""

import numpy

random = numpy.random.default_rng(1)
batch, heads, kv_heads, q_len, k_len, head_dim, value_dim = 2, 4, 2, 33, 47, 24, 17


def save(name, array):
    numpy.save(name + ".npy", array)


save("q", random.standard_normal((batch, heads, q_len, head_dim), numpy.float32))
save("k", random.standard_normal((batch, kv_heads, k_len, head_dim), numpy.float32))
save("v", random.standard_normal((batch, kv_heads, k_len, value_dim), numpy.float32))
save("bias", random.standard_normal((heads, q_len, k_len), numpy.float32))
save("mask", random.random((q_len, k_len)) < 0.8)
