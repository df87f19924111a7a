// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMAINSTRUCTIONS_HPP
#define KOKKOSATTENTION_MMAINSTRUCTIONS_HPP

#include "WarpEmulation.hpp"

#include <KokkosAttention_Loops.hpp>
#include <KokkosAttention_Types.hpp>

#include <Kokkos_Core.hpp>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

/// \file
/// Takes the place of kernels/mma/KokkosAttention_MmaInstructions.hpp: the same functions for emulated lanes. They are
/// inlined always, as the library is compiled with those of the same names that do nothing.

// Loops that are written out keep numbers in registers; here they would only cost compile time.
#undef KOKKOSATTENTION_UNROLL
#define KOKKOSATTENTION_UNROLL

namespace WarpEmulation {

template <class T>
T value_of(char const* operation, T value, int lane) {
  struct Arguments {
    T value, result;
    int lane;
  } arguments{value, value, lane};
  collective(operation, arguments, [](auto const& lanes) {
    for (Arguments* a : lanes) a->result = lanes[a->lane % warp_size]->value;
  });
  return arguments.result;
}

inline bool any(bool flag) {
  collective("any_lane", flag, [](auto const& lanes) {
    bool result = false;
    for (bool const* flag_of_lane : lanes) result = result || *flag_of_lane;
    for (bool* flag_of_lane : lanes) *flag_of_lane = result;
  });
  return flag;
}

inline void barrier_of_warp() {
  char nothing;
  collective("warp_barrier", nothing, [](auto const&) {});
}

template <bool transposed>
void load(char const* operation, unsigned (&numbers)[4], void const* row) {
  struct Arguments {
    unsigned* numbers;
    void const* row;
    unsigned number(int n) const {
      std::uint16_t bits;
      std::memcpy(&bits, static_cast<char const*>(row) + 2 * n, 2);
      return bits;
    }
  } arguments{numbers, row};
  require_in_scratch(row, 16, "a matrix's row");
  collective(operation, arguments, [](auto const& lanes) {
    for (int m = 0; m < 4; ++m)
      for (int l = 0; l < warp_size; ++l) {
        auto const number = [&](int i) {
          int const step = 2 * (l % 4) + i, quad = l / 4;
          return transposed ? lanes[8 * m + step]->number(quad) : lanes[8 * m + quad]->number(step);
        };
        lanes[l]->numbers[m] = number(0) | number(1) << 16;
      }
  });
}

inline void store(char const* operation, unsigned const (&numbers)[4], void* row) {
  struct Arguments {
    unsigned const* numbers;
    void* row;
  } arguments{numbers, row};
  require_in_scratch(row, 16, "a matrix's row");
  collective(operation, arguments, [](auto const& lanes) {
    for (int m = 0; m < 4; ++m)
      for (int l = 0; l < warp_size; ++l)
        std::memcpy(static_cast<char*>(lanes[8 * m + l / 4]->row) + 4 * (l % 4), lanes[l]->numbers + m, 4);
  });
}

/// sum += a b. A lane has row lane / 4 of a, then 8 more, then the next steps; column lane / 4 of b, then the next
/// steps; of the sum columns 2 (lane % 4) and the next of row lane / 4, then 8 more. Neighbouring steps are together.
template <int steps, class Sum, class Factor>
void multiply_add(char const* operation, Sum (&sum)[4], Factor const* a, Factor const* b) {
  constexpr int together = std::is_same_v<Factor, double> ? 1 : 2, halves = steps / together / 4;
  struct Arguments {
    Sum* sum;
    Factor const *a, *b;
  } arguments{sum, a, b};
  collective(operation, arguments, [](auto const& lanes) {
    // In double: sums of products of 16-bit numbers are rounded once.
    double left[16][steps], right[steps][8], total[16][8];
    auto const for_each_sum = [&](auto const& f) {
      for (int l = 0; l < warp_size; ++l)
        for (int n = 0; n < 4; ++n) f(lanes[l]->sum[n], total[l / 4 + n / 2 * 8][l % 4 * 2 + n % 2]);
    };
    for (int l = 0; l < warp_size; ++l)
      for (int i = 0; i < halves; ++i)
        for (int e = 0; e < together; ++e) {
          int const step = together * (l % 4 + 4 * i) + e;
          for (int h = 0; h < 2; ++h) left[l / 4 + 8 * h][step] = lanes[l]->a[(2 * i + h) * together + e];
          right[step][l / 4] = lanes[l]->b[i * together + e];
        }
    for_each_sum([](Sum const& sum_of_lane, double& element) { element = sum_of_lane; });
    for (int row = 0; row < 16; ++row)
      for (int s = 0; s < steps; ++s) {
        KOKKOSATTENTION_LANES
        for (int column = 0; column < 8; ++column)
          total[row][column] = std::fma(left[row][s], right[s][column], total[row][column]);
      }
    for_each_sum([](Sum& sum_of_lane, double element) { sum_of_lane = static_cast<Sum>(element); });
  });
}

template <class Number>
float number_of(unsigned bits) {
  auto const half = static_cast<std::uint16_t>(bits);
  if constexpr (std::is_same_v<Number, KokkosAttention::half_t>)
    return KokkosAttention::Impl::from_binary16_bits(half);
  else
    return KokkosAttention::Impl::from_bfloat16_bits(half);
}

template <class Number>
unsigned bits_of(float value) {
  if constexpr (std::is_same_v<Number, KokkosAttention::half_t>)
    return KokkosAttention::Impl::to_binary16_bits(value);
  else
    return KokkosAttention::Impl::to_bfloat16_bits(value);
}

template <class Number>
void multiply_add_pairs(float (&sum)[4], unsigned const (&a)[4], unsigned b0, unsigned b1) {
  float left[8], right[4];
  for (int n = 0; n < 8; ++n) left[n] = number_of<Number>(a[n / 2] >> 16 * (n % 2));
  for (int n = 0; n < 4; ++n) right[n] = number_of<Number>((n < 2 ? b0 : b1) >> 16 * (n % 2));
  bool const of_half = std::is_same_v<Number, KokkosAttention::half_t>;
  multiply_add<16>(of_half ? "multiply_add_m16n8k16 (f16)" : "multiply_add_m16n8k16 (bf16)", sum, left, right);
}

/// As the instruction, without subnormal numbers.
inline float exp2(float x) {
  float const result = std::exp2(std::fabs(x) < FLT_MIN ? 0.f : x);
  return result < FLT_MIN ? 0.f : result;
}

}  // namespace WarpEmulation

