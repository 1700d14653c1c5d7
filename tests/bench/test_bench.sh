#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# dlht-bench in small: the promises it makes of what follows from a seed (times
# are none of them), and that it does follow from the seed.
#
#   tests/bench/test_bench.sh PATH/TO/dlht-bench
set -u
bench=$1
dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT
fail() {
    echo "FAILED: $*" >&2
    exit 1
}

"$bench" --quick all >"$dir/all" || fail "all: a promise was not kept:" \
    "$(grep BROKEN "$dir/all")"
grep -q BROKEN "$dir/all" && fail "broken, but the exit status was 0"
[ "$(grep -c '^kept: ' "$dir/all")" -ge 18 ] || fail "too few promises"

"$bench" --quick cache >"$dir/cache" || fail "cache: a promise was not kept:" \
    "$(grep BROKEN "$dir/cache")"
printf 'a\nb\na\nc\na\n' >"$dir/trace"
"$bench" cache --replay "$dir/trace" --policy lru --capacity 2 >"$dir/replay" ||
    fail "cache --replay"
grep -q ' lru .* 0\.4000 ' "$dir/replay" || fail "two of five are hits:" \
    "$(cat "$dir/replay")"

# What is no time is the same again, and another with another seed.
for what in routing range; do
    for run in 1 2; do
        "$bench" --quick --json "$what" >"$dir/$what.$run" ||
            fail "$what --json"
    done
    cmp "$dir/$what.1" "$dir/$what.2" || fail "$what: two runs differ"
    "$bench" --quick --json --seed 7 "$what" >"$dir/$what.3" ||
        fail "$what --seed 7"
    cmp -s "$dir/$what.1" "$dir/$what.3" && fail "$what: the seed is ignored"
    grep -qv '^{".*}$' "$dir/$what.1" && fail "$what: not one object a line"
done

# For one key hashed Chord is as good: that promise cannot be kept, and the
# exit status says so.
"$bench" --quick --keys-wanted 1 range >"$dir/one"
rc=$?
[ $rc -eq 1 ] || fail "a broken promise and exit status $rc"
grep -q '^BROKEN: share' "$dir/one" || fail "a broken promise was not told"

"$bench" --quick svg "$dir" || fail "svg"
for picture in model-clustered error-clustered hops range; do
    tail -n 1 "$dir/$picture.svg" | grep -q '^</svg>$' ||
        fail "$picture.svg has no end"
    grep -q 'nan\|inf' "$dir/$picture.svg" && fail "$picture.svg: not a number"
done

"$bench" --quick --set clustered --graphs int8,float32 vector >"$dir/vector" ||
    fail "vector"
grep -q '^  clustered  *2000  *float32 ' "$dir/vector" || fail "vector: no table"
"$bench" --quick --set clustered --graphs int8 --svg "$dir/recall.svg" \
    vector >/dev/null || fail "vector --svg"
tail -n 1 "$dir/recall.svg" | grep -q '^</svg>$' || fail "recall.svg: no end"
TMPDIR=$dir "$bench" --quick collection >"$dir/collection" ||
    fail "collection: $(grep BROKEN "$dir/collection")"
grep -q '^  none  *ring, stale ' "$dir/collection" || fail "collection: no table"
ls -d "$dir"/dlht-bench-* 2>/dev/null && fail "collection: leaves its folder"
DLHT_KERNEL=abacus "$bench" --quick --set clustered vector >"$dir/none" 2>&1 &&
    fail "vector: a kernel that is none"

for wrong in "--set cubes vector" "" nothing "svg" "--arcs x range" "--keys 0 range"; do
    # shellcheck disable=SC2086
    "$bench" $wrong >/dev/null 2>&1
    [ $? -eq 2 ] || fail "'$wrong' was not refused"
done
echo "passed"
