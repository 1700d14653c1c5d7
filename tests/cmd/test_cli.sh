#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What dlht-cli answers, and with which exit code.
#
#   tests/cmd/test_cli.sh PROGRAM
#
# PROGRAM is dlht-cli linked with tests/cmd/fake_dlht.c. With DLHT_CLI set, it
# is the real program, run against the node at $DLHT_NODE, whose keyspace
# `default` must be empty; what only the fake can answer is left out.

set -u
cli=${DLHT_CLI:-${1:?usage: test_cli.sh PROGRAM}}
real=${DLHT_CLI:+yes}
[ -x "$cli" ] || { echo "test_cli.sh: $cli cannot be run" >&2; exit 2; }
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
    judge "$why" "$want_code" "$want" "$code"
}

# check_pipe WHY EXIT STDOUT INPUT: a piped shell; INPUT as printf %b.
check_pipe() {
    local why=$1 want_code=$2 want=$3 code
    printf '%b' "$4" | "$cli" "${@:5}" >"$dir/out" 2>"$dir/err"
    code=$?
    judge "$why" "$want_code" "$want" "$code"
}

judge() {
    local why=$1 want_code=$2 want=$3 code=$4
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

# Of the last command's standard error; one line, and it names the matter.
says() {
    if ! grep -q -- "$1" "$dir/err" || [ "$(wc -l <"$dir/err")" != 1 ]; then
        echo "FAILED: the error should be one line with '$1':"
        sed 's/^/    /' "$dir/err"
        failed=$((failed + 1))
    else
        passed=$((passed + 1))
    fi
}

# What the fake was told is what standard input says.
told() {
    if diff - "$dir/told" >"$dir/diff"; then
        passed=$((passed + 1))
    else
        echo "FAILED: it was told:"
        sed 's/^/    /' "$dir/diff"
        failed=$((failed + 1))
    fi
}

# ahead WHY FILE KEYS CUTS OPTIONS...: loads standard input or FILE into a
# keyspace of nothing; KEYS are there then, after CUTS ascending cuts. Runs in
# a pipe too, so what failed is in a file.
ahead() {
    local why=$1 file=$2 keys=$3 cuts=$4 got
    shift 4
    rm -f "$FAKE_DLHT_FILE" "$dir/told"
    : >"$dir/told"
    "$cli" load "$file" "$@" >"$dir/out" 2>"$dir/err"
    got="$?, $("$cli" range --count </dev/null) keys, $(wc -l <"$dir/told") cuts"
    if [ "$got" != "0, $keys keys, $cuts cuts" ] || [ -s "$dir/err" ] ||
        ! LC_ALL=C sort -cu "$dir/told"; then
        echo "FAILED: cut ahead $why: $got; $keys keys, $cuts cuts are right"
        sed 's/^/    stderr: /' "$dir/err"
        echo x >>"$dir/ahead.failed"
    fi
    rm -f "$FAKE_DLHT_FILE"
}

# Of the last command's standard output.
shows() {
    if ! grep -q -- "$1" "$dir/out"; then
        echo "FAILED: the answer should have a line with '$1':"
        sed 's/^/    /' "$dir/out"
        failed=$((failed + 1))
    else
        passed=$((passed + 1))
    fi
}

# --- single keys
check "a value is stored" 0 'OK\n' put a 1
check "and printed" 0 '1\n' get a
check "raw: without newline" 0 '1' get a --raw
check "absent: exit 1" 1 '' get nothing
says "no such key"
check "a stale read" 0 '1\n' get a --stale
check "overwritten" 0 'OK\n' put a two
check "JSON of get" 0 '*' get a --json
shows '^{"key": "a", "value": "two", "version": [0-9]*}$'
check "a value that begins with a dash" 0 'OK\n' put dash -5
check "is kept" 0 '-5\n' get dash
check "behind --, options are arguments" 0 'OK\n' put -- --dash --x
check "such a key is found" 0 '--x\n' get -- --dash
check "an empty value" 0 'OK\n' put empty ''
check "is printed as a line" 0 '\n' get empty
check "removed" 0 'OK\n' del dash
check "removing nothing: exit 1" 1 '' del dash
check "cas of a present key as absent" 1 \
    "$("$cli" get a --version | cut -f1)\n" cas a 0 x
says "version differs"
check "cas of an absent key" 0 'OK\n' cas new 0 first
check "cas with its version" 0 'OK\n' \
    cas new "$("$cli" get new --version | cut -f1)" second
check "it is there" 0 'second\n' get new
check "VERSION must be a number" 2 '' cas new x y
says "VERSION 'x'"
check "cas-batch, one of which differs" 1 \
    "new\t$("$cli" get new --version | cut -f1)\n" \
    cas-batch p 0 put one new 0 put x
says "nothing was changed"
check "nothing was" 1 '' get p
check "cas-batch" 0 'OK\n' cas-batch p 0 put one q any put two r 0 put three
check "with a removal" 0 'OK\n' cas-batch r any del p any put uno
check "as told" 1 'p\tuno\nq\ttwo\n' mget p q r
check "put or del" 2 '' cas-batch p 0 set x
says "put VALUE, or del"
check "a VERSION is a number or any" 2 '' cas-batch p x put x
check "a change has three words or four" 2 '' cas-batch p 0 put x q
check "cleared" 0 'OK\n' cas-batch p any del q any del
check "several" 0 'a\ttwo\nnew\tsecond\n' mget a new
check "several with a missing one" 1 'a\ttwo\n' mget a nothing
check "JSON of put" 0 '*' --json put j 1
shows '^{"ok": true, "version": [0-9]*}$'
check "JSON of a missing key" 1 '*' --json get nothing
shows '"error": "no such key", "code": -3, .*"outcome": "failed"'
check "JSON of a cas that differs" 1 '*' --json cas a 0 x
shows '"code": -4, .*"outcome": "failed", "version": [1-9]'
check "ping" 0 '*' ping
shows '^OK [0-9]* us$'

# --- values from elsewhere
printf 'bytes\0of a file\n' >"$dir/file"
check "a value from a file" 0 'OK\n' put f --file "$dir/file"
check "byte for byte" 0 'bytes\0of a file\n' get f --raw
"$cli" put f - <<<"from stdin" >/dev/null
check "a value from standard input" 0 'from stdin\n' get f --raw
check "no such file" 2 '' put f --file "$dir/none"
says "cannot be opened"
check "two values" 2 '' put f x --file "$dir/file"
says "one value is meant"
check "no value" 2 '' put f
says "one value is meant"

# --- limits
long=$(head -c 65536 /dev/zero | tr '\0' k)
check "a key of 64 KiB" 0 'OK\n' put "$long" x
check "is there" 0 'x\n' get "$long"
check "and goes" 0 'OK\n' del "$long"
check "a longer key" 2 '' put "${long}k" x
says "65537 bytes; keys are 1 byte to 64 KiB"
check "an empty key" 2 '' get ''
says "the key is empty"
head -c 16777217 /dev/zero >"$dir/large"
check "a value over 16 MiB" 2 '' put a --file "$dir/large"
says "belongs to artifacts"
truncate -s 16777216 "$dir/large"
check "a value of 16 MiB" 0 'OK\n' put large --file "$dir/large"
"$cli" get large --raw >"$dir/out"
if cmp -s "$dir/out" "$dir/large"; then
    passed=$((passed + 1))
else
    echo "FAILED: 16 MiB come back as they went"
    failed=$((failed + 1))
fi
check "removed again" 0 'OK\n' del large

# --- any bytes, through the piped shell
check_pipe "bytes as escapes" 0 'OK\nv\n' \
    'put "\\x00\\xff\\xfe" v\nget "\\x00\\xff\\xfe"\n'
check_pipe "JSON of bytes that are not UTF-8" 0 \
    '{"key": {"base64": "AP/+"}}\n' \
    'range --keys --prefix "\\x00\\xff" --json\n'
check_pipe "quotes as in a shell" 0 'OK\na b\nOK\n"q\\n\n' \
    'put '\''k 1'\'' "a b"\nget k\\ 1\nput q "\\"q\\n"\nget q\n'
check_pipe "a tab and a comment" 0 'OK\nx\ty\n' \
    '# nothing\nput t x\\x09y\n\nget t\n'
check_pipe "the worst exit code, and all lines run" 2 'two\ntwo\n' \
    'get a\nget nothing\nfoo\nget a\n'
check_pipe "an open quote" 2 '' 'get "a\n'
says "a quote is not closed"
check_pipe "half a byte" 2 '' 'get \\x1\n'
says "two hexadecimal digits"
check_pipe "settings hold for one line" 1 '*' '--json get a\nget nothing\n'
says "no such key"
check_pipe "exit ends it" 0 '' 'exit\nget a\n'
check_pipe "no value from the commands" 2 '' 'put a -\n'
says "standard input holds the commands"
check_pipe "del with JSON" 0 '{"ok": true}\n' 'del "\\x00\\xff\\xfe"\n' \
    --json
check_pipe "clean up" 0 '*' 'del "k 1"\ndel q\ndel t\ndel a\ndel new\n
del -- --dash\ndel empty\ndel j\ndel f\n'

# --- ranges; the fake's page is 7 records
seq -f 'k%03g' 0 39 >"$dir/keys"
check "load lines" 0 '*' load "$dir/keys"
shows '^loaded 40 records in [0-9.]* s ([0-9]*/s), 0 failed$'
check "everything, in order" 0 "$(sed 's/$/\\n/' "$dir/keys" | tr -d '\n')" \
    range --keys
check "and backwards" 0 "$(tac "$dir/keys" | sed 's/$/\\n/' | tr -d '\n')" \
    range --keys --reverse
check "FROM included, TO excluded" 0 'k003\t4\nk004\t5\n' range k003 k005
check "an empty range" 0 '' range k005 k003
check "limit" 0 'k000\nk001\n' range --keys --limit 2
check "limit beyond a page" 0 '*' range --keys --limit 20
[ "$(wc -l <"$dir/out")" = 20 ] || { echo "FAILED: 20 lines"; failed=1; }
check "limit, backwards" 0 'k039\nk038\n' range --keys --limit=2 --reverse
check "prefix" 0 'k030\nk031\n' range --keys --prefix k03 --limit 2
check "prefix and FROM" 0 'k038\nk039\n' range --keys --prefix k03 k038
check "prefix and TO" 0 'k030\n' range --keys --prefix k03 k0 k031
check "prefix, backwards" 0 'k019\nk018\n' \
    range --keys --prefix k01 --limit 2 --reverse
check "count" 0 '40\n' range --count
check "count of a prefix" 0 '10\n' range --prefix k02 --count
check "count with limit" 0 '5\n' range --count --limit 5
check "JSON" 0 '{"key": "k003", "value": "4"}\n' range k003 k004 --json
check "JSON of count" 0 '{"count": 40}\n' --json range --count
check "stats on standard error" 0 'k000\t1\n' range --limit 1 --stats
says '^parts [0-9]*, peers asked [0-9]*, messages [0-9]*, hops [0-9]*'
for p in '' .. 1 1.. ..1 2..1 1..x 1...2 50%..40% 1%..101%; do
    check "no positions: '$p'" 2 '' range --positions "$p"
    says "--positions '$p': A..B is meant"
done
check_pipe "prefix of bytes 0xff" 0 'OK\nOK\n\0377\0377\n\0377\0377a\nOK\nOK\n' \
    'put "\\xff\\xff" 1\nput "\\xff\\xffa" 2
range --prefix "\\xff" --keys\ndel "\\xff\\xff"\ndel "\\xff\\xffa"\n'

# --- load and dump
check "dump" 0 '*' dump --prefix k00
cut -f1 "$dir/out" | diff -q - <(head -10 "$dir/keys") >/dev/null ||
    { echo "FAILED: dump lists the keys"; failed=$((failed + 1)); }
"$cli" --json dump >"$dir/jsonl"
check "dump as lines" 0 "$(seq -f 'k%03g\n' 20 29 | tr -d '\n')" \
    dump --format lines --prefix k02
printf 'x\t1\ny\t2\tz\nno tab\n\t1\n' >"$dir/tsv"
check "load tsv: bad lines count as failed" 2 '*' load "$dir/tsv" --format tsv
shows '^loaded 2 records in .* s (.*/s), 2 failed$'
says "line 3: no tab"
check "a tab in a value stays" 0 '2\tz\n' get y
cat >"$dir/odd.jsonl" <<'J'
{"key": "j1", "value": "a\u00e9\ud83d\ude00\n\"\\"}
 { "more": [1, {"a": null}], "value" : {"base64": "AP8="}, "key":{"base64":"ajI="} }
{"key": "j3", "value": 12.5}
{"key": "j4"}
{"key": "j5", "value": "open}
{"key": "j6", "value": "\ud800"}
{"key": "j7", "value": {"base64": "*"}}
not json
J
check "load jsonl" 2 '*' load "$dir/odd.jsonl" --format jsonl --json
shows '"loaded": 3, .*"failed": 5}$'
check "escapes of JSON" 0 'a\xc3\xa9\xf0\x9f\x98\x80\n"\\\n' get j1
check "base64 of JSON" 0 '\x00\xff' get j2 --raw
check "a number is its text" 0 '12.5\n' get j3
"$cli" --json dump >"$dir/all"
for key in $("$cli" range --keys); do echo "del $key"; done |
    "$cli" >/dev/null
check "all gone" 0 '0\n' range --count
check "what dump wrote is loaded" 0 '*' load - --format jsonl <"$dir/all"
"$cli" load - --format jsonl <"$dir/all" >/dev/null
"$cli" --json dump | cmp -s - "$dir/all" ||
    { echo "FAILED: dump and load are inverse"; failed=$((failed + 1)); }
check "no such file to load" 2 '' load "$dir/none"
says "cannot be opened"
check "an unknown format" 2 '' load "$dir/keys" --format csv
says "one of lines|tsv|jsonl is meant"

# --- usage
check "unknown verb" 2 '' frobnicate
says "unknown verb 'frobnicate'"
check "half a verb" 2 '' keyspace
says "keyspace what? create, list, drop, set or show"
check "half another" 2 '' model
says "model what? show, train, export, import or history"
check "an estimate without --count" 2 '' range --estimate
says "goes with --count"
check "an estimate of a part" 2 '' range --count --estimate --limit 5
says "leave out --limit"
for p in '' x 0x 0xg 0x10000000000000000 18446744073709551616 -1 % 101% 1.2.3% \
    .5% 1e2% '37 %' +5; do
    check "no position: '$p'" 2 '' lookup --position "$p"
    says "--position '$p': 0x0 to "
done
check "a key and a position" 2 '' lookup a --position 5
says "a KEY is meant, or --position P"
check "neither" 2 '' lookup
says "a KEY is meant, or --position P"
check "no setting" 2 '' keyspace set default error
says "'error': OPTION=VALUE is meant"
check "a setting of nothing" 2 '' keyspace set default =5
says "'=5': OPTION=VALUE is meant"
check "a setting twice" 2 '' keyspace set default a=1 b=2 a=3
says "'a' is given twice"
check "no settings" 2 '' keyspace set default
says "too few arguments"
check "half of balance" 2 '' balance
says "balance what? plan, status, pause, resume or set"
check "half of peer" 2 '' peer
says "peer what? set"
check "no rate" 2 '' balance set rate=
says "'rate=': rate=SIZE is meant"
check "a rate of nothing" 2 '' balance set rate=fast
says "'rate=fast': rate=SIZE is meant"
check "another setting" 2 '' balance set speed=1M
says "'speed=1M': rate=SIZE is meant"
check "no peer" 2 '' peer set weight=2
says "too few arguments"
check "a peer and no setting" 2 '' peer set 127.0.0.1:9000 weight
says "'weight': OPTION=VALUE is meant"
check "a weight twice" 2 '' peer set 127.0.0.1:9000 weight=1 weight=2
says "'weight' is given twice"
check "plan of an argument" 2 '' balance plan now
says "too many arguments"
check "no changes" 2 '' balance plan --what-if
says "--what-if needs a value"
check "import of no file" 2 '' model import "$dir/none"
says "cannot be opened"
check "import of a directory" 2 '' model import "$dir"
says "cannot be read"
: >"$dir/nothing"
check "import of nothing" 2 '' model import "$dir/nothing"
says "is no model: it is empty"
head -c 1048577 /dev/zero >"$dir/long"
check "import of too much" 2 '' model import "$dir/long"
says "1 MiB at the most"
check_pipe "import of the commands" 2 '' 'model import -\n'
says "standard input holds the commands"
check "no arcs" 2 '' load "$dir/keys" --arcs 0
says "a number of 1 to 4096"
check "unknown option" 2 '' get a --frob
says "unknown option --frob"
check "unknown option before the verb" 2 '' --frob get a
says "unknown option --frob"
check "an option without its value" 2 '' range --limit
says "--limit needs a value"
check "no number" 2 '' range --limit many
says "a number of 1 to"
check "a flag with a value" 2 '' range --keys=yes
says "takes no value"
check "too few" 2 '' get
says "too few arguments; usage: get KEY"
check "too many" 2 '' get a b
says "too many arguments"
check "timeout out of range" 2 '' --timeout 0 get a
says "milliseconds are meant"
check "JSON of usage" 2 '*' --json frobnicate
shows '^{"error": "unknown verb .*", "code": -2, '
check "no address" 2 '' -n nowhere ping
says "no HOST:PORT"
check "-n without one" 2 '' -n
says "needs HOST:PORT"
check "version" 0 'dlht-cli 0.1.0\n' --version
check "help" 0 '*' --help
shows '^  cas KEY VERSION VALUE '
check "help of a verb" 0 '*' range --help
shows '^  --prefix P '
check "help of a verb of two words" 0 '*' keyspace create --help
shows '--placement ordered|hashed'
for verb in put get del cas mget range load dump lookup ring peers status \
    "keyspace create" "keyspace list" "keyspace drop" "keyspace set" \
    "keyspace show" keyspaces "balance plan" "balance status" \
    "balance pause" "balance resume" "balance set" "peer set" "model show" \
    "model train" "model export" "model import" "model history" leave recover \
    hashring bench ping; do
    # shellcheck disable=SC2086
    check "help of $verb" 0 '*' $verb --help
    shows "^usage: dlht-cli .* $verb"
done

check "recover wants an arc" 2 '' recover zebra
says "an ARC as ring and status print it is meant"
check "recover wants one" 2 '' recover

# --- a hash ring; no cluster is asked
check "shares by MD5" 0 '*' hashring a b=2@x c --hash md5 --vnodes 64
shows '^b  *x  *2  *128  *[45][0-9]\.[0-9]*%$'
seq 10000 >"$dir/keys"
check "what a removal moves" 0 '*' hashring a b c d --replicas 2 --remove b \
    --keys "$dir/keys"
shows '^moved 2[0-9]\.[0-9]*% of all copies, ideal 25.00%$'
shows '^moved [45][0-9]* copies of 10000 keys$'
check "what an addition moves" 0 '*' hashring a b c --add d=1@z --json \
    --keys "$dir/keys"
shows '^{"node": "a", "weight": 1, "zone": "", "tokens": 128, "share": 0\.'
shows '^{"node": "d", "old_share": 0, .*"fair_share": 0.25, .*"keys_lost": 0}$'
shows '^{"moved": 0.2[0-9]*, "ideal": 0.25, "intervals": .*"keys": 10000, '
if ! awk -F'"keys": ' '/"weight"/ { n += $2 } END { exit n != 10000 }' \
    "$dir/out"; then
    echo "FAILED: the counts of hashring --keys should add up to 10000"
    failed=$((failed + 1))
fi
check "chosen tokens" 0 '*' hashring a b --chosen
shows '^a  *1  *8  *[0-9.]*%$'
check "equal names" 2 '' hashring a b a
says "that node is there already"
check "no such node to remove" 2 '' hashring a --remove b
says "no such node"
check "a weight of 0" 0 '*' hashring a=0 b c
shows '^a  *0  *0  *0\.00%$'
check "a weight below 0" 2 '' hashring a=-1
says "a weight of 0.1 to 100"
check "a weight near 0" 2 '' hashring a=0.01
says "a weight of 0.1 to 100"
check "no weight" 2 '' hashring a=heavy
says "NAME.=WEIGHT.*is meant"
check "no name" 2 '' hashring =1
says "a name of 1 to 255 bytes"
check "no nodes" 2 '' hashring
says "too few arguments"
check "another hash" 2 '' hashring a --hash sha1
says "one of xxh3|md5 is meant"
check "a ring written" 0 '*' hashring a b=2@x c --chosen --dump
cp "$dir/out" "$dir/ring"
check "the same ring read" 0 '*' hashring --from "$dir/ring" --dump
if ! cmp -s "$dir/out" "$dir/ring"; then
    echo "FAILED: a ring that is read and written should be the same"
    failed=$((failed + 1))
fi
check "what moves in a ring that was written" 0 '*' hashring \
    --from "$dir/ring" --remove b --keys "$dir/keys"
shows '^b  *x  *2  *16  '
shows '^moved .* of all copies, ideal 50.00%$'
sed 's/\["[0-9a-f]/["z/' "$dir/ring" >"$dir/broken"
check "a damaged ring" 2 '' hashring --from "$dir/broken"
says "broken is no ring: a hexadecimal digit is meant, at byte [0-9]"
head -c 300 "$dir/ring" >"$dir/broken"
check "a ring cut short" 2 '' hashring --from "$dir/broken"
says "broken is no ring: .*, at byte 300"
check "a ring and nodes" 2 '' hashring a --from "$dir/ring"
says "from has the nodes"
check "a ring and another hash" 2 '' hashring --hash md5 --from "$dir/ring"
says "from has the --hash"
check "no ring to read" 2 '' hashring --from "$dir/none"
says "cannot be opened"
check "no file of keys" 2 '' hashring a --keys "$dir/none"
says "cannot be opened"

# --- bench, in little
for load in get put mixed range; do
    check "bench $load" 0 '*' bench --workload $load --seconds 1 --keys 1000 \
        --clients 2 --pipeline 4 --json
    shows '^{"ops": [1-9][0-9]*, "errors": 0, "seconds": [1-2]'
done
check "bench, at a rate" 0 '*' bench --seconds 1 --keys 100 --no-load \
    --rate 500 --json
shows '"rate": [0-9]\{1,2\}[.,]\|"rate": [1-4][0-9][0-9][.,]\|"rate": 50[0-9][.,]'
check "bench, sequential" 0 '*' bench --seconds 1 --keys 100 --no-load \
    --distribution sequential
shows '^latency  p50 [0-9]* us'
check "bench, zipf" 0 '*' bench --seconds 1 --keys 1000 --distribution zipf
shows ' 0 errors$'

# --- the learned model, through all of it; bench left a thousand keys
unset FAKE_DLHT_MODEL
check "a model is trained" 0 '*' model train --wait
shows '^OK: epoch [1-9][0-9]* \(published after\|stays\)'
check "it is shown" 0 '*' model show
shows '^keyspace    default$'
shows '^error now   KS 0\.[0-9]*, mean 0\.[0-9]*, max 0\.[0-9]*$'
check "it is shown as JSON" 0 '*' model show --json
for field in 'keyspace": "default"' 'epoch": [1-9]' 'keys": [1-9]' \
    'leaves": [1-9]' 'root": "[a-z]*"' 'leaf": "[a-z]*"' 'ks": [0-9]' \
    'mean_error": [0-9]' 'max_error": [0-9]' 'bytes": [1-9]' 'age_s": [0-9]' \
    'reason": "[a-z-]*"'; do
    shows "\"$field"
done
check "its history" 0 '*' model history --json
shows '"epoch": [1-9]'
check "it is exported" 0 '*' model export "$dir/model"
shows '^OK: [1-9][0-9]* bytes$'
check "and imported" 0 '*' model import "$dir/model"
shows '^OK: epoch [1-9]'
check "it counts" 0 '*' range --count --estimate
shows '^[0-9][0-9]* +- [0-9][0-9]*$'
check "it finds a position" 0 '*' lookup --position 50%
shows '^position       0x[0-9a-f]\{16\} ('
"$cli" range --keys >"$dir/keys.all"
{
    "$cli" range --keys --positions 0..30%
    "$cli" range --keys --positions 30%..75.5%
    "$cli" range --keys --positions 75.5%..100%
} >"$dir/keys.parts" 2>"$dir/err"
cmp -s "$dir/keys.all" "$dir/keys.parts" ||
    { echo "FAILED: positions tile the keyspace"; cat "$dir/err"
      failed=$((failed + 1)); }
check "positions of nothing" 0 '' range --positions 0x100..0x100
check "an option is set" 0 'OK\n' keyspace set default error=0.02
check "and shown" 0 '*' keyspace show default
shows '^error  *0\.02  *0\.01$'
check "an option that is none" 2 '' keyspace set default nonsense=1
says "nonsense"

if [ -n "$real" ]; then
    seq -f 'ahead%06g' 0 29999 | shuf >"$dir/ahead"
    check "a load cuts ahead" 0 '*' load "$dir/ahead" --verbose
    says "[1-9][0-9]* arcs cut ahead"
    check "and is all there" 0 '30000\n' range --count --prefix ahead
fi

# --- balance
check "moves are paused" 0 'OK\n' balance pause
check "and go on" 0 '{"ok": true}\n' balance resume --json
check "they are slowed down" 0 'OK\n' balance set rate=8M
check "and not any more" 0 'OK\n' balance set rate=default
if [ -n "$real" ]; then
    check "paused: the status" 0 'OK\n' balance pause
    check "paused: is said" 0 '*' balance status
    shows '^balancing    paused: only what is missing is made anew, planned by'
    check "paused: is said of all" 0 '*' status
    shows '; balancing is paused$'
    check "resumed" 0 'OK\n' balance resume
    check "as JSON" 0 '*' balance status --json
    for field in 'paused": false' 'moves_count": [0-9]' 'moved_bytes": [0-9]' \
        'moved_hour_bytes": [0-9]' 'ideal_bytes": [0-9]' 'led_most": [0-9]' \
        'held_most": [0-9]' 'slow_down": [0-9]' 'rate": [0-9]' 'waiting": \[\]' \
        'peers": \[{"peer": "127.0.0.1:'; do
        shows "\"$field"
    done
    check "what would be done" 0 '*' balance plan
    shows '^would move   '
    check "with a peer more" 0 '*' balance plan --what-if add=2 --json
    shows '^{"step": "add", "keyspace": "[a-z]*", "arc": [0-9]*, "from": "127'
    shows '^{"peer": "(new 1)", "weight": 2, '
    shows '^{"steps_count": [1-9][0-9]*, "finished": true, "paused": false, '
    check "without the only peer" 2 '' balance plan --what-if "remove=$DLHT_NODE"
    says "no peer would be left"
    check "without a stranger" 2 '' balance plan --what-if remove=nobody:1
    says "no such peer to remove"
    check "with a peer of weight 0" 2 '' balance plan --what-if add=0
    says "add=WEIGHT takes a number of 0.1 to 100"
    check "with what?" 2 '' balance plan --what-if more
    says "what if is add=WEIGHT or remove=HOST:PORT"
    check "too slow" 2 '' balance set rate=1K
    says "rate is bytes a second from 65536 up"
    check "a weight" 0 'OK\n' peer set "$DLHT_NODE" weight=2.5 zone=hall
    check "is in force" 0 '*' peers --json
    shows '"zone": "hall", "weight": 2.5, "leaving": false, '
    check "the weight it was started with" 0 'OK\n' \
        peer set "$DLHT_NODE" weight=default
    check "is in force again, and not the zone" 0 '*' peers --json
    shows '"zone": "hall", "weight": 1, '
    check "no weight" 2 '' peer set "$DLHT_NODE" weight=
    says "weight is a number of 0.1 to 100"
    for w in 0.05 100.5 -1 1e1 2x 1. .5 0.1234; do
        check "no weight: $w" 2 '' peer set "$DLHT_NODE" "weight=$w"
        says "weight is a number of 0.1 to 100"
    done
    check "a long zone" 2 '' peer set "$DLHT_NODE" \
        zone=a-zone-with-a-name-beyond-32-bytes
    says "zone is a name of at most 31 bytes"
    check "a strange option" 2 '' peer set "$DLHT_NODE" colour=red
    says "the options of a peer are weight, zone and leaving"
    check "leaving is not set" 2 '' peer set "$DLHT_NODE" leaving=yes
    says "leave. makes a peer leave"
    check "a stranger" 2 '' peer set nobody:1 weight=2
    says "no such peer"
fi
# --- points and boxes
written='numbers with commas are meant, as in 48.8566,2.3522'
check "a point" 0 'OK\n' box put 3,4 a --key-prefix b/
check "another" 0 'OK\n' box put 5,6 'b c' --key-prefix b/
check "is there" 0 'a\n' box get 3,4 --key-prefix b/
check "as JSON" 0 '{"point": [5,6], "value": "b c"}\n' \
    box get 5,6 --key-prefix b/ --json
check "no such point" 1 '' box get 4,3 --key-prefix b/
says "no such key"
check "not a point, but in its place" 0 'OK\n' put 'b/x' foreign
check "a box" 0 '5,6\tb c\n3,4\ta\n' box range 3,4 5,6 --key-prefix b/
check "without its edges" 0 '' box range 4,5 4,9 --key-prefix b/
check "a box as JSON" 0 '{"point": [3,4], "value": "a"}\n' \
    box range 0,0 4,4 --key-prefix b/ --json
check "counted" 0 '2\n' box range 0,0 9,9 --key-prefix b/ --count
check "counted in JSON" 0 '{"count": 2}\n' box range 0,0 9,9 --key-prefix b/ \
    --count --json
check "limited" 0 '5,6\tb c\n' box range 0,0 9,9 --key-prefix b/ --limit 1
check "in stats" 0 '5,6\tb c\n3,4\ta\n' box range 0,0 9,9 --key-prefix b/ \
    --stats --ranges 1
says '^ranges 1, keys read 2, keys kept 2, parts 1, requests 1, hops 0, cells'
check "removed" 0 'OK\n' box del 3,4 --key-prefix b/
check "removing no point: exit 1" 1 '' box del 3,4 --key-prefix b/
says "no such key"
check "another curve is another key" 1 '' box get 5,6 --key-prefix b/ --curve z
says "no such key"
printf '%b\n' '48.8566,2.3522\tParis' '-17.8,178\tFiji' \
    ' 71.2 , -179.9\tWrangel' '90,0\tpole' '0,180\teast' '0,-180\twest' \
    >"$dir/cities"
check "cities" 0 '*' box load "$dir/cities" --latlon --key-prefix c/
shows '^loaded 6 records in .*, 0 failed$'
check "a city" 0 '48.8566,2.3522\tParis\n' \
    box range 48,2 49,3 --latlon --key-prefix c/
check "over the date line" 0 '3\n' \
    box range -20,175 10,-175 --latlon --key-prefix c/ --count
check "to the pole" 0 '90,0\tpole\n' \
    box range 80,-180 90,180 --latlon --key-prefix c/
check "the earth" 0 '6\n' \
    box range -90,-180 90,180 --latlon --key-prefix c/ --count
space=('--min=-1,0,-10' --max '1,1,10' --bits 20 --curve z --key-prefix d/)
check "bounds of three dimensions" 0 'OK\n' box put -1,0.5,7 deep "${space[@]}"
check "are kept" 0 '-1,0.5,7\tdeep\n' \
    box range -1,0,-10 1,1,10 "${space[@]}"
check "one bound for all" 0 'OK\n' box put 0.25,0.5 s --min 0 --max 1 \
    --key-prefix e/
check "comes back as it was put" 0 '0.25,0.5\ts\n' box range 0,0 1,1 --min 0 \
    --max 1 --key-prefix e/
printf '%b\n' '1,2\tone' bad '1,nan\tx' '1,2,3\tx' '300,1\tx' >"$dir/points"
check "bad lines are counted" 2 '*' box load "$dir/points" --bits 8 \
    --key-prefix f/
shows '^loaded 1 records in .*, 4 failed$'
says "box load: line 2: no tab between key and value"
while IFS='|' read -r why words remedy; do
    # shellcheck disable=SC2086
    check "$why" 2 '' box $words
    says "$remedy"
done <<EOF
one coordinate|put 3 x|a point has 2 to 8 coordinates, as in 3,4
nine|put 1,2,3,4,5,6,7,8,9 x|more than 8 coordinates
no number|put 3,x x|$written
an empty coordinate|get 3,|$written
not a number|put nan,1 x|not a finite number
infinity|range 0,0 1,inf|not a finite number
below the grid|put -1,4 x|is -1, outside 0 to 4294967295 (see --min
past the pole|put 90.1,0 x --latlon|outside -90 to 90
past 180|range 0,0 1,181 --latlon|outside -180 to 180
dims differ|put 1,2,3 x --dims 2|3 coordinates, where 2 are meant (--dims)
corners differ|range 1,2 1,2,3|3 coordinates, where 2 are meant (--dims)
corners upside down|range 5,5 1,9|FROM_POINT is the corner with the least
half a bound|put 1,2 x --min 0|--min and --max go together
bounds upside down|put 1,2 x --min 5 --max 1|--min must be below --max
bounds too close|put 1,2 x --min 1e15 --max 1000000000000001|see --bits
bounds too few|put 1,2,3 x --min 0,0 --max 9|3 numbers are meant
degrees with bounds|put 1,2 x --latlon --min 0 --max 1|leave --min and --max out
degrees in space|put 1,2 x --latlon --dims 3|leave --dims out
too many bits|put 1,2 x --bits 33|a number of 1 to 32 is meant
no such curve|put 1,2 x --curve peano|one of hilbert|z is meant
no verb||put, get, del, range or load
EOF
check "a long prefix" 2 '' box put 1,2 x --key-prefix "$(printf '%065d' 1)"
says "at most 64 are meant"

if [ -z "$real" ]; then
    # --- what the cluster says, word for word
    check "lookup" 0 'keyspace       default
key            a
position       0x6100000000000000 (37.8906 %)
predicted arc  none: no learned model yet
arc            a1 generation 3
               from (begin) to m
owner          127.0.0.1:9000
replicas       127.0.0.1:9000 127.0.0.1:9001
hops           1
model          identity, epoch 0\n' lookup a
    check "lookup as JSON" 0 '*' lookup a --json
    shows '"key": "a", "arc": 161, "lo": "", "hi": "m", '
    shows '"predicted_arc": null, "error": null, "model_epoch": 0'
    for row in 0x1:1 0xfFffFFffffffffff:18446744073709551615 7:7 \
        18446744073709551615:18446744073709551615 0%:0 \
        37.5%:6917529027641081856 100%:18446744073709551615; do
        check "lookup of the position ${row%:*}" 0 '*' \
            lookup --position "${row%:*}" --json
        shows "\"key\": null, .*\"position\": ${row#*:}, "
    done
    check "the ring, two pages" 0 \
'KEYSPACE  ARC  FROM     TO     GEN  OWNER           REPLICAS                       KEYS     SIZE
default    a1  (begin)  m        3  127.0.0.1:9000  127.0.0.1:9000 127.0.0.1:9001    10  1.5 KiB
default    a2  m        (end)    3                  127.0.0.1:9000 127.0.0.1:9001    10    640 B\n' ring
    check "the ring as JSON" 0 '*' ring --json
    shows '"position_hi": 18446744073709551615}$'
    [ "$(wc -l <"$dir/out")" = 2 ] || { echo "FAILED: a line an arc"; failed=1; }
    check "peers" 0 '*' peers
    shows '^127.0.0.1:9001  012345678\.\.\.  suspect  z1 * 1.5 '
    check "peers as JSON" 0 '*' peers --json
    shows '"weight": 1.5, "arcs_led": 1, '
    check "status" 0 '*' status
    shows '^peers       2 up, 1 down$'
    shows '^arcs        2, 1 under-replicated, 0 unavailable$'
    [ "$(tail -1 "$dir/out")" = "1 arc is under-replicated" ] ||
        { echo "FAILED: status ends in its verdict"; failed=1; }
    check "status as JSON keeps what it does not know" 0 '*' status --json
    shows '"safe_to_stop": false, .*"news": "a field of a later version"}$'
    check "keyspaces" 0 \
        'NAME     PLACEMENT  ID  REPLICAS  ARCS  KIND
default  ordered     1         3     2  durable
l2       ordered     2         3     2  vectors of 3 numbers\n' keyspace list
    check "the other name" 0 '*' keyspaces
    check "a new keyspace" 0 'OK\n' keyspace create k --placement hashed \
        --replicas 3
    check "one that is there" 4 '' keyspace create default
    says "exists already"
    check "replicas 2" 2 '' keyspace create k --replicas 2
    says "1, 3 or 5"
    check "dropped" 0 'OK\n' keyspace drop k
    check "options" 0 'OPTION  VALUE  DEFAULT
error   0.02   0.01
stale   off    86400\n' keyspace show default
    check "options as JSON" 0 '{"option": "error", "value": "0.02", "default": "0.01"}
{"option": "stale", "value": "off", "default": "86400"}\n' \
        keyspace show default --json
    export FAKE_DLHT_TOLD=$dir/told
    check "options set" 0 'OK\n' keyspace set k error=0.02 stale= 'hot-leaf=a=b'
    printf 'k error=0.02\nk stale=\nk hot-leaf=a=b\n' | told
    check "as JSON" 0 '{"ok": true}\n' keyspace set k error=off --json
    check "no such option" 2 '' keyspace set k error=off nonsense=1
    says "no such option: nonsense"

    # --- balance
    check "a peer is set" 0 'OK\n' peer set h:1 weight=2 zone=a=b
    printf 'h:1 weight=2\nh:1 zone=a=b\n' | told
    check "a rate" 0 'OK\n' balance set rate=2M
    echo 'set 2097152' | told
    check "no rate of its own" 0 'OK\n' balance set rate=default
    echo 'set 0' | told
    check "a plan" 0 'STEP   KEYSPACE  ARC  FROM            TO              KEYS     SIZE  WHY
add    default    a1  127.0.0.1:9000  127.0.0.1:9001    10  1.5 KiB  from a fuller peer to an emptier one
merge  default    a1                  a2                10  1.5 KiB  from a fuller peer to an emptier one
... and 1 more

PEER            WEIGHT     FAIR    HOLDS     THEN  LEADS     THEN
127.0.0.1:9000     1.5  2.0 KiB  1.0 KiB  2.0 KiB    0 B  1.0 KiB

would move   3.0 KiB in 3 steps; the least is 3.0 KiB: 1.00 of it
now          led 0.50 to 1.50 of the mean, held 0.50 to 1.50
then         led 0.75 to 1.25 of the mean, held 0.75 to 1.25
balancing is paused: only what is missing is made anew until `balance resume`\n' \
        balance plan
    check "what if" 0 '*' balance plan --what-if add=1,remove=h:1
    shows '^remove=h:1 '
    check "a plan as JSON" 0 '*' balance plan --json
    shows '^{"step": "add", .*"into": null, .*"bytes": 1536}$'
    shows '^{"peer": "127.0.0.1:9000", "weight": 1.5, '
    shows '^{"steps_count": 3, .*"ratio": 1, "before": {.*}}$'
    check "its status" 0 '*' balance status
    shows '^balancing    on, planned by 127.0.0.1:9000$'
    shows '^  add   default    a1  127.0.0.1:9001    10  1.5 KiB  4 s  its peer leaves$'
    shows '^moved        1.0 KiB .* the least was 1.0 KiB: 1.00 of it; 2.0 KiB in the last hour$'
    shows '^slowed down  by 2: requests take long; a peer sends at most 1.0 MiB a second$'
    shows '^down         127.0.0.1:9002, 3 copies: awaited for 120 s more$'
    check "its status as JSON" 0 '*' balance status --json
    shows '^{"paused": false, '
    check "paused" 0 'OK\n' balance pause
    echo pause | told

    # --- the learned model
    check "the model" 0 'keyspace    default
epoch       3
keys        20000
shape       cubic root, 128 linear leaves, 1.5 KiB
error now   KS 0.002500, mean 0.000500, max 0.002500
trained     5 min ago in 42 ms, because: volume
trained by  127.0.0.1:9000
distance    0.125000 from the one before
lies        1 claims were scaled down
triggers    first 1, volume 2\n' model show
    check "the model as JSON" 0 '*' model show --json
    shows '^{"keyspace": "default", "epoch": 3, .*"root": "cubic", .*"ks": 0.0025, .*"age_s": 300'
    export FAKE_DLHT_MODEL=none
    check "no model" 0 'keyspace    default
epoch       none: no model is trained yet
triggers    none fired\n' model show
    check "no model as JSON" 0 '*' model show --json
    shows '"epoch": 0, "ks": null, "reason": "none"'
    check "no model to export" 4 '' model export "$dir/packed"
    says "there is no model"
    [ ! -e "$dir/packed" ] || { echo "FAILED: no file is made"; failed=1; }
    check "no positions without a model" 4 '' range --positions 0..1
    says "there is no model"
    check "no estimate without a model" 4 '' range --count --estimate
    says "there is no model"
    export FAKE_DLHT_MODEL=stays
    check "training that publishes nothing" 0 \
        'OK: epoch 3 stays: it hardly differs\n' model train --wait
    export FAKE_DLHT_MODEL=bad
    check "a strange answer to export" 4 '' model export "$dir/packed"
    says "the answer is no model"
    check "a strange model" 0 '*' model show
    check "a strange history" 0 '*' model history
    check "a strange round" 0 '*' model train
    unset FAKE_DLHT_MODEL
    check "training" 0 'OK: begun; the epoch is 3 until it is published\n' \
        model train
    check "training, awaited" 0 'OK: epoch 4 published after 42 ms\n' \
        model train --wait
    check "training as JSON" 0 \
        '{"epoch": 4, "published": true, "reason": "force", "took_ms": 42}\n' \
        model train --wait --json
    check "history" 0 \
'EPOCH   AGE  REASON   KEYS  LEAVES     SIZE  MOVED      KS  MEAN ERROR     MAX   TOOK  TRAINED BY
    3  42 s  volume  20000     128  1.5 KiB  0.125  0.0025      0.0005  0.0025  42 ms  127.0.0.1:9000
    2  25 h  first   20000     128  1.5 KiB      -  0.0025      0.0005  0.0025  42 ms  127.0.0.1:9000\n' \
        model history
    check "history as JSON" 0 '*' model history --json
    shows '"epoch": 2, .*"distance": null, '
    check "export" 0 '*' model export "$dir/packed"
    size=$(stat -c %s "$dir/packed")
    shows "^OK: $size bytes$"
    check "export as JSON" 0 "{\"ok\": true, \"bytes\": $size}\n" \
        model export "$dir/packed" --json
    check "export to standard output" 0 '*' model export -
    cmp -s "$dir/packed" "$dir/out" ||
        { echo "FAILED: both exports are the same"; failed=$((failed + 1)); }
    check "export to nowhere" 2 '' model export "$dir/none/packed"
    says "cannot be written"
    check "import" 0 'OK: epoch 5\n' model import "$dir/packed"
    check "import as JSON" 0 '{"epoch": 5}\n' model import "$dir/packed" --json
    "$cli" model import - <"$dir/packed" >"$dir/out" 2>"$dir/err"
    judge "import from standard input" 0 'OK: epoch 5\n' $?
    head -c $((size - 1)) "$dir/packed" >"$dir/short"
    check "import of a part" 2 '' model import "$dir/short"
    says "/short is no model, or was changed or cut short"
    check "import of something else" 2 '' model import "$dir/keys"
    says "is no model"
    check "an estimate" 0 "$("$cli" range --count) +- 3\n" \
        range --count --estimate
    check "an estimate as JSON" 0 '*' range --count --estimate --json
    shows '^{"count": [0-9]*, "error": 3}$'

    # --- cutting ahead: 2 arcs there, 2 peers up
    export FAKE_DLHT_FILE=$dir/ahead
    shuf -i 0-29999 --random-source=<(yes) | sed 's/^/00000/; s/.*\(.....\)$/k\1/' \
        >"$dir/many"
    ahead "16 arcs of 30,000 lines" "$dir/many" 30000 15
    ahead "as many as are told" "$dir/many" 30000 3 --arcs 4
    ahead "none has fewer than 1,000 records" "$dir/many" 30000 29 --arcs 4096
    ahead "not if there are as many already" "$dir/many" 30000 0 --arcs 2
    ahead "not if told so" "$dir/many" 30000 0 --no-presplit
    head -19999 "$dir/many" >"$dir/few"
    ahead "not of few lines" "$dir/few" 19999 0
    sed 's/.*/same\t&/' "$dir/many" >"$dir/same"
    ahead "nor of one key only" "$dir/same" 1 0 --format tsv
    ahead "from a pipe" - 30000 15 <"$dir/many"
    # shellcheck disable=SC2002 # it is a pipe that is meant
    cat "$dir/many" | ahead "that cannot seek" - 30000 15
    sort "$dir/many" >"$dir/sorted"
    # shellcheck disable=SC2002
    cat "$dir/sorted" | ahead "whole, though in order" - 30000 15
    # 10,000 records more than are held back, of keys seen before.
    cat "$dir/many" "$dir/many" "$dir/many" "$dir/many" >"$dir/long"
    # shellcheck disable=SC2002
    cat "$dir/long" | ahead "of a pipe's beginning" - 30000 15
    sed 's/.*/&\n&\n&\n&/' "$dir/sorted" | ahead "but not in order" - 30000 0
    # The cuts are where the quantiles are, within five times the noise of a
    # sample of 10,000.
    ahead "to see where" "$dir/many" 30000 15
    awk '{ k = substr($1 "00000", 2, 5) + 0; want = NR * 1875
           if (k < want - 750 || k > want + 750) exit 1 }' "$dir/told" ||
        { echo "FAILED: cuts off the quantiles:"; cat "$dir/told"
          failed=$((failed + 1)); }
    check "it is said if asked for" 0 '*' load "$dir/many" --verbose
    says "15 arcs cut ahead, by a sample of 10000 of 30000 records"
    rm -f "$dir/ahead"
    unset FAKE_DLHT_TOLD
    check "an old cluster" 0 '*' load "$dir/many" --verbose
    says "not cut ahead: "
    shows '^loaded 30000 records'
    export FAKE_DLHT_FILE=$dir/records
    check "leave tells its progress" 0 \
        '2 replicas left\n1 replica left\nOK: h:1 may be stopped\n' leave h:1
    check "recover says what would be lost" 4 '*' recover 3
    shows '^  h:1  *voter    down for 90 s$'
    shows '^would go on alone with the copy on h:2: log to entry 9 of term 2'
    shows '^nothing was done; with --accept-loss it is$'
    check "recover does it" 0 '*' recover 0000000000000003 --accept-loss
    shows '^OK: generation 4294967300;'
    check "recover without a copy" 0 '*' recover 4 --accept-loss --empty
    shows '^goes on with nothing in it$'
    check "recover as JSON" 4 '*' recover 3 --json
    shows '"done": false'
    check "recover is refused" 4 '' recover 5 --accept-loss
    says "it has an owner"

    # --- failures of each kind
    check "outcome unknown" 3 '' put !unknown x
    says "outcome unknown: it may or may not have taken effect"
    check "as JSON" 3 '*' put !unknown x --json
    shows '"outcome": "unknown"}$'
    check "time ran out" 3 '' get !timeout
    says "time ran out"
    check "no owner" 3 '' get !unavailable
    check "refused" 4 '' put !full x
    says "no room"
    check "no such keyspace" 4 '' -k other get a
    says "no such keyspace"
    check "no peer" 3 '' -n dead:1 get a
    says "dead:1: connection refused; is a node running there?"
    check "no peer, as JSON" 3 '*' -n dead:1 get a --json
    shows '"outcome": "failed"}$'
    printf '%s\n' a b '!busy' c >"$dir/busy"
    check "a busy batch is sent again" 0 '*' load "$dir/busy"
    shows '^loaded 4 records .* 0 failed$'
    printf '%s\n' '!full' d e >"$dir/full"
    check "a refused batch is counted" 4 '*' load "$dir/full"
    shows '^loaded 0 records .* 3 failed$'
fi

if [ -e /dev/full ]; then
    "$cli" --version >/dev/full 2>"$dir/err"
    code=$?
    : >"$dir/out"
    judge "a full disk is an error" 4 '' $code
    says "standard output cannot be written"
fi

[ ! -e "$dir/ahead.failed" ] || failed=$((failed + 1))
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
