# Only functions of a variant of the host engine, which bear its name, may use its instructions. Others in the same
# translation unit run on any processor: those that initialise objects when the program starts, and those that the
# linker shares with other translation units.
#
#   cmake -Dobjdump=… -Dvariant=… -Dobjects=… -P Instructions.cmake

set(of_others "/^[0-9a-f]+ <.*>:$/ {name = $2} /\\tv[a-z0-9]+ / && name !~ /${variant}/ {print name}")
set(of_variant "/^[0-9a-f]+ <.*>:$/ {name = $2} /\\tv[a-z0-9]+ / && name ~ /${variant}/ {found = 1} END {print found}")
foreach(object IN LISTS objects)
  foreach(program IN ITEMS of_others of_variant)
    execute_process(COMMAND ${objdump} -d --no-show-raw-insn ${object} COMMAND awk ${${program}}
                    RESULTS_VARIABLE results OUTPUT_VARIABLE ${program}_output)
    if(NOT results STREQUAL "0;0")
      message(FATAL_ERROR "objdump, awk: ${results}")
    endif()
  endforeach()
  if(of_others_output)
    message(FATAL_ERROR "compiled for ${variant} without its name:\n${of_others_output}")
  endif()
  if(NOT of_variant_output MATCHES "1")
    message(FATAL_ERROR "no vector instruction of ${variant} in ${object}")
  endif()
endforeach()
