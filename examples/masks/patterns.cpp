// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "patterns.hpp"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <numeric>
#include <random>
#include <stdexcept>
#include <vector>

DocumentMask random_documents(int length, int documents, std::uint64_t seed) {
  if (documents > length) throw std::invalid_argument("there are more documents than positions");
  using index_t = DocumentMask::index_t;
  std::vector<index_t> later_positions(length - 1), begins{0};
  std::iota(later_positions.begin(), later_positions.end(), 1);
  std::ranges::sample(later_positions, std::back_inserter(begins), documents - 1, std::mt19937_64(seed));
  begins.push_back(length);

  Kokkos::View<int*> const document("document of each position", length);
  Kokkos::View<index_t*> const begin("first position of each document", documents + 1);
  auto const document_on_host = Kokkos::create_mirror_view(document);
  auto const begin_on_host    = Kokkos::create_mirror_view(begin);
  for (int d = 0; d < documents; ++d)
    for (index_t i = begins[d]; i < begins[d + 1]; ++i) document_on_host(i) = d;
  for (int d = 0; d <= documents; ++d) begin_on_host(d) = begins[d];
  Kokkos::deep_copy(document, document_on_host);
  Kokkos::deep_copy(begin, begin_on_host);
  return {document, begin};
}

Kokkos::View<bool**> banded_and_strided(int blocks, int stride) {
  Kokkos::View<bool**> const flags("block flags", blocks, blocks);
  auto const on_host = Kokkos::create_mirror_view(flags);
  for (int i = 0; i < blocks; ++i)
    for (int j = 0; j < blocks; ++j) on_host(i, j) = std::abs(i - j) <= 1 || j % stride == 0;
  Kokkos::deep_copy(flags, on_host);
  return flags;
}