namespace KokkosAttention::Impl {

KOKKOS_FORCEINLINE_FUNCTION int warp_lane() { return WarpEmulation::lane(); }

template <class T>
KOKKOS_FORCEINLINE_FUNCTION T hidden(T x) {
  return x;
}

template <class T>
KOKKOS_FORCEINLINE_FUNCTION T exchange_lanes(T value, int difference) {
  return WarpEmulation::value_of("exchange_lanes", value, WarpEmulation::lane() ^ difference);
}

template <class T>
KOKKOS_FORCEINLINE_FUNCTION T value_of_lane(T value, int lane) {
  return WarpEmulation::value_of("value_of_lane", value, lane & 31);
}

KOKKOS_FORCEINLINE_FUNCTION bool any_lane(bool flag) { return WarpEmulation::any(flag); }

KOKKOS_FORCEINLINE_FUNCTION void warp_barrier() { WarpEmulation::barrier_of_warp(); }

template <int warps>
KOKKOS_FORCEINLINE_FUNCTION void barrier_of_warps(int number) {
  WarpEmulation::barrier_of_warps("barrier_of_warps", 1 + number, warps);
}

/// Waits, which no warp's work depends on.
template <int warps>
KOKKOS_FORCEINLINE_FUNCTION void arrive_at_barrier(int number) {
  WarpEmulation::barrier_of_warps("arrive_at_barrier", 1 + number, warps);
}

template <class T>
KOKKOS_FORCEINLINE_FUNCTION T* as_shared(T* pointer) {
  return pointer;
}

template <int bytes>
KOKKOS_FORCEINLINE_FUNCTION void copy_ahead(void* to, void const* from, bool filled) {
  static_assert(bytes == 4 || bytes == 8 || bytes == 16);
  WarpEmulation::begin_copy(to, from, bytes, filled);
}

KOKKOS_FORCEINLINE_FUNCTION void wait_for_copies() { WarpEmulation::finish_copies(); }

KOKKOS_FORCEINLINE_FUNCTION void load_matrices(unsigned (&numbers)[4], void const* row) {
  WarpEmulation::load<false>("load_matrices", numbers, row);
}

KOKKOS_FORCEINLINE_FUNCTION void load_matrices_transposed(unsigned (&numbers)[4], void const* row) {
  WarpEmulation::load<true>("load_matrices_transposed", numbers, row);
}

KOKKOS_FORCEINLINE_FUNCTION void store_matrices(unsigned const (&numbers)[4], void* row) {
  WarpEmulation::store("store_matrices", numbers, row);
}

KOKKOS_FORCEINLINE_FUNCTION void multiply_add_m16n8k4(double (&sum)[4], double upper, double lower, double b) {
  double const a[2] = {upper, lower};
  WarpEmulation::multiply_add<4>("multiply_add_m16n8k4", sum, a, &b);
}

KOKKOS_FORCEINLINE_FUNCTION void multiply_add_m16n8k8(double (&sum)[4], double const (&a)[4], double const (&b)[2]) {
  WarpEmulation::multiply_add<8>("multiply_add_m16n8k8", sum, a, b);
}

template <class Number>
KOKKOS_FORCEINLINE_FUNCTION void multiply_add_m16n8k16(float (&sum)[4], unsigned const (&a)[4], unsigned b0,
                                                       unsigned b1) {
  WarpEmulation::multiply_add_pairs<Number>(sum, a, b0, b1);
}

template <class Number>
KOKKOS_FORCEINLINE_FUNCTION unsigned pack_two(float low, float high) {
  return WarpEmulation::bits_of<Number>(low) | WarpEmulation::bits_of<Number>(high) << 16;
}

template <class Number>
KOKKOS_FORCEINLINE_FUNCTION void unpack_two(unsigned both, float& low, float& high) {
  low  = WarpEmulation::number_of<Number>(both);
  high = WarpEmulation::number_of<Number>(both >> 16);
}

KOKKOS_FORCEINLINE_FUNCTION float exp2_approximation(float x) { return WarpEmulation::exp2(x); }

KOKKOS_FORCEINLINE_FUNCTION unsigned larger_halves(unsigned a, unsigned b) {
  constexpr unsigned low = 0xffffu, high = 0xffff0000u;
  return std::max(a & low, b & low) | std::max(a & high, b & high);
}

template <class T>
KOKKOS_FORCEINLINE_FUNCTION void add_in_memory(T* to, T x) {
  *to += x;
}
KOKKOS_FORCEINLINE_FUNCTION void add_two_in_memory(float* to, float x, float y) {
  WarpEmulation::require_aligned(to, 8, "two numbers in memory");
  to[0] += x;
  to[1] += y;
}

KOKKOS_FORCEINLINE_FUNCTION void add_four_in_memory(float* to, float x, float y, float z, float w) {
  WarpEmulation::require_aligned(to, 16, "four numbers in memory");
  add_two_in_memory(to, x, y);
  add_two_in_memory(to + 2, z, w);
}

KOKKOS_FORCEINLINE_FUNCTION unsigned long long take_number(unsigned long long* place) { return (*place)++; }

KOKKOS_FORCEINLINE_FUNCTION unsigned published_number(unsigned const* place) { return *place; }

KOKKOS_FORCEINLINE_FUNCTION unsigned wait_for_more(unsigned const* place, unsigned number, unsigned) {
  WarpEmulation::require_more(*place, number);
  return *place;
}

KOKKOS_FORCEINLINE_FUNCTION void publish_number(unsigned* place, unsigned number) { *place = number; }

}  // namespace KokkosAttention::Impl

#endif
