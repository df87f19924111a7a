// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Backward.hpp"
#include "UserFunctors.hpp"

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#include <array>

/// \file
/// Packed sequences: each is computed as if it were alone.

namespace Test {

/// Rows [begin, end) of dimension `d`; all of a dimension that broadcasts.
template <class View>
auto rows(View const& t, int d, KA::index_t begin, KA::index_t end, bool broadcasts = false) {
  using T          = typename View::non_const_value_type;
  auto const range = broadcasts && t.extent(d) == 1 ? std::pair<KA::index_t, KA::index_t>(0, 1) : std::pair(begin, end);
  auto const all   = std::pair<KA::index_t, KA::index_t>(0, t.extent(5 - d));
  HostTensor<T> const part("part", t.extent(0), t.extent(1), d == 2 ? range.second - range.first : t.extent(2),
                           d == 3 ? range.second - range.first : t.extent(3));
  Kokkos::deep_copy(part, Kokkos::subview(t, Kokkos::ALL, Kokkos::ALL, d == 2 ? range : all, d == 3 ? range : all));
  return part;
}

template <class T>
void poison_rows(HostTensor<T> const& t, KA::index_t begin, KA::index_t end) {
  for_each_index(t.extent(0), t.extent(1), end - begin, t.extent(3),
                 [&](auto b, auto h, auto i, auto d) { t(b, h, begin + i, d) = poison<T>(); });
}

/// Queries and keys of the sequences of a packed problem, and what lies around them.
struct Packing {
  Offsets q, k;
  int q_len, k_len;

