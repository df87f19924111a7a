// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Views.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>

#include <stdexcept>

/// \file
/// Wrong arguments throw before anything is written; the message names function, argument, expected and found.

namespace Test {

using Catch::Matchers::Message;

using View = DeviceTensor<float, Kokkos::LayoutRight>;

struct Call {
  View q{"q", 2, 4, 10, 8}, k{"k", 2, 2, 12, 8}, v{"v", 2, 2, 12, 6}, out{"out", 2, 4, 10, 6};
  Kokkos::View<float***, MemorySpace> lse{"lse", 2, 4, 10};
  KA::Options<float, MemorySpace> options;

  void operator()() const { KA::forward(Space(), q, k, v, out, lse, options); }
};

/// Runs a call that must fail with this message, and looks whether anything was written.
void require_refused(Call const& call, std::string const& message) {
  Kokkos::deep_copy(call.out, 7.f);
  Kokkos::deep_copy(call.lse, 7.f);
  REQUIRE_THROWS_MATCHES(call(), std::invalid_argument, Message("KokkosAttention::forward: " + message));
  Kokkos::fence();
  auto const out = memory_of(call.out);
  for (std::size_t e = 0; e < out.size(); ++e) REQUIRE(out(e) == 7.f);
  auto const lse = memory_of(call.lse);
  for (std::size_t e = 0; e < lse.size(); ++e) REQUIRE(lse(e) == 7.f);
}

TEST_CASE("a right call is accepted", "[checks]") {
  Call const call;
  REQUIRE_NOTHROW(call());
}

TEST_CASE("extents that do not agree", "[checks]") {
  Call call;
  SECTION("batch of k") {
    call.k = View("k", 3, 2, 12, 8);
    require_refused(call, "k: expected extent(0) = 2 (batch of q), found 3");
  }
  SECTION("head_dim of k") {
    call.k = View("k", 2, 2, 12, 9);
    require_refused(call, "k: expected extent(3) = 8 (head_dim of q), found 9");
  }
  SECTION("heads of k") {
    call.k = View("k", 2, 3, 12, 8);
    require_refused(call, "k: expected a number of heads that divides the 4 heads of q, found 3");
  }
  SECTION("no heads of k") {
    call.k = View("k", 2, 0, 12, 8);
    require_refused(call, "k: expected a number of heads that divides the 4 heads of q, found 0");
  }
  SECTION("batch of v") {
    call.v = View("v", 1, 2, 12, 6);
    require_refused(call, "v: expected extent(0) = 2 (batch of q), found 1");
  }
  SECTION("heads of v") {
    call.v = View("v", 2, 4, 12, 6);
    require_refused(call, "v: expected extent(1) = 2 (heads of k), found 4");
  }
  SECTION("k_len of v") {
    call.v = View("v", 2, 2, 11, 6);
    require_refused(call, "v: expected extent(2) = 12 (k_len, extent(2) of k), found 11");
  }
  SECTION("batch of out") {
    call.out = View("out", 1, 4, 10, 6);
    require_refused(call, "out: expected extent(0) = 2 (batch of q), found 1");
  }
  SECTION("heads of out") {
    call.out = View("out", 2, 2, 10, 6);
    require_refused(call, "out: expected extent(1) = 4 (heads of q), found 2");
  }
  SECTION("q_len of out") {
    call.out = View("out", 2, 4, 12, 6);
    require_refused(call, "out: expected extent(2) = 10 (q_len, extent(2) of q), found 12");
  }
  SECTION("value_dim of out") {
    call.out = View("out", 2, 4, 10, 8);
    require_refused(call, "out: expected extent(3) = 6 (value_dim, extent(3) of v), found 8");
  }
  SECTION("head_dim beyond any tile") {
    call.q = View("q", 1, 1, 1, 65537);
    require_refused(call, "q: expected head_dim of at most 65536, found 65537");
  }
  SECTION("value_dim beyond any tile") {
    call.v = View("v", 1, 1, 1, 65537);
    require_refused(call, "v: expected value_dim of at most 65536, found 65537");
  }
  SECTION("head_dim of 0") {
    call.q = View("q", 2, 4, 10, 0);
    require_refused(call, "q: expected head_dim of at least 1, found 0");
  }
  SECTION("value_dim of 0") {
    call.v = View("v", 2, 2, 12, 0);
    require_refused(call, "v: expected value_dim of at least 1, found 0");
  }
  SECTION("lse") {
    call.lse = Kokkos::View<float***, MemorySpace>("lse", 2, 4, 11);
    require_refused(call, "lse: expected extent(2) = 10 (q_len, extent(2) of q), found 11");
    call.lse = Kokkos::View<float***, MemorySpace>("lse", 2, 3, 10);
    require_refused(call, "lse: expected extent(1) = 4 (heads of q), found 3");
    call.lse = Kokkos::View<float***, MemorySpace>("lse", 1, 4, 10);
    require_refused(call, "lse: expected extent(0) = 2 (batch of q), found 1");
  }
}

struct BackwardCall : Call {
  View d_out{"d_out", 2, 4, 10, 6}, bias{"bias", 1, 4, 1, 12};
  View dq{"dq", 2, 4, 10, 8}, dk{"dk", 2, 2, 12, 8}, dv{"dv", 2, 2, 12, 6}, dbias{"dbias", 1, 4, 1, 12};

