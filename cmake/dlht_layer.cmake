# SPDX-License-Identifier: Apache-2.0
# What every target of the tree is compiled with, and one function a room.

# Warnings live on one target that is never installed. They are errors only
# in presets (CMAKE_COMPILE_WARNING_AS_ERROR), so that a newer compiler never
# breaks somebody's build.
add_library(dlht_warnings INTERFACE)
target_compile_options(dlht_warnings INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes
    -Wmissing-prototypes -Wvla -Wpointer-arith -Wwrite-strings -Wundef
    -Wconversion -Wswitch-enum)

# Assertions are part of the program.
foreach(config RELEASE RELWITHDEBINFO MINSIZEREL)
    string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_${config}
           "${CMAKE_C_FLAGS_${config}}")
endforeach()

# For testing the tests (docs/testing.md): bugs that DLHT_MUTANT in the
# environment chooses from. Nothing of them is in any other build.
option(DLHT_MUTANTS "Build deliberate faults in; never ship this" OFF)
if(DLHT_MUTANTS)
    add_compile_definitions(DLHT_MUTANTS)
endif()

function(dlht_compile target)
    set_target_properties(${target} PROPERTIES
        C_STANDARD 11 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF
        C_VISIBILITY_PRESET hidden POSITION_INDEPENDENT_CODE ON
        INTERPROCEDURAL_OPTIMIZATION ${DLHT_LTO})
    target_link_libraries(${target} PRIVATE dlht_warnings)
    target_include_directories(${target} PRIVATE
        ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include
        ${PROJECT_BINARY_DIR}/generated)
    # The static archive is made of the same objects, for compilers that know
    # nothing of this one's intermediate form.
    if(DLHT_LTO AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
        target_compile_options(${target} PRIVATE -ffat-lto-objects)
    endif()
    if(DLHT_NATIVE)
        target_compile_options(${target} PRIVATE -march=native)
    endif()
endfunction()

# dlht_layer(NAME SOURCES file... [USES target...] [POSIX])
# One room of DESIGN: a static library dlht_NAME. USES names the rooms and
# outside libraries it may call. POSIX switches the system's interfaces on;
# without it a stray clock or socket call does not compile.
function(dlht_layer name)
    cmake_parse_arguments(L "POSIX" "" "SOURCES;USES" ${ARGN})
    add_library(dlht_${name} STATIC ${L_SOURCES})
    dlht_compile(dlht_${name})
    target_link_libraries(dlht_${name} PUBLIC ${L_USES})
    if(L_POSIX)
        target_compile_definitions(dlht_${name} PRIVATE _GNU_SOURCE)
        # Rooms with threads count what is reached without losing any.
        if(CMAKE_C_FLAGS MATCHES "--coverage")
            target_compile_options(dlht_${name} PRIVATE
                -fprofile-update=atomic)
        endif()
    endif()
endfunction()

# dlht_program(NAME SOURCES file... USES target... [POSIX])
function(dlht_program name)
    cmake_parse_arguments(L "POSIX" "" "SOURCES;USES" ${ARGN})
    add_executable(${name} ${L_SOURCES})
    dlht_compile(${name})
    target_link_libraries(${name} PRIVATE ${L_USES})
    if(L_POSIX)
        target_compile_definitions(${name} PRIVATE _GNU_SOURCE)
    endif()
endfunction()
