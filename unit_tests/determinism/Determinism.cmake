# The same bits with any number of threads.
#
#   cmake -Dprogram=… -P Determinism.cmake

foreach(threads IN ITEMS 1 2 3 7)
  set(ENV{OMP_NUM_THREADS} ${threads})
  set(ENV{KOKKOS_NUM_THREADS} ${threads})
  execute_process(COMMAND ${program} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE errors)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "with ${threads} threads:\n${output}${errors}")
  endif()
  if(NOT output MATCHES "double.*float.*half_t.*bhalf_t")
    message(FATAL_ERROR "not the expected checksums:\n${output}")
  endif()
  if(DEFINED first AND NOT output STREQUAL first)
    message(FATAL_ERROR "with 1 thread:\n${first}with ${threads} threads:\n${output}")
  endif()
  set(first "${output}")
endforeach()
