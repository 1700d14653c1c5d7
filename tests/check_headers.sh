#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every header compiles alone; the public ones in C and in C++.
#
#   tests/check_headers.sh [C COMPILER [C++ COMPILER]]
set -u
cd "$(dirname "$0")/.." || exit 2
cc=${1:-cc}
cxx=${2:-c++}
read -ra packages <<<"$(pkg-config --cflags libevent_core libxxhash libedit)"
strict=(-fsyntax-only -Wall -Wextra -Wpedantic -Werror)
failed=0
count=0

# alone HEADER COMMAND...: compiles a file that only includes it, twice.
alone() {
    local header=$1 said
    shift
    count=$((count + 1))
    if ! said=$(printf '#include "%s"\n#include "%s"\nint main(void);\n' \
        "$PWD/$header" "$PWD/$header" | "$@" - 2>&1); then
        echo "FAILED: $header does not compile alone ($1)"
        echo "$said" | head -n 5
        failed=$((failed + 1))
    fi
}

while IFS= read -r header; do
    posix=()
    case $header in
    src/net/* | cmd/* | tests/*) posix=(-D_GNU_SOURCE) ;;
    esac
    alone "$header" "$cc" -x c -std=c11 "${strict[@]}" "${posix[@]}" \
        -Isrc -Iinclude -Itests -Ibuild/release/generated \
        -I"$(dirname "$header")" "${packages[@]}"
done < <(find src include cmd tests bench examples -name '*.h' | sort)

while IFS= read -r header; do
    alone "$header" "$cxx" -x c++ -std=c++11 "${strict[@]}" -Iinclude
done < <(find include -name '*.h' | sort)

echo "$count compiled, $failed failed"
[ "$failed" = 0 ] && [ "$count" -gt 0 ]
