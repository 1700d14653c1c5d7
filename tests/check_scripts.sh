#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The linter of shell scripts has nothing to warn of, and every source says its licence.
set -u
cd "$(dirname "$0")/.." || exit 2
if ! command -v shellcheck >/dev/null; then
    echo "shellcheck is not here"
    exit 77
fi
failed=0
mapfile -t scripts < <(grep -rlE '^#!/bin/(ba)?sh|^# shellcheck shell=' \
    scripts tests .ci)
shellcheck -x -S warning "${scripts[@]}" || failed=1

while IFS= read -r file; do
    head -n 3 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0' || {
        echo "$file: no licence line"
        failed=1
    }
done < <(find src include cmd tests bench examples scripts cmake .ci -type f \
    ! -name '*.pyc' ! -name '*.seeds' ! -path '*/golden/*' ! -path '*/corpus/*' ! -name '*.md' ! -name '*.in')
echo "${#scripts[@]} scripts"
exit $failed
