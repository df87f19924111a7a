// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_HALF_HPP
#define KOKKOSATTENTION_HALF_HPP

#include <Kokkos_Core.hpp>

#include <cstdint>

/// \file
/// 16-bit floating-point storage. Kokkos' own half types are plain floats where no device backend provides them
/// (KOKKOS_HALF_T_IS_FLOAT), so 16-bit data on such builds needs a type that is bit-compatible with the GPU's.

namespace KokkosAttention::Impl {

/// Rounds a float to bfloat16: to nearest, ties to even; a NaN stays a (quiet) NaN.
KOKKOS_FORCEINLINE_FUNCTION std::uint16_t to_bfloat16_bits(float value) {
  auto const bits    = Kokkos::bit_cast<std::uint32_t>(value);
  auto const rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return static_cast<std::uint16_t>(value == value ? rounded : (bits >> 16) | 0x40u);
}

KOKKOS_FORCEINLINE_FUNCTION float from_bfloat16_bits(std::uint16_t bits) {
  return Kokkos::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

/// Rounds a float to IEEE binary16: to nearest, ties to even, subnormals kept, overflow to infinity.
/// Free of branches on purpose, so that loops over it vectorise.
KOKKOS_FORCEINLINE_FUNCTION std::uint16_t to_binary16_bits(float value) {
  auto const bits               = Kokkos::bit_cast<std::uint32_t>(value);
  std::uint32_t const magnitude = bits & 0x7fffffffu;
  // Normal results: rebias the exponent and round the 13 bits that go.
  std::uint32_t const normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  // Subnormal results: adding 0.5 aligns the significand so that the hardware does the rounding.
  std::uint32_t const subnormal = Kokkos::bit_cast<std::uint32_t>(Kokkos::bit_cast<float>(magnitude) + 0.5f) -
                                  Kokkos::bit_cast<std::uint32_t>(0.5f);
  std::uint32_t const finite   = magnitude < 0x38800000u ? subnormal : normal;
  std::uint32_t const overflow = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;  // NaN : infinity
  std::uint32_t const result   = magnitude >= 0x477ff000u ? overflow : finite;
  return static_cast<std::uint16_t>(result | ((bits >> 16) & 0x8000u));
}

KOKKOS_FORCEINLINE_FUNCTION float from_binary16_bits(std::uint16_t half) {
  std::uint32_t const sign      = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  std::uint32_t const magnitude = half & 0x7fffu;
  std::uint32_t const normal    = (magnitude << 13) + 0x38000000u;
  std::uint32_t const special   = (magnitude << 13) | 0x7f800000u;  // infinity and NaN keep their payload
  // Subnormals: the significand counts units of 2^-24.
  std::uint32_t const subnormal = Kokkos::bit_cast<std::uint32_t>(static_cast<float>(magnitude) * 0x1p-24f);
  std::uint32_t const finite    = magnitude < 0x400u ? subnormal : normal;
  return Kokkos::bit_cast<float>(sign | (magnitude >= 0x7c00u ? special : finite));
}

/// A 16-bit number that is stored as `Format` and computed with as float.
template <class Format>
class Storage16 {
  std::uint16_t m_bits = 0;

 public:
  constexpr Storage16() = default;
  template <class T>
  requires std::is_arithmetic_v<T> KOKKOS_FORCEINLINE_FUNCTION explicit Storage16(T value)
      : m_bits(Format::encode(static_cast<float>(value))) {}
  KOKKOS_FORCEINLINE_FUNCTION operator float() const { return Format::decode(m_bits); }

  /// The bit pattern, the same as that of the GPU's type.
  KOKKOS_FORCEINLINE_FUNCTION std::uint16_t bits() const { return m_bits; }
  KOKKOS_FORCEINLINE_FUNCTION static Storage16 from_bits(std::uint16_t bits) {
    Storage16 result;
    result.m_bits = bits;
    return result;
  }
};

struct Binary16 {
  KOKKOS_FORCEINLINE_FUNCTION static std::uint16_t encode(float value) { return to_binary16_bits(value); }
  KOKKOS_FORCEINLINE_FUNCTION static float decode(std::uint16_t bits) { return from_binary16_bits(bits); }
};

struct Bfloat16 {
  KOKKOS_FORCEINLINE_FUNCTION static std::uint16_t encode(float value) { return to_bfloat16_bits(value); }
  KOKKOS_FORCEINLINE_FUNCTION static float decode(std::uint16_t bits) { return from_bfloat16_bits(bits); }
};

}  // namespace KokkosAttention::Impl

#endif
