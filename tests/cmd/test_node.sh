#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# dlht-node through its command line: what it prints, what it refuses and with
# which exit code, how it stops.
#
#     test_node.sh DLHT_NODE
set -euo pipefail
node=$1
dir=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$dir"' EXIT
failures=0

complain() {
    echo "test_node: $*" >&2
    failures=$((failures + 1))
}

# refused CODE WORD ARGS...: exits with CODE, one line on stderr with WORD.
refused() {
    local want=$1 word=$2 code=0
    shift 2
    timeout 20 "$node" "$@" >"$dir/out" 2>"$dir/err" || code=$?
    [ "$code" = "$want" ] || complain "$* exits with $code, not $want"
    grep -qF -- "$word" "$dir/err" ||
        complain "$*: '$word' is not named: $(cat "$dir/err")"
    [ "$(wc -l <"$dir/err")" = 1 ] ||
        complain "$*: not one line: $(cat "$dir/err")"
    [ ! -s "$dir/out" ] || complain "$*: speaks on stdout"
}

# started ARGS...: runs it in the background and waits for its address.
started() {
    : >"$dir/ready" # the background job may be slow to empty it
    "$node" "$@" >"$dir/ready" 2>"$dir/err" &
    pid=$!
    for _ in $(seq 200); do
        [ -s "$dir/ready" ] && break
        sleep 0.05
    done
    read -r word address <"$dir/ready" || true
    [ "${word:-}" = ready ] || complain "$*: is not ready: $(cat "$dir/err")"
}

stopped() {
    local code=0
    kill -"$1" "$pid"
    wait "$pid" || code=$?
    [ "$code" = 0 ] || complain "after SIG$1 it exits with $code"
}

"$node" --version | grep -q '^dlht-node [0-9]' || complain "no version"
for option in listen advertise down-out bootstrap data-dir durability socket vnodes \
    weight replicas zone map memory-limit redis http config log-level \
    log-format join-timeout; do
    "$node" --help | grep -q -- "--$option " || complain "no help of --$option"
done

refused 2 "--bogus" --bogus
refused 2 "bogus" bogus
refused 2 "--listen" --listen
refused 2 "nonsense" --listen nonsense
refused 2 "--advertise" --listen 0.0.0.0:0
refused 2 "192.0.2.77" --listen 192.0.2.77:9999
refused 2 "--http" --http 127.0.0.1:0
refused 2 "192.0.2.77" --listen 127.0.0.1:0 --redis 192.0.2.77:9999
refused 2 "Redis" --redis nonsense
refused 2 "--redis-db" --redis-db 16=x
refused 2 "--redis-ask" --redis-ask maybe
refused 2 "replicas" --listen 127.0.0.1:0 --replicas 2
refused 2 "--vnodes" --vnodes many
refused 2 "weight" --listen 127.0.0.1:0 --weight 1000
refused 2 "--map" --map flat
refused 2 "--memory-limit" --memory-limit 1X
refused 2 "--down-out" --down-out 5y
refused 2 "--durability" --durability often
refused 2 "--data-dir" --listen 127.0.0.1:0 --durability sync
refused 2 "HOST:PORT" --listen "unix:$dir/socket"
refused 2 "HOST:PORT" --listen 127.0.0.1:0 --bootstrap "unix:$dir/socket"
refused 2 "$dir/none/socket" --listen 127.0.0.1:0 --socket "$dir/none/socket"
refused 2 "1 to 58 bytes" --listen 127.0.0.1:0 \
    --socket "/tmp/$(printf 'x%.0s' $(seq 60))"
echo kept >"$dir/file"
refused 2 "$dir/file" --listen 127.0.0.1:0 --socket "$dir/file"
[ "$(cat "$dir/file")" = kept ] || complain "--socket harmed a file"
refused 2 "/proc/x" --listen 127.0.0.1:0 --data-dir /proc/x
refused 2 "$dir/none" --config "$dir/none"
refused 2 "--log-level" --log-level loud
refused 2 "--help" --help=1
refused 3 "127.0.0.1:1" --listen 127.0.0.1:0 --bootstrap 127.0.0.1:1 \
    --join-timeout 300ms --log-level error

cat >"$dir/config" <<'TEXT'
# a comment
listen = 127.0.0.1:1
log-format = json

memory-limit=512M
TEXT
started --config "$dir/config" --listen 127.0.0.1:0 --data-dir "$dir/data"
case $address in
127.0.0.1:1) complain "the config file wins over the command line" ;;
127.0.0.1:*) ;;
*) complain "ready at '$address'" ;;
esac
refused 2 "$address" --listen "$address"
refused 2 "$dir/data" --listen 127.0.0.1:0 --data-dir "$dir/data"
stopped TERM
# What can be done without is no reason not to start.
mkdir "$dir/data/graph-0000000000000007.tmp"
started --listen 127.0.0.1:0 --data-dir "$dir/data"
stopped INT
grep -q "file of a graph is passed over" "$dir/err" || complain "does not say so"
rmdir "$dir/data/graph-0000000000000007.tmp"

# A socket is its owner's; one whose owner was killed is taken over.
started --listen 127.0.0.1:0 --socket "$dir/socket"
refused 2 "$dir/socket" --listen 127.0.0.1:0 --socket "$dir/socket"
[ -S "$dir/socket" ] || complain "no socket at $dir/socket"
kill -KILL "$pid"
wait "$pid" || true
started --listen 127.0.0.1:0 --socket "$dir/socket"
stopped TERM
[ ! -e "$dir/socket" ] || complain "the socket stays behind"

started --listen 127.0.0.1:0
grep -q "memory" "$dir/err" || complain "does not say that it keeps nothing"
stopped TERM
started --listen 0.0.0.0:0 --advertise 127.0.0.1:4 --log-format json \
    --log-level info
stopped TERM
grep -q '^{"time":"[^"]*","level":"info","message":"' "$dir/err" ||
    complain "no JSON: $(cat "$dir/err")"

for line in "bogus = 1" "listen" "listen =" "replicas = two"; do
    echo "$line" >"$dir/config"
    refused 2 "$dir/config:1" --config "$dir/config"
done

[ "$failures" = 0 ] && echo "dlht-node: all as told"
exit $((failures != 0))