  BackwardCall() { options.bias = bias; }

  void operator()() const {
    KA::backward(Space(), d_out, q, k, v, out, lse, {.q = dq, .k = dk, .v = dv, .bias = dbias}, options);
  }
};

void require_refused(BackwardCall const& call, std::string const& message) {
  for (View const& view : {call.dq, call.dk, call.dv, call.dbias}) Kokkos::deep_copy(view, 7.f);
  REQUIRE_THROWS_MATCHES(call(), std::invalid_argument, Message("KokkosAttention::backward: " + message));
  Kokkos::fence();
  for (View const& view : {call.dq, call.dk, call.dv, call.dbias}) {
    auto const memory = memory_of(view);
    for (std::size_t e = 0; e < memory.size(); ++e) REQUIRE(memory(e) == 7.f);
  }
}

TEST_CASE("wrong arguments of backward", "[checks]") {
  BackwardCall call;
  SECTION("none") { REQUIRE_NOTHROW(call()); }
  SECTION("head dimensions beyond any tile") {
    call.q   = View("q", 1, 1, 1, 32769);
    call.k   = View("k", 1, 1, 1, 32769);
    call.v   = View("v", 1, 1, 1, 32769);
    call.out = View("out", 1, 1, 1, 32769);
    require_refused(call, "q: expected head_dim of at most 32768, found 32769");
    call.q = View("q", 1, 1, 1, 1);
    call.k = View("k", 1, 1, 1, 1);
    require_refused(call, "v: expected value_dim of at most 32768, found 32769");
  }
  SECTION("what forward checks too") {
    call.k = View("k", 2, 2, 12, 9);
    require_refused(call, "k: expected extent(3) = 8 (head_dim of q), found 9");
  }
  SECTION("d_out") {
    call.d_out = View("d_out", 2, 4, 10, 8);
    require_refused(call, "d_out: expected extent(3) = 6 (extent(3) of out), found 8");
  }
  SECTION("lse") {
    call.lse = Kokkos::View<float***, MemorySpace>("lse", 2, 4, 11);
    require_refused(call, "lse: expected extent(2) = 10 (q_len, extent(2) of q), found 11");
  }
  SECTION("gradients") {
    call.dq = View("dq", 2, 4, 9, 8);
    require_refused(call, "gradients.q: expected extent(2) = 10 (extent(2) of q), found 9");
    call.dq = View("dq", 2, 4, 10, 8);
    call.dk = View("dk", 2, 4, 12, 8);
    require_refused(call, "gradients.k: expected extent(1) = 2 (extent(1) of k), found 4");
    call.dk = View("dk", 2, 2, 12, 8);
    call.dv = View("dv", 1, 2, 12, 6);
    require_refused(call, "gradients.v: expected extent(0) = 2 (extent(0) of v), found 1");
  }
  SECTION("gradients in the place of another argument") {
    call.dq = call.q;
    REQUIRE_THROWS_MATCHES(
        call(), std::invalid_argument,
        Message("KokkosAttention::backward: gradients.q: expected memory of its own, found that of another argument"));
    call.dq = View("dq", 2, 4, 10, 8);
    call.dv = call.dk = View("dk and dv", 2, 2, 12, 8);
    call.v            = View("v", 2, 2, 12, 8);
    call.out          = View("out", 2, 4, 10, 8);
    call.d_out        = View("d_out", 2, 4, 10, 8);
    require_refused(call, "gradients.k: expected memory of its own, found that of another argument");
  }
  SECTION("the bias' gradient has the bias' extents") {
    call.dbias = View("dbias", 2, 4, 1, 12);
    require_refused(call, "gradients.bias: expected extent(0) = 1 (extent(0) of bias), found 2");
    call.options.bias = {};
    require_refused(call, "gradients.bias: expected none, as options.bias is not given, found a View");
  }
  SECTION("workspace") {
    std::size_t const bytes =
        KA::workspace_size(Space(), call.d_out, call.q, call.k, call.v, call.out, call.lse,
                           {.q = call.dq, .k = call.dk, .v = call.dv, .bias = call.dbias}, call.options);
    REQUIRE(bytes > 0);
    call.options.workspace = Kokkos::View<std::byte*, MemorySpace>("workspace", bytes);
    REQUIRE_NOTHROW(call());
    Kokkos::fence();
    call.options.workspace = Kokkos::View<std::byte*, MemorySpace>("workspace", bytes - 1);
    require_refused(call, "options.workspace: expected at least " + std::to_string(bytes) + " bytes, found " +
                              std::to_string(bytes - 1));
  }
}

template <class... Values>
Kokkos::View<KA::index_t const*, MemorySpace> offsets(Values... values) {
  Kokkos::View<KA::index_t*, MemorySpace> const view("offsets", sizeof...(values));
  auto const mirror = Kokkos::create_mirror_view(view);
  KA::index_t n     = 0;
  ((mirror(n++) = values), ...);
  Kokkos::deep_copy(view, mirror);
  return view;
}

TEST_CASE("offsets of packed sequences", "[checks]") {
  Call call;
  call.q   = View("q", 1, 4, 10, 8);
  call.k   = View("k", 1, 2, 12, 8);
  call.v   = View("v", 1, 2, 12, 6);
  call.out = View("out", 1, 4, 10, 6);
  call.lse = Kokkos::View<float***, MemorySpace>("lse", 1, 4, 10);

  call.options.q_offsets = offsets(0, 4, 10);
  call.options.k_offsets = offsets(0, 12, 12);
  bool const readable    = std::is_same_v<MemorySpace, Kokkos::HostSpace>;
  SECTION("right ones") { REQUIRE_NOTHROW(call()); }
  SECTION("for queries only") {
    call.options.k_offsets = {};
    require_refused(call, "options.k_offsets: expected offsets for queries and keys, or for neither, found none");
  }
  SECTION("for keys only") {
    call.options.q_offsets = {};
    require_refused(call, "options.q_offsets: expected offsets for queries and keys, or for neither, found none");
  }
  SECTION("not even one") {
    call.options.q_offsets = call.options.k_offsets = Kokkos::subview(offsets(0), std::pair(0, 0));
    require_refused(call, "options.q_offsets: expected one offset more than there are sequences, found none");
  }
  SECTION("different numbers of sequences") {
    call.options.k_offsets = offsets(0, 12);
    require_refused(call, "options.k_offsets: expected extent(0) = 3 (as many as q_offsets), found 2");
  }
  SECTION("a batch") {
    call.q   = View("q", 2, 4, 10, 8);
    call.k   = View("k", 2, 2, 12, 8);
    call.v   = View("v", 2, 2, 12, 6);
    call.out = View("out", 2, 4, 10, 6);
    call.lse = Kokkos::View<float***, MemorySpace>("lse", 2, 4, 10);
    require_refused(call, "q: expected a batch of 1 for packed sequences, found 2");
  }
  SECTION("that descend, or begin below 0") {
    if (!readable) SKIP("the host cannot read them");
    call.options.q_offsets = offsets(0, 4, 3);
    require_refused(call, "options.q_offsets(2): expected at least 4, as offsets ascend from 0, found 3");
    call.options.q_offsets = offsets(-1, 4, 5);
    require_refused(call, "options.q_offsets(0): expected at least 0, as offsets ascend from 0, found -1");
  }
  SECTION("that pass the end") {
    if (!readable) SKIP("the host cannot read them");
    call.options.k_offsets = offsets(0, 4, 13);
    require_refused(call, "options.k_offsets: expected a last offset of at most 12 (k_len, extent(2) of k), found 13");
  }
}

TEST_CASE("options out of range", "[checks]") {
  Call call;
  double const infinity = std::numeric_limits<double>::infinity();
  SECTION("scale") {
    call.options.scale = 1e39;
    require_refused(call, "options.scale: expected a finite number, 0 for 1 / sqrt(head_dim), found 1e+39");
    call.options.scale = 1e-60;
    require_refused(call, "options.scale: expected a finite number, 0 for 1 / sqrt(head_dim), found 1e-60");
    call.options.scale = infinity;
    require_refused(call, "options.scale: expected a finite number, 0 for 1 / sqrt(head_dim), found inf");
  }
  SECTION("softcap") {
    call.options.softcap = -1.;
    require_refused(call, "options.softcap: expected a finite number of at least 0, found -1");
    call.options.softcap = infinity;
    require_refused(call, "options.softcap: expected a finite number of at least 0, found inf");
  }
  SECTION("dropout") {
    call.options.dropout = {.probability = 1.5};
    require_refused(call, "options.dropout.probability: expected a probability in [0, 1], found 1.5");
    call.options.dropout = {.probability = -0.1};
    require_refused(call, "options.dropout.probability: expected a probability in [0, 1], found -0.1");
    call.options.dropout = {.probability = std::numeric_limits<double>::quiet_NaN()};
    require_refused(call, "options.dropout.probability: expected a probability in [0, 1], found nan");
  }
  SECTION("window") {
    call.options.window = {.left = -2};
    require_refused(call, "options.window.left: expected -1 (unbounded) or a number of keys, found -2");
    call.options.window = {.right = -7};
    require_refused(call, "options.window.right: expected -1 (unbounded) or a number of keys, found -7");
  }
  SECTION("mask") {
    call.options.mask = DeviceTensor<bool, Kokkos::LayoutRight>("mask", 2, 1, 10, 11);
    require_refused(call, "options.mask: expected extent(3) = 12 (k_len, extent(2) of k, or 1 to broadcast), found 11");
  }
  SECTION("bias") {
    call.options.bias = View("bias", 2, 2, 10, 12);
    require_refused(call, "options.bias: expected extent(1) = 4 (heads of q, or 1 to broadcast), found 2");
    call.options.bias = View("bias", 3, 4, 10, 12);
    require_refused(call, "options.bias: expected extent(0) = 2 (batch of q, or 1 to broadcast), found 3");
    call.options.bias = View("bias", 2, 4, 9, 12);
    require_refused(call, "options.bias: expected extent(2) = 10 (q_len, extent(2) of q, or 1 to broadcast), found 9");
  }
  SECTION("ALiBi slopes") {
    call.options.alibi_slopes = Kokkos::View<float*, MemorySpace>("slopes", 2);
    require_refused(call, "options.alibi_slopes: expected extent(0) = 4 (heads of q), found 2");
  }
}

TEST_CASE("the other functions check too, under their own names", "[checks]") {
  Call const call;
  View const wrong("k", 2, 2, 12, 9);
  REQUIRE_THROWS_MATCHES(KA::describe(Space(), call.q, wrong, call.v, call.out), std::invalid_argument,
                         Message("KokkosAttention::describe: k: expected extent(3) = 8 (head_dim of q), found 9"));
  REQUIRE_THROWS_MATCHES(
      KA::dropout_mask(Space(), {.probability = 2.}, DeviceTensor<bool, Kokkos::LayoutRight>("mask", 1, 1, 2, 2)),
      std::invalid_argument,
      Message("KokkosAttention::dropout_mask: options.dropout.probability: expected a probability in [0, 1], found 2"));
  REQUIRE_THROWS_MATCHES(
      KA::FlashAttention({.dropout = 1.5}), std::invalid_argument,
      Message("KokkosAttention::FlashAttention: dropout: expected a probability in [0, 1], found 1.5"));
  REQUIRE_THROWS_MATCHES(KA::FlashAttention().get_mask(-1, 3), std::invalid_argument,
                         Message("KokkosAttention::FlashAttention::get_mask: q_len: expected a length, found -1"));
  REQUIRE_THROWS_MATCHES(
      KA::FlashAttention({.flash = false})(call.q, wrong, call.v), std::invalid_argument,
      Message("KokkosAttention::FlashAttention::forward: k: expected extent(3) = 8 (head_dim of q), found 9"));
}

TEST_CASE("a View that the execution space cannot reach", "[checks]") {
  if constexpr (std::is_same_v<MemorySpace, Kokkos::HostSpace>) {
    SKIP("the default execution space reaches all memory there is");
  } else {
    Call const call;
    HostTensor<float> const host("host", 2, 4, 10, 8);
    REQUIRE_THROWS_MATCHES(KA::forward(Space(), host, call.k, call.v, call.out), std::invalid_argument,
                           Message(std::string("KokkosAttention::forward: q: expected data accessible from ") +
                                   Space::name() + ", found data in Host"));
  }
}

}  // namespace Test
