# Uses the library as others do: installed and found by find_package, and as a subdirectory of another project.
# Builds and runs the example hello_attention in both ways, with the compiler and Kokkos of this build.
#
#   cmake -Dproject=… -Dbuild=… -Dfolder=… -Dconfiguration=… -Dgenerator=… -Dcompiler=… -Dflags=… -Dprefixes=… -P Packaging.cmake

function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    list(JOIN ARGV " " command)
    message(FATAL_ERROR "${command}\n${output}")
  endif()
endfunction()

set(settings -G ${generator} -DCMAKE_BUILD_TYPE=${configuration} -DCMAKE_CXX_COMPILER=${compiler}
    -DCMAKE_CXX_FLAGS=${flags})
# By the environment: a list would not survive the command line.
string(REPLACE ";" ":" prefixes "${prefixes}")
set(ENV{CMAKE_PREFIX_PATH} "${folder}/prefix:${prefixes}:$ENV{CMAKE_PREFIX_PATH}")

file(REMOVE_RECURSE ${folder})
run(${CMAKE_COMMAND} --install ${build} --config ${configuration} --prefix ${folder}/prefix)

run(${CMAKE_COMMAND} -S ${project}/examples/hello_attention -B ${folder}/installed ${settings})
run(${CMAKE_COMMAND} --build ${folder}/installed)
run(${folder}/installed/hello_attention)

run(${CMAKE_COMMAND} -S ${project}/unit_tests/packaging/subdirectory -B ${folder}/subdirectory ${settings}
    -Dlibrary=${project})
run(${CMAKE_COMMAND} --build ${folder}/subdirectory --target hello_attention)
run(${folder}/subdirectory/hello_attention/hello_attention)
if(EXISTS ${folder}/subdirectory/library/unit_tests)
  message(FATAL_ERROR "as a subdirectory the library must not build its tests")
endif()
