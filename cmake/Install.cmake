# The installed package: headers in one folder of their own, the library, and a CMake config.
include(CMakePackageConfigHelpers)

set(config_folder ${CMAKE_INSTALL_LIBDIR}/cmake/KokkosAttention)
install(FILES ${headers} ${CMAKE_CURRENT_BINARY_DIR}/include/KokkosAttention_Config.hpp
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/kokkos-attention)
install(TARGETS KokkosAttention EXPORT KokkosAttentionTargets)
install(EXPORT KokkosAttentionTargets NAMESPACE KokkosAttention:: DESTINATION ${config_folder})
configure_package_config_file(cmake/KokkosAttentionConfig.cmake.in KokkosAttentionConfig.cmake
                              INSTALL_DESTINATION ${config_folder})
write_basic_package_version_file(KokkosAttentionConfigVersion.cmake COMPATIBILITY SameMajorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/KokkosAttentionConfig.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/KokkosAttentionConfigVersion.cmake DESTINATION ${config_folder})
