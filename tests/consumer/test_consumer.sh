#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs the library aside and builds a stranger's program against it: with
# the CMake package, shared and static, and with pkg-config. Only dlht_ calls
# may be visible in either form.
#
#     test_consumer.sh BUILD_DIR SOURCE_DIR C_COMPILER C_FLAGS
set -euo pipefail
build=$1 source=$2 compiler=$3 flags=$4
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

fail() {
    echo "test_consumer: $*" >&2
    exit 1
}

quietly() {
    "$@" >"$dir/log" 2>&1 || { cat "$dir/log" >&2; fail "$1 failed"; }
}

export LSAN_OPTIONS=
quietly cmake --install "$build" --prefix "$dir/prefix"
libdir=$(dirname "$(find "$dir/prefix" -name libdlht.a)")

names=$(nm -D --defined-only "$libdir/libdlht.so" | awk '{print $3}' |
    grep -v '^dlht_' || true)
[ -z "$names" ] || fail "libdlht.so exports $names"
# A sanitizer's own bookkeeping is not ours.
names=$(nm --defined-only --extern-only "$libdir/libdlht.a" |
    awk 'NF == 3 {print $3}' | grep -v -e '^dlht_' -e '^_*\(asan\|odr\)' ||
    true)
[ -z "$names" ] || fail "libdlht.a shows $names"

# The same tool as here: another may not be installed.
generator=$(sed -n 's/^CMAKE_GENERATOR:INTERNAL=//p' "$build/CMakeCache.txt")
quietly cmake -G "$generator" -S "$source/tests/consumer" -B "$dir/build" \
    -DCMAKE_PREFIX_PATH="$dir/prefix" -DCMAKE_C_COMPILER="$compiler" \
    -DCMAKE_C_FLAGS="$flags"
quietly cmake --build "$dir/build"
"$dir/build/with_shared" || fail "the shared library does not work"
"$dir/build/with_static" || fail "the static library does not work"

export PKG_CONFIG_PATH="$libdir/pkgconfig"
prefix="--define-variable=prefix=$dir/prefix"
# shellcheck disable=SC2046,SC2086
quietly "$compiler" $flags -o "$dir/with_pc" "$source/tests/consumer/main.c" \
    $(pkg-config "$prefix" --cflags --libs dlht)
LD_LIBRARY_PATH="$libdir" "$dir/with_pc" || fail "pkg-config's flags do not work"

# The headers are C++ too.
if command -v c++ >/dev/null; then
    echo '#include <dlht/dlht.h>' >"$dir/header.cc"
    quietly c++ -std=c++11 -Wall -Wextra -Werror -fsyntax-only \
        -I"$dir/prefix/include" "$dir/header.cc"
fi
echo "shared, static and pkg-config: all three work"
