// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef KOKKOSATTENTION_MMAINSTRUCTIONS_HPP
#define KOKKOSATTENTION_MMAINSTRUCTIONS_HPP

#include <KokkosAttention_Types.hpp>

#include <Kokkos_Core.hpp>

#include <type_traits>

/// \file
/// The instructions that the mma engine is made of, one function each (PTX ISA, compute capability 8.0 and up). All of
/// a warp's lanes call them together, but for copies and arithmetic. On hosts and older devices, where the engine is
/// not taken, they do nothing.

namespace KokkosAttention::Impl {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
#define KOKKOSATTENTION_HAS_MMA_INSTRUCTIONS
#endif

/// The number of the lane in its warp. Teams have a vector length of 32: a team's thread is a warp.
KOKKOS_FORCEINLINE_FUNCTION int warp_lane() {
#if defined(__CUDA_ARCH__)
  return static_cast<int>(threadIdx.x);
#else
  return 0;
#endif
}

/// The same number, of which the compiler knows nothing: what is computed from it is not computed before a loop, to
/// wait for the loop's end in registers that the loop needs, nor is the number itself computed later.
template <class T>
requires(sizeof(T) == 4 || sizeof(T) == 8) KOKKOS_FORCEINLINE_FUNCTION T hidden(T x) {
#if defined(__CUDA_ARCH__)
  if constexpr (std::is_same_v<T, double>)
    asm volatile("" : "+d"(x));
  else if constexpr (sizeof(T) == 4)
    asm volatile("" : "+r"(x));
  else
    asm volatile("" : "+l"(x));
#endif
  return x;
}

/// The value of the lane whose number differs in the bits of `difference`.
template <class T>
KOKKOS_FORCEINLINE_FUNCTION T exchange_lanes(T value, [[maybe_unused]] int difference) {
#if defined(__CUDA_ARCH__)
  return __shfl_xor_sync(0xffffffffu, value, difference);
#else
  return value;
#endif
}

/// The value of the lane of a number, modulo 32.
template <class T>
KOKKOS_FORCEINLINE_FUNCTION T value_of_lane(T value, [[maybe_unused]] int lane) {
#if defined(__CUDA_ARCH__)
  return __shfl_sync(0xffffffffu, value, lane);
#else
  return value;
#endif
}

/// Whether any of the warp's lanes says so.
KOKKOS_FORCEINLINE_FUNCTION bool any_lane(bool flag) {
#if defined(__CUDA_ARCH__)
  return __any_sync(0xffffffffu, flag);
#else
  return flag;
#endif
}

/// Until all of the warp's lanes have come here; then they see what the others have written to shared memory.
KOKKOS_FORCEINLINE_FUNCTION void warp_barrier() {
#if defined(__CUDA_ARCH__)
  __syncwarp();
#endif
}

/// Until so many of the team's warps have come here with the same number, below 15; then they see what the others have
/// written to shared memory. Kokkos' team_barrier is the hardware's barrier 0.
template <int warps>
KOKKOS_FORCEINLINE_FUNCTION void barrier_of_warps([[maybe_unused]] int number) {
#if defined(__CUDA_ARCH__)
  asm volatile("barrier.sync %0, %1;" ::"r"(number + 1), "n"(32 * warps) : "memory");
#endif
}

/// The same, but does not wait for the others: they see what has been written before (PTX ISA, barrier). (compute-
/// sanitizer's racecheck loses count of a team's barriers by it, and takes what lies on both sides of a team_barrier
/// for a race.)
template <int warps>
KOKKOS_FORCEINLINE_FUNCTION void arrive_at_barrier([[maybe_unused]] int number) {
#if defined(__CUDA_ARCH__)
  asm volatile("barrier.arrive %0, %1;" ::"r"(number + 1), "n"(32 * warps) : "memory");
#endif
}

/// The same memory, known to be shared memory: the compiler then uses its own instructions.
template <class T>
KOKKOS_FORCEINLINE_FUNCTION T* as_shared(T* pointer) {
#if defined(__CUDA_ARCH__)
  return static_cast<T*>(__cvta_shared_to_generic(__cvta_generic_to_shared(pointer)));
#else
  return pointer;
#endif
}

/// Begins to copy 4, 8 or 16 bytes into shared memory, or to write as many zeros.
template <int bytes>
KOKKOS_FORCEINLINE_FUNCTION void copy_ahead([[maybe_unused]] void* to, [[maybe_unused]] void const* from,
                                            [[maybe_unused]] bool filled) {
#if defined(KOKKOSATTENTION_HAS_MMA_INSTRUCTIONS)
  auto const place = static_cast<unsigned>(__cvta_generic_to_shared(to));
  int const zeros  = !filled;
  if constexpr (bytes == 16)
    asm volatile("{ .reg .pred p; setp.ne.s32 p, %2, 0; cp.async.cg.shared.global [%0], [%1], 16, p; }" ::"r"(place),
                 "l"(from), "r"(zeros));
  else
    asm volatile("{ .reg .pred p; setp.ne.s32 p, %2, 0; cp.async.ca.shared.global [%0], [%1], %3, p; }" ::"r"(place),
                 "l"(from), "r"(zeros), "n"(bytes));
#endif
}

/// Waits until all of this thread's copies have arrived. Other threads' are seen after a barrier.
KOKKOS_FORCEINLINE_FUNCTION void wait_for_copies() {
#if defined(KOKKOSATTENTION_HAS_MMA_INSTRUCTIONS)
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

/// Loads four 8 x 8 matrices of 16-bit numbers from shared memory, each of whose rows is 16 bytes: lane 8 m + r gives
/// the place of row r of matrix m. Of matrix m, a lane gets numbers 2 (lane % 4) and the next of row lane / 4.
KOKKOS_FORCEINLINE_FUNCTION void load_matrices([[maybe_unused]] unsigned (&numbers)[4],
                                               [[maybe_unused]] void const* row) {
#if defined(KOKKOSATTENTION_HAS_MMA_INSTRUCTIONS)
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(numbers[0]), "=r"(numbers[1]), "=r"(numbers[2]), "=r"(numbers[3])
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row))));
#endif
}

