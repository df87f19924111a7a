// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTEND_NPY_HPP
#define ATTEND_NPY_HPP

#include <cstddef>
#include <string>
#include <vector>

/// \file
/// NumPy's files of one array (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).

enum class NpyType { float16, float32, float64, boolean };

char const* name(NpyType type);
std::size_t size_of(NpyType type);

/// An array in C order (the last index runs fastest), little-endian.
struct NpyArray {
  NpyType type;
  std::vector<std::size_t> shape;
  std::vector<std::byte> data;
};

/// Reads an array; one in Fortran order is brought into C order.
/// \throws std::runtime_error, with the file's name, for a file that is no such array or holds another type
NpyArray load_npy(std::string const& path);

/// \throws std::runtime_error, with the file's name, if it cannot be written
void save_npy(std::string const& path, NpyArray const& array);

#endif
