# The host engine, compiled for several instruction sets of x86-64; which one runs is chosen when the program runs.

set(variants "")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64" AND CMAKE_CXX_COMPILER_ID STREQUAL GNU AND NOT Kokkos_ENABLE_CUDA)
  # Fastest first: name, the function that tells whether it can run, what HostVariant.cpp compiles for.
  set(variants "host_amx|has_amx_bf16|KOKKOSATTENTION_HOST_TARGET_AMX"
               "host_avx512_bf16|has_avx512_bf16|KOKKOSATTENTION_HOST_TARGET_BF16"
               "host_avx512|has_avx512|KOKKOSATTENTION_HOST_TARGET_V4"
               "host_avx2|has_avx2|KOKKOSATTENTION_HOST_TARGET_V3")
endif()

# Optimised whatever the configuration: functions that are not inlined could be shared with code for other processors.
# Sums have the same bits in every function only if all are fused multiply-adds: GCC would leave some 256-bit ones out.
# (GCC 12 warns of its own intrinsics.)
set(KokkosAttention_HOST_VARIANT_OPTIONS -march=x86-64 -O3 -ffp-contract=fast --param=avoid-fma-max-bits=0
                                         -fopenmp-simd -Wno-psabi
                                         -Wno-maybe-uninitialized -Wno-uninitialized)

set(variant_list "")
set(KokkosAttention_HOST_VARIANTS "")
foreach(variant IN LISTS variants)
  string(REPLACE "|" ";" fields "${variant}")
  list(GET fields 0 name)
  list(GET fields 1 can_run)
  list(GET fields 2 target)
  list(APPEND KokkosAttention_HOST_VARIANTS ${name})
  string(APPEND variant_list " X(${name}, ${can_run})")

  add_library(KokkosAttention_${name} OBJECT kernels/host/KokkosAttention_HostVariant.cpp)
  target_link_libraries(KokkosAttention_${name} PRIVATE Kokkos::kokkos)
  target_compile_features(KokkosAttention_${name} PRIVATE cxx_std_20)
  target_include_directories(KokkosAttention_${name}
                             PRIVATE $<TARGET_PROPERTY:KokkosAttention,INTERFACE_INCLUDE_DIRECTORIES>)
  target_compile_options(KokkosAttention_${name} PRIVATE ${KokkosAttention_HOST_VARIANT_OPTIONS})
  target_compile_definitions(KokkosAttention_${name} PRIVATE KOKKOSATTENTION_HOST_VARIANT=${name}
                                                              KOKKOSATTENTION_HOST_BASE=host_avx512 ${target})
  set_target_properties(KokkosAttention_${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_sources(KokkosAttention PRIVATE $<TARGET_OBJECTS:KokkosAttention_${name}>)
endforeach()

configure_file(cmake/KokkosAttention_HostVariants.hpp.in include/KokkosAttention_HostVariants.hpp)
target_sources(KokkosAttention PRIVATE kernels/host/KokkosAttention_HostKernels.cpp)
