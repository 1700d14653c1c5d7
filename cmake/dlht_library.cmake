# SPDX-License-Identifier: Apache-2.0
# libdlht for others: dlht::dlht (shared, exports the dlht_ calls and nothing
# else), dlht::static (an archive of one object whose other names are local, so
# that a user's own node_init does not clash), and what installs them.

# The rooms behind the door; those that are not there yet are left out.
set(DLHT_ROOMS base wire store store_cache chord rmi replica training placement vector
    vector_filter vector_collection node
    net_disk net_resp net api)
set(dlht_objects)
set(dlht_rooms)
foreach(room ${DLHT_ROOMS})
    if(TARGET dlht_${room})
        list(APPEND dlht_rooms dlht_${room})
        list(APPEND dlht_objects $<TARGET_OBJECTS:dlht_${room}>)
    endif()
endforeach()

set(dlht_private PkgConfig::libevent PkgConfig::openblas PkgConfig::xxhash
    Threads::Threads)

include(GNUInstallDirs)

add_library(dlht SHARED ${dlht_objects})
add_library(dlht::dlht ALIAS dlht)
target_link_libraries(dlht PRIVATE ${dlht_private} m)
target_include_directories(dlht INTERFACE
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
set_target_properties(dlht PROPERTIES
    LINKER_LANGUAGE C C_VISIBILITY_PRESET hidden
    INTERPROCEDURAL_OPTIMIZATION ${DLHT_LTO}
    VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})

# One relocatable object with local names, then an archive of it. With
# link-time optimisation the objects carry machine code too (see
# dlht_compile), and that is what is taken.
set(dlht_whole ${PROJECT_BINARY_DIR}/dlht_whole.o)
set(dlht_local ${PROJECT_BINARY_DIR}/dlht_local.o)
add_custom_command(OUTPUT ${dlht_local}
    COMMAND ${CMAKE_LINKER} -r -o ${dlht_whole} ${dlht_objects}
    COMMAND ${CMAKE_OBJCOPY} --localize-hidden "--remove-section=.gnu.lto_*"
            --remove-section=.gnu.debuglto_* ${dlht_whole} ${dlht_local}
    DEPENDS ${dlht_objects} COMMAND_EXPAND_LISTS VERBATIM
    COMMENT "Making inner names local")
set_source_files_properties(${dlht_local} PROPERTIES
    EXTERNAL_OBJECT ON GENERATED ON)
add_library(dlht_static STATIC ${dlht_local})
# Ninja knows which target makes an object file, make has to be told.
add_dependencies(dlht_static ${dlht_rooms})
add_library(dlht::static ALIAS dlht_static)
set_target_properties(dlht_static PROPERTIES
    LINKER_LANGUAGE C OUTPUT_NAME dlht EXPORT_NAME static)
target_link_libraries(dlht_static PRIVATE ${dlht_private} m)
target_include_directories(dlht_static INTERFACE
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)

# What is installed.
install(TARGETS dlht dlht_static EXPORT dlht-targets)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/dlht
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
set(dlht_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/dlht)
install(EXPORT dlht-targets NAMESPACE dlht:: DESTINATION ${dlht_cmake_dir})
include(CMakePackageConfigHelpers)
configure_package_config_file(
    ${PROJECT_SOURCE_DIR}/cmake/dlht-config.cmake.in
    ${PROJECT_BINARY_DIR}/dlht-config.cmake
    INSTALL_DESTINATION ${dlht_cmake_dir})
write_basic_package_version_file(
    ${PROJECT_BINARY_DIR}/dlht-config-version.cmake
    COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/dlht-config.cmake
              ${PROJECT_BINARY_DIR}/dlht-config-version.cmake
    DESTINATION ${dlht_cmake_dir})
configure_file(${PROJECT_SOURCE_DIR}/cmake/dlht.pc.in
    ${PROJECT_BINARY_DIR}/dlht.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/dlht.pc
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
