# Some pairs of nvcc and Kokkos lay Views out differently on host and device: nvcc 12.9 and later misread the
# no_unique_address members of the mdspan that Kokkos before 5.0 carries, so every View-carrying functor is read wrongly
# without an error. This library's kernels carry no Views, but applications' do.
if(Kokkos_ENABLE_CUDA AND Kokkos_VERSION VERSION_LESS 5.0 AND Kokkos_ENABLE_IMPL_MDSPAN)
  find_package(CUDAToolkit QUIET)
  if(CUDAToolkit_VERSION VERSION_GREATER_EQUAL 12.9)
    message(WARNING "Kokkos ${Kokkos_VERSION} with CUDA ${CUDAToolkit_VERSION} reads Views wrongly in device code: "
                    "configure Kokkos with -DKokkos_ENABLE_IMPL_MDSPAN=OFF, or use Kokkos 5. "
                    "The unit test 'Views have one layout on host and device' tells whether a build is affected.")
  endif()
endif()
