// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "picture.hpp"

#include <stb_image_write.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <vector>

namespace {

constexpr int cell   = 4;  // pixels across a weight
constexpr int margin = 3;  // cells between the maps and around them

using Colour = std::array<unsigned char, 3>;

constexpr Colour background{60, 60, 60}, mark{230, 60, 60};

/// Black, red, yellow, white for 0 ... 1, as of a body that grows hot.
Colour heat(double weight) {
  auto const level = [&](double begin) {
    return static_cast<unsigned char>(255. * std::clamp(3. * weight - begin, 0., 1.));
  };
  return {level(0.), level(1.), level(2.)};
}

class Picture {
  int m_rows, m_columns;
  std::vector<Colour> m_pixels;

 public:
  Picture(int rows, int columns)
      : m_rows(rows), m_columns(columns), m_pixels(rows * columns * cell * cell, background) {}

  void fill_cell(int row, int column, Colour const& colour) {
    for (int y = row * cell; y < (row + 1) * cell; ++y)
      std::fill_n(m_pixels.begin() + y * m_columns * cell + column * cell, cell, colour);
  }

  bool save(std::string const& path) const {
    return stbi_write_png(path.c_str(), m_columns * cell, m_rows * cell, 3, m_pixels.data(), 0);
  }
};

}  // namespace

void save_weights(std::string const& path, Tensor const& learned, Problem const& problem) {
  auto const weights  = on_host(learned);
  int const positions = problem.positions(), sensors = problem.sensors();
  double largest = 0.;
  for (int i = 0; i < positions; ++i)
    for (int j = 0; j < sensors; ++j) largest = std::max(largest, problem.weight(i, j));

  int const left = margin, right = left + sensors + margin;
  Picture picture(margin + positions + 2 * margin, right + sensors + margin);
  for (int j = 0; j < sensors; ++j) {
    for (int i = 0; i < positions; ++i) {
      picture.fill_cell(margin + i, left + j, heat(weights(0, 0, i, j) / largest));
      picture.fill_cell(margin + i, right + j, heat(problem.weight(i, j) / largest));
    }
    if (!problem.is_broken(j)) continue;
    for (int map : {left, right}) picture.fill_cell(margin + positions + 1, map + j, mark);
  }
  if (!picture.save(path)) throw std::runtime_error("cannot write the picture " + path);
}