/// The same with rows 2 (lane % 4) and the next of column lane / 4.
KOKKOS_FORCEINLINE_FUNCTION void load_matrices_transposed([[maybe_unused]] unsigned (&numbers)[4],
                                                          [[maybe_unused]] void const* row) {
#if defined(KOKKOSATTENTION_HAS_MMA_INSTRUCTIONS)
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(numbers[0]), "=r"(numbers[1]), "=r"(numbers[2]), "=r"(numbers[3])
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row))));
#endif
}

/// Stores four such matrices in shared memory, of which lanes hold what load_matrices gives them.
KOKKOS_FORCEINLINE_FUNCTION void store_matrices([[maybe_unused]] unsigned const (&numbers)[4],
                                                [[maybe_unused]] void* row) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(
                   static_cast<unsigned>(__cvta_generic_to_shared(row))),
               "r"(numbers[0]), "r"(numbers[1]), "r"(numbers[2]), "r"(numbers[3])
               : "memory");
#elif defined(KOKKOSATTENTION_HAS_MMA_INSTRUCTIONS)
  auto const place = static_cast<unsigned>(__cvta_generic_to_shared(row));
  int const lane   = warp_lane();
  for (int m = 0; m < 4; ++m)
    asm volatile("st.shared.u32 [%0], %1;" ::"r"(value_of_lane(place, 8 * m + lane / 4) + 4 * (lane % 4)),
                 "r"(numbers[m])
                 : "memory");
#endif
}

/// sum += a b, 16 x 4 by 4 x 8 numbers: rows lane / 4 and 8 more, step lane % 4.
KOKKOS_FORCEINLINE_FUNCTION void multiply_add_m16n8k4([[maybe_unused]] double (&sum)[4], [[maybe_unused]] double upper,
                                                      [[maybe_unused]] double lower, [[maybe_unused]] double b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm("mma.sync.aligned.m16n8k4.row.col.f64.f64.f64.f64 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
      : "+d"(sum[0]), "+d"(sum[1]), "+d"(sum[2]), "+d"(sum[3])
      : "d"(upper), "d"(lower), "d"(b));
#elif defined(KOKKOSATTENTION_HAS_MMA_INSTRUCTIONS)
  asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
      : "+d"(sum[0]), "+d"(sum[1])
      : "d"(upper), "d"(b));
  asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
      : "+d"(sum[2]), "+d"(sum[3])
      : "d"(lower), "d"(b));
#endif
}

/// The same with 8 steps: those of b and of a's two pairs are lane % 4, and 4 more.
KOKKOS_FORCEINLINE_FUNCTION void multiply_add_m16n8k8(double (&sum)[4], double const (&a)[4], double const (&b)[2]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm("mma.sync.aligned.m16n8k8.row.col.f64.f64.f64.f64 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+d"(sum[0]), "+d"(sum[1]), "+d"(sum[2]), "+d"(sum[3])
      : "d"(a[0]), "d"(a[1]), "d"(a[2]), "d"(a[3]), "d"(b[0]), "d"(b[1]));
#else
  multiply_add_m16n8k4(sum, a[0], a[1], b[0]);
  multiply_add_m16n8k4(sum, a[2], a[3], b[1]);
#endif
}

