# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What the scripts share: where things are, and building.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# fail TEXT: one line on stderr; exit 2.
fail() {
    echo "${0##*/}: $*" >&2
    exit 2
}

# program NAME: its path. $DLHT_BIN, the release build, any other build, then
# what is installed.
program() {
    local dir
    for dir in "${DLHT_BIN:-}" "$root"/build/release/bin "$root"/build/*/bin; do
        if [ -n "$dir" ] && [ -x "$dir/$1" ]; then
            echo "$dir/$1"
            return
        fi
    done
    command -v "$1" || fail "$1 is not built: scripts/quickstart builds it, \
or set DLHT_BIN to where it is"
}

# configure PRESET [OPTIONS...]
configure() {
    local preset=$1 generator=()
    shift
    if [ ! -e "$root/build/$preset/CMakeCache.txt" ] &&
        command -v ninja >/dev/null; then
        generator=(-G Ninja)
    fi
    if command -v ccache >/dev/null; then
        set -- -DCMAKE_C_COMPILER_LAUNCHER=ccache "$@"
    fi
    (cd "$root" && cmake --preset "$preset" "${generator[@]}" "$@")
}

# build PRESET [TARGETS...]
build() {
    local preset=$1
    shift
    (cd "$root" && cmake --build --preset "$preset" -j "$(nproc)" \
        ${1:+--target "$@"})
}