  std::size_t sequences() const { return q.size() - 1; }
};

/// Sequences of many lengths (0 among them, and longer than a tile), with room before and after them.
Packing random_packing(Random& random) {
  Packing p{{random.integer(0, 1) * 5}, {random.integer(0, 1) * 3}, 0, 0};
  for (int n = random.integer(1, 6); n > 0; --n) {
    p.q.push_back(p.q.back() + random.pick({0, 1, 7, 40, 130, 200}));
    p.k.push_back(p.k.back() + random.pick({0, 1, 9, 64, 65, 150, 300}));
  }
  p.q_len = p.q.back() + random.integer(0, 1) * 11;
  p.k_len = p.k.back() + random.integer(0, 1) * 70;
  return p;
}

/// Requires the results of a packed problem to be those of its sequences alone, to the bit.
template <class T, class... Functors>
void require_sequences_alone(Random& random, Problem<T> problem, Packing const& packing, Functors const&... functors) {
  auto const d_out = random_d_out(random, problem);
  for (auto const& t : std::array{problem.q, d_out}) {
    poison_rows(t, 0, packing.q.front());
    poison_rows(t, packing.q.back(), packing.q_len);
  }
  for (auto const& t : std::array{problem.k, problem.v}) {
    poison_rows(t, 0, packing.k.front());
    poison_rows(t, packing.k.back(), packing.k_len);
  }
  problem.options.q_offsets = host_offsets(packing.q);
  problem.options.k_offsets = host_offsets(packing.k);
  auto const found          = run_forward(problem, functors...);
  auto const gradients      = run_backward(problem, d_out, functors...);

  bool const bias_by_query = problem.options.bias.extent(2) != 1, bias_by_key = problem.options.bias.extent(3) != 1;
  auto const bias_elements = gradients.bias;  // of which those of sequences are taken away
  for (std::size_t n = 0; n < packing.sequences(); ++n) {
    KA::index_t const q0 = packing.q[n], q1 = packing.q[n + 1], k0 = packing.k[n], k1 = packing.k[n + 1];
    CAPTURE(n, q0, q1, k0, k1);
    auto alone              = problem;
    alone.q                 = rows(problem.q, 2, q0, q1);
    alone.k                 = rows(problem.k, 2, k0, k1);
    alone.v                 = rows(problem.v, 2, k0, k1);
    alone.options.q_offsets = {};
    alone.options.k_offsets = {};
    auto& o                 = alone.options;
    if (o.mask.data() != nullptr) o.mask = rows(rows(o.mask, 2, q0, q1, true), 3, k0, k1, true);
    if (o.bias.data() != nullptr) o.bias = rows(rows(o.bias, 2, q0, q1, true), 3, k0, k1, true);
    auto const expected = run_forward(alone, functors...);
    require_same_bits(rows(found.out, 2, q0, q1), expected.out);
    require_same_bits(rows(found.lse, 2, q0, q1), expected.lse);
    auto const expected_gradients = run_backward(alone, rows(d_out, 2, q0, q1), functors...);
    require_same_bits(rows(gradients.q, 2, q0, q1), expected_gradients.q);
    require_same_bits(rows(gradients.k, 2, k0, k1), expected_gradients.k);
    require_same_bits(rows(gradients.v, 2, k0, k1), expected_gradients.v);
    if (o.bias.data() != nullptr && (bias_by_query || bias_by_key)) {
      require_same_bits(rows(rows(gradients.bias, 2, q0, q1, true), 3, k0, k1, true), expected_gradients.bias);
      for_each_index(bias_elements.extent(0), bias_elements.extent(1), bias_by_query ? q1 - q0 : 1,
                     bias_by_key ? k1 - k0 : 1, [&](auto b, auto h, auto i, auto j) {
                       bias_elements(b, h, bias_by_query ? q0 + i : 0, bias_by_key ? k0 + j : 0) = T(0.f);
                     });
    }
  }
  // Outside of all sequences.
  auto const outside = [](Offsets const& offsets, std::size_t i) {
    return KA::index_t(i) < offsets.front() || KA::index_t(i) >= offsets.back();
  };
  for_each_index(1, problem.heads(), packing.q_len, 1, [&](auto b, auto h, auto i, auto) {
    if (!outside(packing.q, i)) return;
    REQUIRE(double(found.lse(b, h, i, 0)) == -std::numeric_limits<double>::infinity());
    for (int d = 0; d < problem.value_dim(); ++d) REQUIRE(double(found.out(b, h, i, d)) == 0);
    for (int d = 0; d < problem.head_dim(); ++d) REQUIRE(double(gradients.q(b, h, i, d)) == 0);
  });
  for_each_index(1, problem.k.extent(1), packing.k_len, 1, [&](auto b, auto h, auto j, auto) {
    if (!outside(packing.k, j)) return;
    for (int d = 0; d < problem.head_dim(); ++d) REQUIRE(double(gradients.k(b, h, j, d)) == 0);
    for (int d = 0; d < problem.value_dim(); ++d) REQUIRE(double(gradients.v(b, h, j, d)) == 0);
  });
  if (bias_by_query || bias_by_key)
    for (std::size_t e = 0; e < bias_elements.size(); ++e) REQUIRE(double(bias_elements.data()[e]) == 0);
}

TEMPLATE_TEST_CASE("packed sequences are computed as if alone, to the bit", "[packed]", float, double,
                   KokkosAttention::bhalf_t) {
  int const seed = GENERATE(range(400, 412));
  CAPTURE(seed);
  Random random(seed);
  Packing const packing = random_packing(random);
  int const kv_heads    = random.pick({1, 2, 10});
  auto problem = random_problem<TestType>(random, {1, 2 * kv_heads, kv_heads, packing.q_len, packing.k_len, 20, 12});
  auto& o      = problem.options;
  o.causal     = random.chance(0.5);
  if (random.chance(0.5)) o.alignment = KA::Alignment::top_left;
  if (random.chance(0.3)) o.window = {.left = random.integer(-1, 60), .right = random.integer(-1, 60)};
  if (random.chance(0.3)) o.alibi_slopes = slopes<TestType>(2 * kv_heads);
  auto const extent = [&](int full) { return random.chance(0.5) ? full : 1; };
  if (random.chance(0.4))
    o.mask = random.flags(1, extent(2 * kv_heads), extent(packing.q_len), extent(packing.k_len), 0.7);
  if (random.chance(0.6))
    o.bias = random.tensor<TestType>(1, extent(2 * kv_heads), extent(packing.q_len), extent(packing.k_len));
  CAPTURE(o.causal, o.alignment == KA::Alignment::top_left, o.window.left, o.window.right, o.alibi_slopes.size(),
          o.mask.size(), o.bias.extent(1), o.bias.extent(2), o.bias.extent(3));
  require_sequences_alone(random, problem, packing);
}

TEST_CASE("packed sequences of few queries and many keys are computed as if alone, to the bit", "[packed]") {
  Random random(419);
  Packing const packing{{2, 3, 6, 306}, {0, 4096, 9200, 13400}, 310, 13400};
  require_sequences_alone(random, random_problem<float>(random, {1, 2, 1, packing.q_len, packing.k_len, 8, 12}),
                          packing);
}

TEST_CASE("packed sequences, some much longer than others, are computed as if alone, to the bit", "[packed]") {
  Random random(423);
  Packing const packing{{3, 43, 643, 713, 1263}, {0, 64, 584, 1284, 1348}, 1270, 1350};
  auto problem           = random_problem<KA::bhalf_t>(random, {1, 2, 1, packing.q_len, packing.k_len, 40, 24});
  problem.options.causal = true;
  require_sequences_alone(random, problem, packing);
}

TEST_CASE("sequences of one length, packed, are a batch, dropout and all", "[packed]") {
  Random random(420);
  Problem<float> batch = random_problem<float>(random, {3, 2, 2, 50, 70, 16, 8}), packed = batch;
  auto const d_out = random_d_out(random, batch);
  batch.options    = {.causal = true, .dropout = {.probability = 0.4, .seed = 8, .offset = 1}};
  auto const pack  = [](auto const& t) {
    HostTensor<float> const result("packed", 1, t.extent(1), t.extent(0) * t.extent(2), t.extent(3));
    for_each_index(t.extent(0), t.extent(1), t.extent(2), t.extent(3),
                    [&](auto b, auto h, auto i, auto d) { result(0, h, b * t.extent(2) + i, d) = t(b, h, i, d); });
    return result;
  };
  packed.q                 = pack(batch.q);
  packed.k                 = pack(batch.k);
  packed.v                 = pack(batch.v);
  packed.options           = batch.options;
  packed.options.q_offsets = host_offsets({0, 50, 100, 150});
  packed.options.k_offsets = host_offsets({0, 70, 140, 210});
  auto const a = run_forward(batch), b = run_forward(packed);
  require_same_bits(pack(a.out), b.out);
  require_same_bits(pack(a.lse), b.lse);
  auto const da = run_backward(batch, d_out), db = run_backward(packed, pack(d_out));
  require_same_bits(pack(da.q), db.q);
  require_same_bits(pack(da.k), db.k);
  require_same_bits(pack(da.v), db.v);
}

TEST_CASE("the gradient of a bias of one number a head, over packed sequences", "[packed]") {
  // Through a score function whose derivative differs from 1: else a constant changes nothing.
  Random random(421);
  auto problem         = random_problem<double>(random, {1, 2, 2, 60, 70, 8, 8});
  problem.options.bias = random.tensor<double>(1, 2, 1, 1);
  auto const d_out     = random_d_out(random, problem);
  auto const mask      = HostTensor<bool>("mask", 1, 1, 60, 70);
  for_each_index(1, 1, 60, 70, [&](auto b, auto h, auto i, auto j) { mask(b, h, i, j) = (i < 25) == (j < 40); });
  auto whole               = problem;
  whole.options.mask       = mask;
  auto packed              = problem;
  packed.options.q_offsets = host_offsets({0, 25, 60});
  packed.options.k_offsets = host_offsets({0, 40, 70});
  auto const a = run_backward(whole, d_out, Quadratic<double>()), b = run_backward(packed, d_out, Quadratic<double>());
  for (int h = 0; h < 2; ++h) {
    REQUIRE(std::abs(a.bias(0, h, 0, 0)) > 1e-3);
    REQUIRE(std::abs(a.bias(0, h, 0, 0) - b.bias(0, h, 0, 0)) < 1e-12);
  }
}

TEST_CASE("offsets that lie wrongly where the host cannot see them do no harm", "[packed]") {
  // Past the checks: what a kernel does with offsets in device memory. The arrays have gaps, which stay as they were.
  Random random(422);
  auto problem = random_problem<float>(random, {1, 2, 2, 100, 120, 8, 8});
  auto const [q_offsets, k_offsets] =
      GENERATE(std::pair(Offsets{0, 1000, 5000}, Offsets{0, 1000, 5000}),
               std::pair(Offsets{-70, 30, 90}, Offsets{-9000, 20, 110}),
               std::pair(Offsets{90, 30, 60}, Offsets{110, 50, 7}), std::pair(Offsets{50, 100, 0}, Offsets{0, 0, -1}));
  using Layout = Kokkos::LayoutStride;
  auto const q = to_device<Layout>(problem.q), k = to_device<Layout>(problem.k), v = to_device<Layout>(problem.v),
             d_out = to_device<Layout>(random_d_out(random, problem));
  auto const out = poisoned<float, Layout>(1, 2, 100, 8), lse = poisoned<float, Layout>(1, 2, 100, 1);
  auto const dq = poisoned<float, Layout>(1, 2, 100, 8), dk = poisoned<float, Layout>(1, 2, 120, 8),
             dv = poisoned<float, Layout>(1, 2, 120, 8), bias = poisoned<float, Layout>(1, 1, 100, 120),
             dbias = poisoned<float, Layout>(1, 1, 100, 120);
  KA::Options<float, MemorySpace> options{.bias      = bias,
                                          .q_offsets = vector_to_device(host_offsets(q_offsets)),
                                          .k_offsets = vector_to_device(host_offsets(k_offsets))};
  auto const lse3 = Kokkos::subview(lse, Kokkos::ALL, Kokkos::ALL, Kokkos::ALL, 0);
  KA::Impl::portable_forward(Space(), KA::Impl::make_forward_arguments(q, k, v, out, lse3, options),
                             KA::Impl::make_scores(options), KA::Impl::make_mask(options), {});
  auto const arguments =
      KA::Impl::make_backward_arguments(d_out, q, k, v, out, lse3, {.q = dq, .k = dk, .v = dv, .bias = dbias}, options);
  Kokkos::View<std::byte*, MemorySpace> const workspace("workspace",
                                                        KA::Impl::portable_backward_workspace<Space>(arguments));
  KA::Impl::portable_backward(Space(), arguments, KA::Impl::make_scores(options), KA::Impl::make_mask(options), {},
                              workspace.data());
  Kokkos::fence();
  auto const require_gaps = [](auto const& view) {
    std::vector<bool> element(view.span());
    for_each_index(view.extent(0), view.extent(1), view.extent(2), view.extent(3),
                   [&](auto... n) { element[offset(view, n...)] = true; });
    auto const memory = memory_of(view);
    for (std::size_t e = 0; e < memory.size(); ++e) REQUIRE((element[e] || is_nan(memory(e))));
  };
  for (auto const& view : std::array{out, lse, dq, dk, dv, dbias}) require_gaps(view);
}

/// Tiles of all sequences, and of what lies beside them, have slots of their own, in the order of their rows.
TEST_CASE("slots of packed sequences' tiles", "[packed]") {
  Offsets const offsets = GENERATE(Offsets{0, 5, 5, 40, 41, 100}, Offsets{7, 30, 64, 96}, Offsets{0, 100});
  int const rows        = GENERATE(1, 16, 64);
  CAPTURE(offsets, rows);
  KA::Impl::AttentionArguments<float> arguments{};
  arguments.q_len = arguments.k_len = 100;
  arguments.packed_sequences        = static_cast<int>(offsets.size()) - 1;
  arguments.q_offsets = arguments.k_offsets = {offsets.data(), 1};
  for (KA::Impl::Side const side : {KA::Impl::Side::queries, KA::Impl::Side::keys}) {
    KA::index_t covered = 0;
    for (KA::index_t slot = 0; slot < KA::Impl::tile_slots(arguments, side, rows); ++slot) {
      auto const [sequence, begin, end] = KA::Impl::rows_of_slot(arguments, side, rows, 0, slot);
      if (begin >= end) continue;
      covered += end - begin;
      REQUIRE(KA::Impl::slot_of_rows(arguments, side, rows, sequence, begin) == slot);
      REQUIRE(KA::Impl::slot_of_rows(arguments, side, rows, sequence, end - 1) == slot);
    }
    REQUIRE(covered == 100);
  }
}

}  // namespace Test
