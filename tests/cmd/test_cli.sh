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
check "positions are for later" 2 '' range --positions 0..1
says "needs the learned model"
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
says "keyspace what? create, list or drop"
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
    "keyspace create" "keyspace list" "keyspace drop" keyspaces leave bench \
    ping; do
    # shellcheck disable=SC2086
    check "help of $verb" 0 '*' $verb --help
    shows "^usage: dlht-cli .* $verb"
done

# --- bench, in little
for load in get put mixed range; do
    check "bench $load" 0 '*' bench --workload $load --seconds 1 --keys 1000 \
        --clients 2 --pipeline 4 --json
    shows '^{"ops": [1-9][0-9]*, "errors": 0, "seconds": [1-2]'
done
check "bench, sequential" 0 '*' bench --seconds 1 --keys 100 --no-load \
    --distribution sequential
shows '^latency  p50 [0-9]* us'
check "bench, zipf" 0 '*' bench --seconds 1 --keys 1000 --distribution zipf
shows ' 0 errors$'

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
    check "lookup of a position is for later" 2 '' lookup --position 0x1
    says "needs the learned model"
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
default  ordered     1         3     2  durable\n' keyspace list
    check "the other name" 0 '*' keyspaces
    check "a new keyspace" 0 'OK\n' keyspace create k --placement hashed \
        --replicas 3
    check "one that is there" 4 '' keyspace create default
    says "exists already"
    check "replicas 2" 2 '' keyspace create k --replicas 2
    says "1, 3 or 5"
    check "dropped" 0 'OK\n' keyspace drop k
    check "leave tells its progress" 0 \
        '2 replicas left\n1 replica left\nOK: h:1 may be stopped\n' leave h:1

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

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
