#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every source is as clang-format 14 (Debian 12's) leaves it; other versions
# differ in trifles, so with them the check is skipped (exit code 77).
set -u
cd "$(dirname "$0")/.." || exit 2
if ! clang-format --version 2>/dev/null | grep -q 'version 14\.'; then
    echo "clang-format 14 is not here"
    exit 77
fi
find src include cmd tests bench examples \( -name '*.c' -o -name '*.h' \) \
    -print0 | xargs -0 clang-format --dry-run -Werror 2>&1 |
    grep -E '^[^ ].*(error|warning):' | sed 's/:[0-9]*:[0-9]*: .*//' |
    sort | uniq -c | sed 's/^ *\([0-9]*\) \(.*\)/\2: \1 places; clang-format -i/' |
    tee /dev/stderr | { ! grep -q .; }
