#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the verbs of collections answer, and with which exit code.
#
#   tests/cmd/test_vector.sh PROGRAM
#
# PROGRAM is dlht-cli linked with tests/cmd/fake_dlht.c. With DLHT_CLI set, it
# is the real program, run against the ring at $DLHT_NODE, where the collections
# l2 and cos must not be yet; what only the fake can answer is left out.

set -u
cli=${DLHT_CLI:-${1:?usage: test_vector.sh PROGRAM}}
real=${DLHT_CLI:+yes}
[ -x "$cli" ] || { echo "test_vector.sh: $cli cannot be run" >&2; exit 2; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export FAKE_DLHT_FILE=$dir/records
export LC_ALL=C
passed=0
failed=0

# check WHY EXIT STDOUT COMMAND...: runs the program with the rest. STDOUT as
# printf %b; '*': whatever, see shows.
check() {
    local why=$1 want_code=$2 want=$3 code
    shift 3
    "$cli" "$@" >"$dir/out" 2>"$dir/err" </dev/null
    code=$?
    printf '%b' "$want" >"$dir/want"
    [ "$want" != '*' ] || cp "$dir/out" "$dir/want"
    if [ "$code" != "$want_code" ] || ! cmp -s "$dir/want" "$dir/out"; then
        echo "FAILED: $why: exit code $code, $want_code is right"
        diff <(cat -v "$dir/want") <(cat -v "$dir/out") | sed 's/^/    /'
        sed 's/^/    stderr: /' "$dir/err"
        failed=$((failed + 1))
    else
        passed=$((passed + 1))
    fi
}

# has FILE PATTERN: one line of it, for standard error.
has() {
    if grep -q -- "$2" "$1" &&
        { [ "$1" != "$dir/err" ] || [ "$(wc -l <"$1")" = 1 ]; }; then
        passed=$((passed + 1))
    else
        echo "FAILED: '$2' should be said:"
        sed 's/^/    /' "$1"
        failed=$((failed + 1))
    fi
}
says() { has "$dir/err" "$1"; }
shows() { has "$dir/out" "$1"; }

# Files of rows, good ones and others.
python3 - "$dir" <<'END' || { echo "test_vector.sh: python3 is needed"; exit 2; }
import struct
import sys

rows = [[float(i), 1.0, 0.5] for i in range(20)]


def fvecs(rows):
    return b"".join(struct.pack(f"<i{len(r)}f", len(r), *r) for r in rows)


def npy(rows, kind="f4", order="False", shape=None, version=1):
    shape = shape or f"({len(rows)}, {len(rows[0])})"
    head = f"{{'descr': '<{kind}', 'fortran_order': {order}, 'shape': {shape}, }}"
    head = head.ljust(117) + "\n"
    width = "<H" if version == 1 else "<I"
    code = "f" if kind == "f4" else "d"
    return (b"\x93NUMPY" + bytes([version, 0]) + struct.pack(width, len(head)) +
            head.encode() +
            b"".join(struct.pack(f"<{len(r)}{code}", *r) for r in rows))


files = {
    "a.fvecs": fvecs(rows),
    "one.fvecs": fvecs(rows[:1]),
    "none.fvecs": b"",
    "dims.fvecs": fvecs([rows[0], [1.0, 2.0]]),
    "short.fvecs": fvecs(rows[:2])[:-1],
    "odd.fvecs": b"\xff\xff\xff\xff" + b"x" * 40,
    "wide.fvecs": fvecs([[1.0, 2.0]]),
    "nan.fvecs": fvecs([rows[0], [1.0, float("nan"), 0.0], rows[2]]),
    "a.npy": npy(rows),
    "d.npy": npy(rows, "f8", version=2),
    "beyond.npy": npy([rows[0], [1e300, 0.0, 0.0], rows[2]], "f8"),
    "fortran.npy": npy(rows, order="True"),
    "ints.npy": npy(rows).replace(b"<f4", b"<i4"),
    "big.npy": npy(rows).replace(b"<f4", b">f4"),
    "flat.npy": npy(rows, shape="(60,)"),
    "deep.npy": npy(rows, shape="(20, 3, 1)"),
    "huge.npy": npy(rows, shape="(99999999999999999999, 3)"),
    "more.npy": npy(rows, shape="(21, 3)"),
    "head.npy": npy(rows)[:40],
    "no.npy": b"hello, world",
    "a.jsonl": b'{"id": "x", "vector": [1, 2, 3], "meta": {"lang": "en", '
               b'"t": "a \\"}\\" b"}}\n'
               b'{"vector": [1,2,4], "id": 7, "meta": null, "more": [1, {}]}\n'
               b'{"id": {"base64": "/w=="}, "vector": [1.5, 2e0, -3]}\n',
    "bad.jsonl": b'{"id": "g", "vector": [1, 2, 3]}\n'
                 b'{"id": "h"}\n'
                 b'{"id": "i", "vector": [1, "2", 3]}\n'
                 b'nonsense\n'
                 b'{"id": "j", "vector": [1, 2]}\n'
                 b'{"id": "k", "vector": [3, 2, 1]}\n',
    "meta.jsonl": b'{"id": "g", "vector": [1, 2, 3], "meta": {"a": [[1]]}}\n',
}
for name, data in files.items():
    with open(f"{sys.argv[1]}/{name}", "wb") as f:
        f.write(data)
END

# --- help
for verb in create list info drop put get del load search recall rebuild; do
    check "help of vector $verb" 0 '*' vector $verb --help
    shows "^usage: dlht-cli .* vector $verb"
done
check "-k of a verb" 0 '*' vector search --help
shows '^  -k N '

# --- collections
if [ "$real" ]; then
    check "a collection" 0 'OK\n' vector create l2 --dim 3 --metric l2 \
        --index lang --index n
    check "another" 0 'OK\n' vector create cos --dim 3 --replicas 3 \
        --m 8 --ef-construction 100 --ef 32 --quantization f16
    check "one that is there" 4 '' vector create l2 --dim 3
    says "exists already"
    check "they are listed" 0 '*' vector list
    shows '^l2 .* l2 *3 *3 '
    shows '^cos .* cosine *3 *3 '
    check "as JSON" 0 '*' vector list --json
    shows '"name": "cos", "metric": "cosine", "dim": 3, "replicas": 3'
    check "what it is" 0 '*' vector info cos
    shows '^vectors  *0, of 3 numbers, metric cosine$'
    shows '^index  *hnsw, m 8, ef-construction 100, ef 32, quantization f16$'
    check "its fields" 0 '*' vector info l2
    shows '^fields  *lang,n$'
    check "a keyspace that is none" 4 '' vector info default
    check "no such one" 4 '' vector info nowhere
    says "no such keyspace"
else
    export FAKE_DLHT_TOLD=$dir/told
    check "a collection" 0 'OK\n' vector create v --dim 8 --metric ip -m 4 \
        --ef-construction 9 --ef 7 --quantization none --index-type exact \
        --index a --index b.c --replicas 3
    cmp -s "$dir/told" - <<'END' && passed=$((passed + 1)) ||
v vector-dim=8
v vector-metric=ip
v vector-m=4
v vector-ef-construction=9
v vector-ef=7
v vector-quantization=none
v vector-index=exact
v vector-fields=a,b.c
END
        { echo "FAILED: create told:"; cat "$dir/told"; failed=$((failed + 1)); }
    check "only what is given" 0 'OK\n' vector create v --dim 8
    [ "$(cat "$dir/told")" = "v vector-dim=8" ] ||
        { echo "FAILED: create told:"; cat "$dir/told"; failed=$((failed + 1)); }
    unset FAKE_DLHT_TOLD
    check "they are listed" 0 \
        'NAME  METRIC  DIM  REPLICAS  ARCS\nl2    l2        3         3     2\n' \
        vector list
    check "as JSON" 0 '{"name": "l2", "metric": "l2", "dim": 3, "replicas": 3, "arcs": 2}\n' \
        vector list --json
    check "an answer that is none" 4 '' vector info odd
    says "the answer is not understood"
    check "hits that are none" 4 '' -k odd vector search --values "1 2 3"
    says "the answer is not understood"
fi
check "without dim" 2 '' vector create v
says "--dim says how many numbers"
check "dim of nothing" 2 '' vector create v --dim 0
says "a number of 1 to 16384"
check "an unknown metric" 2 '' vector create v --dim 3 --metric manhattan
says "one of cosine|l2|ip is meant"
check "a field with a blank" 2 '' vector create v --dim 3 --index "a b"
says "'a b' is no name of a field"
check "two copies" 2 '' vector create v --dim 3 --replicas 2
says "1, 3 or 5"
check "no name" 2 '' vector create "" --dim 3
says "the name of a collection"

# --- single vectors
check "none is named" 2 '' vector put a --values "1 2 3"
says "dlht-cli -k NAME vector put"
check "put" 0 'OK\n' -k l2 vector put a --values "1 2 3" \
    --meta '{"n": 1, "lang": "en"}'
check "in brackets" 0 'OK\n' -k l2 vector put b --values "[1.5, 2, 0.1]" \
    --meta '{"lang":"de"}'
check "with commas" 0 'OK\n' -k l2 vector put c --values "1,2,4"
check "put as JSON" 0 '*' -k l2 vector put c --values "1 2 4" --json
shows '^{"ok": true, "version": [0-9]*}$'
check "get" 0 '[1,2,3]\t{"lang": "en", "n": 1}\n' -k l2 vector get a
check "get as JSON" 0 '*' -k l2 vector get b --json
shows '^{"id": "b", "vector": \[1.5,2,0.1\], "meta": {"lang": "de"}, "version"'
check "no metadata" 0 '[1,2,4]\t{}\n' -k l2 vector get c
check "get what is not there" 1 '' -k l2 vector get none
says "no such key"
check "a wrong dim" 2 '' -k l2 vector put a --values "1 2"
says "2 dimensions"
check "NaN" 2 '' -k l2 vector put a --values "1 nan 2"
says "the vector holds NaN at position 1"
check "infinity" 2 '' -k l2 vector put a --values "1e39 0 2"
says "the vector holds infinity at position 0"
check "zero has no direction" 2 '' -k cos vector put a --values "0 0 0"
says "vector"
check "no numbers" 2 '' -k l2 vector put a --values "one two"
says 'numbers are meant, as in "1 2.5 -3"'
check "an open bracket" 2 '' -k l2 vector put a --values "[1 2 3"
check "more behind it" 2 '' -k l2 vector put a --values "[1 2 3] 4"
check "nothing" 2 '' -k l2 vector put a --values ""
check "no values" 2 '' -k l2 vector put a
says "--values has the numbers"
check "metadata that is no object" 2 '' -k l2 vector put a --values "1 2 3" \
    --meta '[1]'
check "nothing was changed" 0 '[1,2,3]\t{"lang": "en", "n": 1}\n' \
    -k l2 vector get a
check "no id" 2 '' -k l2 vector put "" --values "1 2 3"
check "not a collection" 4 '' -k default vector put a --values "1 2 3"

# --- search
check "the nearest" 0 'a\t0\nc\t1\n' -k l2 vector search --values "1 2 3" -k 2
check "near a stored one" 0 'c\t1\nb\t8.660001\n' -k l2 vector search --id a
check "with all" 0 'c\t1\t{}\t[1,2,4]\n' -k l2 vector search --id a -k 1 \
    --with meta,vector
check "as JSON" 0 '*' -k l2 vector search --values "1 2 3" -k 1 --json \
    --with meta,vector
shows '^{"id": "a", "distance": 0, "meta": {"lang": "en", "n": 1}, "vector": \[1,2,3\]}$'
check "as JSON, nothing with it" 0 '{"id": "a", "distance": 0}\n' \
    -k l2 vector search --values "1 2 3" -k 1 --json
check "a filter" 0 'b\t8.660001\n' -k l2 vector search --id a \
    --filter 'lang = "de" or n = 7'
check "exactly" 0 'a\t0\nc\t1\nb\t8.660001\n' -k l2 vector search \
    --values "1 2 3" --exact --ef 100 --stale
check "a filter that is none" 2 '' -k l2 vector search --id a --filter 'a =='
says "position 3: found '=='"
check "a wrong dim in search" 2 '' -k l2 vector search --values "1 2"
says "2 dimensions"
check "an id that is not there" 1 '' -k l2 vector search --id none
check "nothing to look for" 2 '' -k l2 vector search
says "one of --values, --id and --file"
check "two things" 2 '' -k l2 vector search --id a --values "1 2 3"
says "one of --values, --id and --file"
check "k of too many" 2 '' -k l2 vector search --id a -k 10001
says "a number of 1 to 10000"
check "with what" 2 '' -k l2 vector search --id a --with metadata
says "meta, vector or meta,vector"
if [ ! "$real" ]; then
    check "part of the ring" 0 'a\t0\n' -k l2 vector search --values "1 2 3" \
        -k 1 --filter 'not partial = 1'
    says "partial: 2 of 12 arcs did not answer"
fi

# --- files
check "fvecs" 0 '*' -k l2 vector load "$dir/a.fvecs"
shows '^loaded 20 vectors in .* s (.*/s), 0 failed$'
check "ids are rows" 0 '[19,1,0.5]\t{}\n' -k l2 vector get 19
check "npy" 0 '*' -k l2 vector load "$dir/a.npy" --ids-from 100
shows '^loaded 20 vectors'
check "doubles" 0 '*' -k l2 vector load "$dir/d.npy" --ids-from 200 --json
shows '^{"loaded": 20, "seconds": .*, "rate": .*, "failed": 0}$'
check "what they hold" 0 '[19,1,0.5]\t{}\n' -k l2 vector get 219
check "JSON lines" 0 '*' -k l2 vector load "$dir/a.jsonl"
shows '^loaded 3 vectors'
check "metadata of a line" 0 '[1,2,3]\t{"lang": "en", "t": "a \\"}\\" b"}\n' \
    -k l2 vector get x
check "a number as id" 0 '[1,2,4]\t{}\n' -k l2 vector get 7
check "wrong lines are counted" 2 '*' -k l2 vector load "$dir/bad.jsonl"
shows '^loaded 2 vectors .* 4 failed$'
says 'vector load: line 2: no field "vector"'
check "what the cluster refuses has its line" 2 '*' \
    -k l2 vector load "$dir/meta.jsonl"
shows '^loaded 0 vectors .* 1 failed$'
says 'vector load: line 1: '
check "and its row" 2 '*' -k l2 vector load "$dir/nan.fvecs"
shows '^loaded 2 vectors .* 1 failed$'
says 'row 1: the vector holds NaN at position 1'
check "beyond float32" 2 '*' -k l2 vector load "$dir/beyond.npy"
shows '^loaded 2 vectors .* 1 failed$'
says 'row 1: number 0 is 1e+300, which is beyond float32'
check "of another dim" 2 '*' -k l2 vector load "$dir/wide.fvecs"
says 'row 0: .*2 dimensions'
check "an empty file" 0 '*' -k l2 vector load "$dir/none.fvecs"
shows '^loaded 0 vectors .* 0 failed$'
check "rows of two dims" 2 '*' -k l2 vector load "$dir/dims.fvecs"
says 'byte 16: row 1 has 2 numbers, those before have 3'
check "cut short" 2 '*' -k l2 vector load "$dir/short.fvecs"
says 'byte 31: the file ends in row 1'
check "not fvecs" 2 '*' -k l2 vector load "$dir/odd.fvecs"
says 'byte 0: row 0 has -1 numbers'
for bad in 'fortran:Fortran' "ints:descr is '<i4'" "big:descr is '>f4'" \
    'flat:two dimensions' 'deep:two dimensions' 'huge:two dimensions' \
    'head:byte 40: the file ends in its head' 'no:byte 0: not a file'; do
    check "npy: ${bad%%:*}" 2 '' -k l2 vector load "$dir/${bad%%:*}.npy"
    says "${bad#*:}"
done
check "fewer rows than it says" 2 '*' -k l2 vector load "$dir/more.npy"
says 'byte 368: the file ends in row 20 of 21'
check "what is it" 2 '' -k l2 vector load "$dir/records"
says "say --format fvecs, npy or jsonl"
check "no file" 2 '' -k l2 vector load "$dir/none.npy"
says "cannot be opened"
check "del" 0 'OK\n' -k l2 vector del 219
check "del again" 1 '' -k l2 vector del 219
if [ ! "$real" ]; then
    printf '%s\n' '{"id": "!busy", "vector": [1, 2, 3]}' >"$dir/busy.jsonl"
    check "a busy cluster is asked again" 0 '*' \
        -k l2 vector load "$dir/busy.jsonl"
    shows '^loaded 1 vectors .* 0 failed$'
    printf '%s\n' '{"id": "p", "vector": [1, 2, 3]}' \
        '{"id": "!unknown", "vector": [1, 2, 3]}' >"$dir/unknown.jsonl"
    check "outcome unknown" 3 '*' -k l2 vector load "$dir/unknown.jsonl"
    shows '^loaded 1 vectors .* 1 failed$'
    says "line 2: outcome unknown: it may have been stored"
fi

# --- queries of a file
check "a query" 0 '0\t0\t0\n' -k l2 vector search --file "$dir/one.fvecs" -k 1
check "a query as JSON" 0 '{"query": 0, "id": "0", "distance": 0}\n' \
    -k l2 vector search --file "$dir/one.fvecs" -k 1 --json
check "queries in order" 0 '*' -k l2 vector search --file "$dir/a.npy" -k 2 \
    --pipeline 3
[ "$(cut -f1 "$dir/out" | uniq -c | tr -s ' \n' ' ')" = \
    "$(for q in $(seq 0 19); do printf ' 2 %s' "$q"; done) " ] ||
    { echo "FAILED: two hits a query"; cat "$dir/out"; failed=$((failed + 1)); }
check "a query of another dim" 2 '' -k l2 vector search \
    --file "$dir/wide.fvecs"
says "query 0: .*2 dimensions"
check "queries cut short" 2 '*' -k l2 vector search --file "$dir/short.fvecs"
says "the file ends in row 1"
check "recall" 0 '*' -k l2 vector recall --file "$dir/a.fvecs" -k 3 --limit 15
shows '^recall@3 1.0000 over 15 queries; .* queries/s, exactly .* queries/s$'
check "recall as JSON" 0 '*' -k l2 vector recall --file "$dir/a.fvecs" --json
shows '^{"k": 10, "recall": 1, "queries": 20, "rate": .*, "partial": false}$'
check "recall of nothing" 1 '' -k l2 vector recall --file "$dir/a.fvecs" \
    --filter 'lang = "xx"'
says "nothing to find"
check "no queries" 1 '' -k l2 vector recall --file "$dir/none.fvecs"
says "the file has no queries"
check "no file of them" 2 '' -k l2 vector recall
says "--file has the queries"

# --- of the node
check "rebuild" 0 'OK\n' vector rebuild l2 --wait
check "info as JSON" 0 '*' vector info l2 --json
shows '^{"collection": "l2", "dim": 3, "metric": "l2", "index": "hnsw", '
shows '"rebuilding": false}$'
check "drop" 0 'OK\n' vector drop l2
if [ "$real" ]; then
    check "it is gone" 4 '' -k l2 vector search --values "1 2 3"
    check "drop again" 4 '' vector drop l2
    check "drop the other" 0 'OK\n' vector drop cos
fi

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