/// sum += a b, 16 x 16 by 16 x 8 numbers of 16 bits, two in a register: steps 2 (lane % 4) and the next, and 8 more.
template <class Number>
KOKKOS_FORCEINLINE_FUNCTION void multiply_add_m16n8k16([[maybe_unused]] float (&sum)[4],
                                                       [[maybe_unused]] unsigned const (&a)[4],
                                                       [[maybe_unused]] unsigned b0, [[maybe_unused]] unsigned b1) {
#if defined(KOKKOSATTENTION_HAS_MMA_INSTRUCTIONS)
  if constexpr (std::is_same_v<Number, half_t>)
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  else
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

/// Two numbers rounded to 16 bits, to nearest, the first one in the lower half.
template <class Number>
KOKKOS_FORCEINLINE_FUNCTION unsigned pack_two([[maybe_unused]] float low, [[maybe_unused]] float high) {
  unsigned result = 0;
#if defined(KOKKOSATTENTION_HAS_MMA_INSTRUCTIONS)
  if constexpr (std::is_same_v<Number, half_t>)
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
  else
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
#endif
  return result;
}

/// The two numbers of 16 bits as float.
template <class Number>
KOKKOS_FORCEINLINE_FUNCTION void unpack_two([[maybe_unused]] unsigned both, float& low, float& high) {
  low = high = 0;
#if defined(KOKKOSATTENTION_HAS_MMA_INSTRUCTIONS)
  if constexpr (std::is_same_v<Number, half_t>) {
    asm("{ .reg .b16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 %1, h; }"
        : "=f"(low), "=f"(high)
        : "r"(both));
  } else {
    low  = Kokkos::bit_cast<float>(both << 16);
    high = Kokkos::bit_cast<float>(both & 0xffff0000u);
  }
#endif
}

/// 2^x within 2^-22, relatively; results below the smallest normal number are 0.
KOKKOS_FORCEINLINE_FUNCTION float exp2_approximation(float x) {
#if defined(__CUDA_ARCH__)
  asm("ex2.approx.ftz.f32 %0, %0;" : "+f"(x));
  return x;
#else
  return Kokkos::exp2(x);
#endif
}

/// The larger of two numbers of 16 bits, in both halves.
KOKKOS_FORCEINLINE_FUNCTION unsigned larger_halves(unsigned a, [[maybe_unused]] unsigned b) {
#if defined(__CUDA_ARCH__)
  return __vmaxu2(a, b);
#else
  return a;
#endif
}

/// Adds to a number in global memory, and does not wait for it.
KOKKOS_FORCEINLINE_FUNCTION void add_in_memory([[maybe_unused]] double* to, [[maybe_unused]] double x) {
#if defined(KOKKOSATTENTION_HAS_MMA_INSTRUCTIONS)
  asm volatile("red.relaxed.gpu.global.add.f64 [%0], %1;" ::"l"(to), "d"(x) : "memory");
#endif
}
KOKKOS_FORCEINLINE_FUNCTION void add_in_memory([[maybe_unused]] float* to, [[maybe_unused]] float x) {
#if defined(KOKKOSATTENTION_HAS_MMA_INSTRUCTIONS)
  asm volatile("red.relaxed.gpu.global.add.f32 [%0], %1;" ::"l"(to), "f"(x) : "memory");
#endif
}
/// The same with two neighbours, the first of them on a multiple of 8 bytes.
KOKKOS_FORCEINLINE_FUNCTION void add_two_in_memory(float* to, float x, float y) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("red.relaxed.gpu.global.add.v2.f32 [%0], {%1, %2};" ::"l"(to), "f"(x), "f"(y) : "memory");
#else
  add_in_memory(to, x);
  add_in_memory(to + 1, y);
#endif
}

/// The same with four, the first of them on a multiple of 16 bytes.
KOKKOS_FORCEINLINE_FUNCTION void add_four_in_memory(float* to, float x, float y, float z, float w) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("red.relaxed.gpu.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(to), "f"(x), "f"(y), "f"(z), "f"(w)
               : "memory");
#else
  add_two_in_memory(to, x, y);
  add_two_in_memory(to + 2, z, w);
#endif
}

/// The number at a place, which is one more then. By a loop of comparisons, as Kokkos' atomic operation on 64 bits is
/// compiled, a multiprocessor's worth of teams would wait for each other.
KOKKOS_FORCEINLINE_FUNCTION unsigned long long take_number([[maybe_unused]] unsigned long long* place) {
#if defined(__CUDA_ARCH__)
  return atomicAdd(place, 1ull);
#else
  return 0;
#endif
}

/// What another team has published at a place, which may be more by now. What it had written before is not there for
/// all that, see wait_for_more.
KOKKOS_FORCEINLINE_FUNCTION unsigned published_number([[maybe_unused]] unsigned const* place) {
  unsigned found = 0;
#if defined(KOKKOSATTENTION_HAS_MMA_INSTRUCTIONS)
  asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(found) : "l"(place) : "memory");
#endif
  return found;
}

/// Waits until another team has published more than a number. What its threads had written before is there then.
/// \param found what published_number has found already
KOKKOS_FORCEINLINE_FUNCTION unsigned wait_for_more([[maybe_unused]] unsigned const* place,
                                                   [[maybe_unused]] unsigned number, unsigned found) {
#if defined(KOKKOSATTENTION_HAS_MMA_INSTRUCTIONS)
  while (found <= number) found = published_number(place);
  asm volatile("fence.acq_rel.gpu;" ::: "memory");
#endif
  return found;
}

/// Publishes a number, after a team barrier.
KOKKOS_FORCEINLINE_FUNCTION void publish_number([[maybe_unused]] unsigned* place, [[maybe_unused]] unsigned number) {
#if defined(KOKKOSATTENTION_HAS_MMA_INSTRUCTIONS)
  asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(place), "r"(number) : "memory");
#endif
}

}  // namespace KokkosAttention::Impl

#endif
