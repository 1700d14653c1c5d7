#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The Redis protocol of dlht-node, held against the redis-server of Debian.

  test_redis.py DLHT_NODE bytes     the same requests at both, the same bytes
  test_redis.py DLHT_NODE clients   redis-cli, redis-benchmark, redis-py

Exit 77: redis-server, redis-cli or redis-py is not installed."""

import contextlib
import fcntl
import logging
import os
import pty
import random
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time

NODE = sys.argv[1]
failures = []


def check(good, what):
    if not good:
        failures.append(what)
        print("does not hold:", what, file=sys.stderr)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def free_row(count):
    """The first of so many ports that are free side by side."""
    while True:
        base = random.randrange(20000, 30000)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for i in range(count):
                s = stack.enter_context(socket.socket())
                s.bind(("127.0.0.1", base + i))
            return base


@contextlib.contextmanager
def process(command, said=None):
    """Runs while the block does; waits until it has said so."""
    child = subprocess.Popen(command, stdout=subprocess.PIPE,
                             stderr=None if command[0] == NODE
                             else subprocess.DEVNULL, text=True)
    try:
        while said and said not in (line := child.stdout.readline()):
            if not line:
                raise RuntimeError(f"{command[0]} ended")
        yield child
    finally:
        child.terminate()
        child.wait(20)
        child.stdout.close()


@contextlib.contextmanager
def node(*options):
    port, redis = free_port(), free_port()
    with process([NODE, "--listen", f"127.0.0.1:{port}", "--redis",
                  f"127.0.0.1:{redis}", *options], "ready") as child:
        yield redis, port, child.pid


@contextlib.contextmanager
def redis_server():
    port = free_port()
    with tempfile.TemporaryDirectory() as at, process(
            ["redis-server", "--port", str(port), "--save", "", "--dir", at],
            "Ready to accept"):
        yield port


class Conn:
    """One connection, which reads whole answers as they are."""

    def __init__(self, port):
        self.s = socket.create_connection(("127.0.0.1", port), 60)
        self.s.settimeout(60) # where a sanitizer watches
        self.held = b""

    def fill(self):
        more = self.s.recv(1 << 16)
        if not more:
            raise EOFError
        self.held += more

    def line(self):
        while b"\r\n" not in self.held:
            self.fill()
        line, self.held = self.held.split(b"\r\n", 1)
        return line + b"\r\n"

    def bytes(self, n):
        while len(self.held) < n:
            self.fill()
        out, self.held = self.held[:n], self.held[n:]
        return out

    def answer(self):
        line = self.line()
        kind, rest = line[:1], line[1:-2]
        if kind in b"$=" and rest != b"-1":
            return line + self.bytes(int(rest) + 2)
        count = {b"*": 1, b"~": 1, b">": 1, b"%": 2}.get(kind)
        if count and rest != b"-1":
            return line + b"".join(self.answer()
                                   for _ in range(count * int(rest)))
        return line

    def send(self, *words):
        self.s.sendall(pack(words))

    def ask(self, *words):
        self.send(*words)
        return self.answer()

    def rest(self):
        """All until the other side closes."""
        try:
            while True:
                self.fill()
        except (EOFError, ConnectionResetError):
            return self.held


def pack(words):
    words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
    return b"*%d\r\n" % len(words) + b"".join(
        b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


# A line a request; those of one block are one connection's, which begins
# with nothing stored. Words as Python's; spaces part them.
BLOCKS = [
    "PING|PING hello|PING a b|ECHO x|ECHO|ECHO a b|ping|PiNg",
    "NOSUCH|NOSUCH a b c|nosuch 'x' y|GET|GET a b|SET a|SET|CONFIG|OBJECT",
    "SELECT 0|SELECT 99|SELECT x|SELECT -1",
    "AUTH x|AUTH default x|AUTH nobody x|AUTH a b c|HELLO x|HELLO 4|"
    "HELLO 2 FOO|HELLO 3 AUTH nobody x|RESET",
    "GET a|SET a 1|GET a|SET a 2 NX|SET b 3 NX|GET b|SET c 1 XX|SET a 5 XX|"
    "GET a|SET a 6 GET|SET zz 1 GET|SET zz 2 NX GET|SET a 7 XX GET|GET a|"
    "SET a 1 NX XX|SET a 1 FOO|SET a 1 EX|SET a 1 EX 0|SET a 1 EX x|"
    "SET a 1 EX -1|SET a 1 PX 0|SET a 1 EXAT -5|SET a 1 EX 10 PX 10|"
    "SET a 1 KEEPTTL EX 10|SET a 1 EX 9223372036854775807|SET a 8 KEEPTTL|"
    "GET a|SET a 1 GET GET",
    "SETNX a 1|SETNX a 2|GET a|GETSET a 3|GETSET q 1|GETDEL a|GETDEL a|GET a|"
    "GETEX q|GETEX nope|GETEX q PERSIST|GETEX q FOO|GETEX q EX|GETEX q EX 0|"
    "GETEX q PERSIST EX 1|GETDEL|GETSET a",
    "STRLEN a|SET a hello|STRLEN a|APPEND a -world|GET a|APPEND n x|GET n|"
    "GETRANGE a 0 3|GETRANGE a -5 -1|GETRANGE a 3 1|GETRANGE a -1 -5|"
    "GETRANGE a 0 -100|GETRANGE a 0 100|GETRANGE nope 0 1|GETRANGE a x 1|"
    "SUBSTR a 1 2|GETRANGE a 100 200|GETRANGE a -100 2",
    "SETRANGE a 0 hi|GET a|SETRANGE a 4 x|GET a|SETRANGE a -1 x|"
    "SETRANGE nope 5 ''|EXISTS nope|SETRANGE a 1 ''|SETRANGE a x y|"
    "SETRANGE a 600000000 x|GET a",
    "INCR n|INCR n|INCRBY n 10|DECR n|DECRBY n 5|GET n|INCRBY n x|"
    "SET s abc|INCR s|SET big 9223372036854775807|INCR big|DECRBY big -1|"
    "DECRBY n -9223372036854775808|SET sp ' 1'|INCR sp|SET z 01|INCR z|"
    "SET neg -9223372036854775808|DECR neg|INCRBY neg -1|INCR neg|"
    "INCRBY m 9223372036854775807|INCRBY m 9223372036854775808",
    "INCRBYFLOAT f 10.5|INCRBYFLOAT f 0.1|INCRBYFLOAT f -5|GET f|"
    "SET f 5.0e3|INCRBYFLOAT f 2.0e2|INCRBYFLOAT f x|SET s abc|"
    "INCRBYFLOAT s 1|INCRBYFLOAT i 3|INCRBYFLOAT i 1e-17|INCRBYFLOAT i inf|"
    "INCRBYFLOAT i nan|INCRBYFLOAT k 0|INCRBYFLOAT k -0.5|INCRBYFLOAT k 0.5|"
    "SET w '1 '|INCRBYFLOAT w 1|INCRBYFLOAT x 0x10",
    "MSET a 1 b 2 c 3|MGET a b c d|MGET a a|MSET a|MSET a 1 b|MSETNX x 1 a 2|"
    "EXISTS x|MSETNX x 1 y 2|MGET x y|MSETNX p 1 p 2|GET p|MSET d 1 d 2|GET d|"
    "MSETNX a 1 b|MGET",
    "MSET a 1 b 2 c 3|EXISTS a b x a|DEL a x|DEL a|UNLINK b c|EXISTS a b c|"
    "TOUCH a|SET a 1|TOUCH a a b|DEL|TYPE a|TYPE b|DEL a a",
    "SET a 1|RENAME a b|GET a|GET b|RENAME nope x|SET c 2|RENAMENX b c|"
    "RENAMENX b d|GET d|RENAME d d|RENAMENX d d|RENAME nope nope|COPY d e|"
    "COPY d e|COPY d e REPLACE|COPY nope z|COPY d d|COPY d e DB x|"
    "COPY d e FOO|GET e|COPY d e REPLACE DB 0|RENAMENX nope a",
    "SET a 1|TTL a|PTTL a|TTL nope|PTTL nope|EXPIRETIME a|PEXPIRETIME nope|"
    "PERSIST a|PERSIST nope|EXPIRE nope 10|EXPIRE a x|EXPIRE a 10 FOO|"
    "EXPIRE a 10 NX XX|EXPIRE a 10 GT LT|EXPIRE a -1|GET a|SET a 1|"
    "EXPIRE a 0|EXISTS a|SET a 1|EXPIREAT a 1|EXISTS a|SETEX a 0 x|"
    "SETEX a -1 x|SETEX a x y|PSETEX a 0 x|SETEX a|SET b 1|PEXPIREAT b 5|"
    "GET b|EXPIRE a 9223372036854775807|SET c 1 EXAT 1|GET c|"
    "EXPIRE a 10 XX|SET d 1|EXPIRE d 10 XX|EXPIRE d 10 GT|TTL d",
    "SET a 12|OBJECT ENCODING a|SET b abc|OBJECT ENCODING b|SET c "
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx|"
    "OBJECT ENCODING c|OBJECT ENCODING nope|OBJECT REFCOUNT nope|"
    "OBJECT FREQ a|OBJECT FOO a|OBJECT HELP|"
    "MEMORY USAGE nope|MEMORY FOO|MEMORY USAGE a SAMPLES x",
    "DBSIZE|SET a 1|DBSIZE|KEYS *|KEYS b*|RANDOMKEY|FLUSHDB|DBSIZE|RANDOMKEY|"
    "FLUSHALL ASYNC|FLUSHDB SYNC|FLUSHALL FOO|KEYS|FLUSHDB a b|DBSIZE x",
    "SCAN 0|SET a 1|SCAN 0|SCAN 0 MATCH b*|SCAN 0 TYPE string|"
    "SCAN 0 TYPE hash|SCAN 0 COUNT 0|SCAN 0 COUNT x|SCAN 0 FOO|SCAN x|SCAN|"
    "SCAN 0 MATCH|SCAN 0 MATCH a COUNT 5",
    "MULTI|SET a 1|INCR a|GET a|EXEC|GET a|EXEC|DISCARD|MULTI|SET a 9|"
    "DISCARD|GET a|MULTI|MULTI|EXEC|MULTI|NOSUCH|SET a 1|EXEC|MULTI|GET|"
    "EXEC|MULTI|SET s x|INCR s|GET s|EXEC|MULTI|EXEC|MULTI|PING|ECHO hi|"
    "MGET a b|DEL a b|EXISTS a|EXEC|WATCH a|MULTI|WATCH b|SET a 2|EXEC|"
    "UNWATCH|WATCH|MULTI|SETRANGE r 2 x|APPEND r y|STRLEN r|RENAME r t|"
    "GET t|GETDEL t|TYPE t|EXEC|MULTI|SELECT 0|GET s|EXEC",
    "WATCH a|SET a 1|MULTI|GET a|EXEC|WATCH b|MULTI|SET b 1|EXEC|GET b|"
    "WATCH b|UNWATCH|SET b 2|MULTI|GET b|EXEC|WATCH b|RESET|GET b",
    "CLIENT GETNAME|CLIENT SETNAME x|CLIENT GETNAME|CLIENT SETNAME 'a b'|"
    "CLIENT FOO|CLIENT|CLIENT ID x|CLIENT REPLY ON|CLIENT REPLY x|"
    "CLIENT KILL 1.2.3.4:5|CLIENT KILL ID x|CLIENT KILL FOO BAR|"
    "CLIENT NO-EVICT on|CLIENT NO-EVICT x|CLIENT GETREDIR|CLIENT UNBLOCK 5|"
    "CLIENT TRACKING off|CLIENT SETNAME ''|CLIENT GETNAME",
    "CONFIG GET save|CONFIG GET appendonly|CONFIG GET nosuch|CONFIG GET|"
    "CONFIG SET nosuch 1|CONFIG RESETSTAT|CONFIG FOO|CONFIG REWRITE",
    "SLOWLOG LEN|SLOWLOG GET|SLOWLOG RESET|SLOWLOG FOO|LATENCY LATEST|"
    "LATENCY RESET|LATENCY HISTORY x|LATENCY FOO|WAIT 0 0|WAIT x 0|"
    "WAIT 0 x|WAIT 0 -1",
    "COMMAND COUNT x|COMMAND FOO|COMMAND GETKEYS GET a|"
    "COMMAND GETKEYS MSET a 1 b 2|COMMAND GETKEYS PING|"
    "COMMAND GETKEYS NOSUCH a|COMMAND GETKEYS GET|COMMAND INFO nosuch",
    "SET {a 1|GET {a|SET 'sp ace' 1|GET 'sp ace'|SET bin '\\x00\\r\\n'|GET bin",
]

# Bytes as they go over the wire; what comes back until the other side closes
# must be the same.
RAW = [
    b"PING\r\nQUIT\r\n",
    b"PING\nQUIT\n",
    b"\r\n\r\nPING\r\nQUIT\r\n",
    b"SET a 'x y'\r\nGET a\r\nQUIT\r\n",
    b"SET a \"\\x41\\n\\\"\"\r\nGET a\r\nQUIT\r\n",
    b"SET a \"x\r\nQUIT\r\n",
    b"SET a \"x\"y\r\nQUIT\r\n",
    b"SET a 'it\\'s'\r\nGET a\r\nQUIT\r\n",
    b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nQUIT\r\n",
    b"*0\r\n*-1\r\n*1\r\n$4\r\nQUIT\r\n",
    b"*x\r\n",
    b"*1\r\nPING\r\n",
    b"*1\r\n$-1\r\n",
    b"*1\r\n$x\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n",
    b"*99999999999999999999\r\n",
    b"*1\r\n$99999999999\r\n",
    b"*" + b"1" * 70000,
    b"x" * 70000,
    b"QUIT\r\nPING\r\n",
    b"PING\r\nFOO\r\nGET\r\nQUIT\r\n",
    b"SET a 1\r\nINCR a\r\nGET a\r\nAPPEND a x\r\nGET a\r\nDEL a\r\nGET a\r\n"
    b"QUIT\r\n",
    b"CLIENT REPLY OFF\r\nPING\r\nCLIENT REPLY ON\r\nPING\r\nQUIT\r\n",
    b"CLIENT REPLY SKIP\r\nSET a 1\r\nGET a\r\nQUIT\r\n",
    b"MULTI\r\nSET a 1\r\nGET a\r\nEXEC\r\nQUIT\r\n",
    b"".join(b"SET k%d %d\r\nGET k%d\r\nINCR k%d\r\n" % (i, i, i, i % 7)
             for i in range(500)) + b"QUIT\r\n",
]


def words_of(line):
    """'quoted' words and \\escapes."""
    out, word, quoted, begun = [], "", False, False
    for c in line:
        if c == "'":
            quoted, begun = not quoted, True
        elif c == " " and not quoted:
            if begun or word:
                out.append(word)
            word, begun = "", False
        else:
            word += c
    if begun or word:
        out.append(word)
    return [w.encode().decode("unicode_escape").encode("latin1") for w in out]


# What differs on purpose; each line is in docs/redis.md.
EXPECTED = {
    "CONFIG GET save": b"*2\r\n$4\r\nsave\r\n$0\r\n\r\n",
}


def compare_blocks(ours, theirs, resp3):
    for block in BLOCKS:
        mine, yours = Conn(ours), Conn(theirs)
        for conn in (mine, yours):
            conn.ask("FLUSHALL")
            if resp3:
                conn.ask("HELLO", "3")
        for line in block.split("|"):
            words = words_of(line)
            got, want = mine.ask(*words), yours.ask(*words)
            want = EXPECTED.get(line, want) if not resp3 else want
            check(got == want or (resp3 and line in EXPECTED),
                  f"{line}{' (RESP3)' if resp3 else ''}: {got!r}, "
                  f"redis: {want!r}")


def compare_raw(ours, theirs):
    for raw in RAW:
        answers = []
        for port in (ours, theirs):
            conn = Conn(port)
            conn.ask("FLUSHALL")
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                conn.s.sendall(raw)
                conn.s.shutdown(socket.SHUT_WR)
            answers.append(conn.rest())
        check(answers[0] == answers[1],
              f"{raw[:60]!r}: {answers[0][-200:]!r}, redis: "
              f"{answers[1][-200:]!r}")


def compare_pieces(ours, theirs):
    """A pipeline that comes byte by byte, and one in a single piece."""
    said = b"".join(pack(w) for w in (
        ("SET", "k", "v" * 100), ("GET", "k"), ("INCR", "n"), ("INCR", "n"),
        ("MSET", "a", "1", "b", "2"), ("MGET", "a", "b", "zz"),
        ("DEL", "a", "b"), ("STRLEN", "k"), ("QUIT",)))
    answers = []
    for port, step in ((ours, 1), (ours, 7), (ours, len(said)),
                       (theirs, len(said))):
        conn = Conn(port)
        conn.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        conn.ask("FLUSHALL")
        for at in range(0, len(said), step):
            conn.s.sendall(said[at:at + step])
        answers.append(conn.rest())
    check(all(a == answers[-1] for a in answers), f"in pieces: {answers!r}")


# Keys with an end: of a cache alone.
ENDS = (
    "SET a 1 EX 100|TTL a|SET a 2|TTL a|EXPIRE a 50|TTL a|EXPIRE a 10 GT|"
    "EXPIRE a 100 GT|TTL a|EXPIRE a 200 LT|EXPIRE a 20 XX|TTL a|PERSIST a|"
    "PERSIST a|TTL a|EXPIRE a 30 NX|EXPIRE a 40 NX|APPEND a xx|TTL a|"
    "SET a 5 KEEPTTL|TTL a|INCR a|TTL a|GETEX a EX 200|TTL a|GETEX a PERSIST|"
    "TTL a|SETEX b 10 v|TTL b|PSETEX c 10000 v|TTL c|GETSET b w|TTL b|"
    "SETEX b 10 v|RENAME b d|TTL d|COPY d e|TTL e|SET f 1 PX 100000 NX|TTL f|"
    "SET f 1 PX 100000 NX|SET f 2 GET EX 7|TTL f|SETRANGE f 0 9|TTL f|"
    "EXPIRE f 0|EXISTS f|MSET d 1|TTL d|MULTI|SET g 1 EX 33|TTL g|INCR g|"
    "SETEX h 44 x|EXPIRE a 11|EXEC|TTL g|TTL h|TTL a|SETNX g 1|TTL g|"
    "SET a 1 EX 100|SET b 1 EX 99|SET c 1 EX 98|WATCH c|MULTI|INCR a|INCR b|"
    "GET c|EXEC|TTL a|TTL b|TTL c|MULTI|SET a 2|SET b 2 KEEPTTL|DEL c|EXEC|"
    "TTL a|TTL b|TTL c|SET c 1 EX 97|COPY c e|TTL e|RENAME c d|TTL d|"
    "MULTI|SET e 1 EX 96|PERSIST d|EXEC|TTL d|TTL e|DEL a b c d e|"
    "SET i 1 PX 60|GET i|TTL nope|SET a x EXAT 1|GET a|GETDEL h|TTL h|DBSIZE")


def compare_ends(node_port, ours, theirs):
    tool = os.path.join(os.path.dirname(NODE), "dlht-cli")
    if not os.path.exists(tool) or subprocess.run(
            [tool, "-n", f"127.0.0.1:{node_port}", "keyspace", "create", "ends",
             "--volatile", "--max-bytes", "10M"], stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL).returncode:
        print("no caches here: ends are not compared")
        return
    mine, yours = Conn(ours), Conn(theirs)
    for conn in (mine, yours):
        conn.ask("SELECT", "1")

    def same(line):
        words = words_of(line)
        got, want = mine.ask(*words), yours.ask(*words)
        check(got == want, f"{line}: {got!r}, redis: {want!r}")

    for line in ENDS.split("|"):
        same(line)
    time.sleep(0.2)
    for line in ("GET i", "SET j 1", "FLUSHDB", "GET j", "DBSIZE", "SCAN 0"):
        same(line)


def bytes_test():
    with node("--redis-db", "1=ends") as (ours, node_port, _), \
            redis_server() as theirs:
        compare_ends(node_port, ours, theirs)
        compare_blocks(ours, theirs, False)
        compare_blocks(ours, theirs, True)
        compare_raw(ours, theirs)
        compare_pieces(ours, theirs)
        c = Conn(ours)
        c.ask("SET", "idle", "x")
        said = c.ask("OBJECT", "IDLETIME", "idle")
        check(said in (b":0\r\n", b":1\r\n"), f"a key that was just set: {said}")


def cli(port, *words, data=None):
    done = subprocess.run(["redis-cli", "-p", str(port), *words], input=data,
                          capture_output=True, text=True, timeout=30)
    return done.stdout


def cli_tests(port):
    check(cli(port, "set", "a", "1") == "OK\n", "redis-cli set")
    check(cli(port, "get", "a") == "1\n", "redis-cli get")
    check(cli(port, "-3", "get", "nope") == "\n", "redis-cli -3")
    check(cli(port, "-c", "get", "a") == "1\n", "redis-cli -c")
    cli_data = "".join(f"set key:{k} {k}\n" for k in range(300))
    check(cli(port, data=cli_data) == "OK\n" * 300, "redis-cli by its input")
    keys = cli(port, "--scan", "--pattern", "key:*").split()
    check(len(keys) == 300 and len(set(keys)) == 300, "redis-cli --scan")
    big = cli(port, "--bigkeys")
    check("301 strings with" in big, f"redis-cli --bigkeys: {big[-300:]}")
    check("301" in cli(port, "--memkeys"), "redis-cli --memkeys")
    check("cluster_state:ok" in cli(port, "cluster", "info"), "cluster info")
    check("Cluster" in cli(port, "info"), "info")
    interactive(port)


def interactive(port):
    """At a terminal: it asks COMMAND DOCS for its hints."""
    pid, fd = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execvp("redis-cli", ["redis-cli", "-p", str(port)])
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    said, until, sent = b"", time.monotonic() + 10, 0
    typed = [b"set tty 1\r", b"get tty\r", b"help get\r", b"quit\r"]
    while time.monotonic() < until:
        if select.select([fd], [], [], 0.3)[0]:
            try:
                said += os.read(fd, 65536)
            except OSError:
                break
        elif sent < len(typed):
            os.write(fd, typed[sent])
            sent += 1
    os.close(fd)
    _, status = os.waitpid(pid, 0)
    check(status == 0 and b"OK" in said and b'"1"' in said and
          b"Get the value of a key" in said,
          f"redis-cli at a terminal: {status} {said[-500:]!r}")


def benchmark_tests(port):
    for extra in ([], ["-P", "16", "-r", "1000"]):
        done = subprocess.run(
            ["redis-benchmark", "-p", str(port), "-t", "set,get,incr,mset",
             "-n", "2000", "-c", "20", "-q", "--csv", *extra],
            capture_output=True, text=True, timeout=60)
        rows = [r for r in done.stdout.splitlines() if r.startswith('"')]
        check(done.returncode == 0 and len(rows) >= 5 and
              "rror" not in done.stdout + done.stderr,
              f"redis-benchmark {extra}: {done.stdout} {done.stderr}")


def python_tests(port):
    import redis

    for protocol in ({}, {"decode_responses": True}):
        r = redis.Redis(port=port, **protocol)
        r.flushdb()
        check(r.set("a", 1) and int(r.get("a")) == 1, "redis-py set, get")
        check(r.incr("n", 5) == 5 and r.incrbyfloat("f", 1.5) == 1.5, "incr")
        check(r.mset({"x": 1, "y": 2}) and len(r.mget("x", "y", "z")) == 3,
              "mget")
        check(len(set(r.scan_iter(count=2))) == 5, "scan_iter")
        check(r.info()["role"] == "master", "info")
        check("databases" in r.config_get("*"), "config get")
    with r.pipeline() as pipe:  # MULTI and EXEC
        pipe.set("p", 1).incr("p").get("p").delete("a").exists("a")
        check(pipe.execute() == [True, 2, "2", 1, 0], "pipeline")
    with r.pipeline(transaction=False) as pipe:
        for i in range(1000):
            pipe.set(f"k{i}", i)
            pipe.get(f"k{i}")
        check(pipe.execute()[1::2] == [str(i) for i in range(1000)],
              "a plain pipeline reads what it wrote")
    with r.pipeline() as pipe:
        pipe.watch("p")
        redis.Redis(port=port).set("p", 9)
        pipe.multi()
        pipe.set("p", 10)
        try:
            pipe.execute()
            check(False, "WATCH sees the change of another")
        except redis.WatchError:
            pass
    check(r.get("p") == "9", "and nothing was done")
    count_together(port)


def count_together(port):
    """Many who count on one key lose none."""
    conns = [Conn(port) for _ in range(20)]
    for c in conns:
        c.s.sendall(pack(("INCR", "together")) * 200)
    seen = sorted(int(c.answer()[1:-2]) for c in conns for _ in range(200))
    check(seen == list(range(1, 4001)), "INCR of many")


def memory_of(pid):
    with open(f"/proc/{pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def greedy_test(port, pid):
    """Who asks for much and takes nothing costs little and stops nobody."""
    greedy, other, count = Conn(port), Conn(port), 1000
    check(greedy.ask("SET", "big", b"x" * (1 << 20)) == b"+OK\r\n", "1 MiB")
    before = memory_of(pid)
    greedy.s.sendall(pack(("GET", "big")) * count)
    for _ in range(200):
        check(other.ask("PING") == b"+PONG\r\n", "others are served")
    grown = memory_of(pid) - before
    check(grown < 128 << 20, f"{grown >> 20} MiB for one who takes nothing")
    got = sum(len(greedy.answer()) for _ in range(count))
    check(got == count * ((1 << 20) + 12), "and gets all when he takes it")
    check(greedy.ask("DEL", "big") == b":1\r\n", "and goes on")


def large_test(port):
    """Large values go from where they lie: each as it was when it was asked
    for, whole and in its place, though the next command changes it."""
    rng = random.Random(7)
    sizes = [(64 << 10) - 1, 64 << 10, (64 << 10) + 1, 200000, 1 << 20]
    for count in (40, 100):
        c = Conn(port)
        c.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        asked, wanted = [], []
        for number in range(count):
            size = rng.choice(sizes)
            value = bytes([65 + number % 26]) * size
            asked += [pack(("SET", "large", value)), pack(("GET", "small")),
                      pack(("GET", "large")), pack(("DEL", "large"))]
            wanted += [b"+OK\r\n", b"$-1\r\n",
                       b"$%d\r\n%s\r\n" % (size, value), b":1\r\n"]
        sender = threading.Thread(target=c.s.sendall, args=(b"".join(asked),))
        sender.start()
        check(all(c.answer() == want for want in wanted),
              f"{len(wanted)} answers with large values")
        sender.join()


def tool_does(node_port, *words):
    tool = os.path.join(os.path.dirname(NODE), "dlht-cli")
    return os.path.exists(tool) and subprocess.run(
        [tool, "-n", f"127.0.0.1:{node_port}", *words], check=True,
        stdout=subprocess.DEVNULL)


def long_exec_test(port):
    c, count = Conn(port), 40
    many = [("SETRANGE", f"l{i}", 9 << 20, "x") for i in range(count)]
    for queued in ([("GET", "long")] * count, many,
                   [("MGET", *["long"] * count)]):
        c.ask("SET", "long", b"x" * (1 << 20))
        c.ask("MULTI")
        c.ask("SET", "kept", "x")
        c.s.sendall(b"".join(pack(words) for words in queued))
        for _ in queued:
            c.answer()
        said = c.ask("EXEC")
        check(b"too long" in said[:80], f"a long EXEC: {said[:80]}")
        check(c.ask("EXISTS", "kept") == b":0\r\n", "and nothing is done")
        check(c.ask("DEL", "long") == b":1\r\n", "and it goes on")


def skew_test(ports):
    """Of two who read what the other changes, one sees the other's change."""
    one, two = Conn(ports[1]), Conn(ports[2])
    one.ask("SET", "s1", "0")
    one.ask("SET", "s2", "0")
    bad = 0
    for i in range(1, 200):
        for c, reads, sets in ((one, "s1", "s2"), (two, "s2", "s1")):
            c.s.sendall(pack(("MULTI",)) + pack(("GET", reads)) +
                        pack(("SET", sets, f"{i:04}")) + pack(("EXEC",)))
        for c in (one, two):
            for _ in range(3):
                c.answer()
        said = [c.answer() for c in (one, two)]
        bad += not any(b"%04d" % i in s for s in said)
    check(bad == 0, f"neither saw the other {bad} times")


def watched_test(port):
    """A key that is only watched or read stays as it is."""
    one, two = Conn(port), Conn(port)
    one.ask("SET", "w", "1")
    for c in (one, two):
        c.ask("WATCH", "w")
    for c, n in ((one, 1), (two, 2)):
        c.ask("MULTI")
        c.ask("SET", f"w{n}", "x")
        said = c.ask("EXEC")
        check(said == b"*1\r\n+OK\r\n", f"watched by {n}: {said}")


def make_apart(node_port):
    return tool_does(node_port, "keyspace", "create", "apart", "--placement",
                     "hashed")


def vectors_test(node_port, port):
    """What a keyspace refuses is said, and not tried again and again."""
    if not tool_does(node_port, "vector", "create", "vectors", "--dim", "2"):
        return
    c = Conn(port)
    check(c.ask("SELECT", "2") == b"+OK\r\n", "select")
    c.s.sendall(pack(("MULTI",)) + pack(("SET", "a", "1")) +
                pack(("SET", "b", "2")))
    for _ in range(3):
        c.answer()
    said = c.ask("EXEC")
    check(said.startswith(b"-ERR "), f"no vectors: {said}")


def bounds_test(port):
    """What would cost too much is refused, and what is long is done in parts."""
    c = Conn(port)
    c.s.settimeout(60)
    check(c.ask("FLUSHDB") == b"+OK\r\n", "bounds: nothing is there")
    c.ask("SET", "big", b"x" * (16 << 20))
    check(c.ask("MGET", *["big"] * 3).startswith(b"-ERR the answer would be"),
          "MGET of 48 MiB")
    check(c.ask("MGET", *["big"] * 5000).startswith(b"-ERR the answer would"),
          "MGET of 80 GiB")
    check(c.ask("DEL", "big") == b":1\r\n", "and it goes on")
    for word in ("KEYS",), ("SCAN", "0", "MATCH"):
        check(c.ask(*word, b"*" + b"a" * 2000) ==
              b"-ERR the pattern is longer than 1024 bytes\r\n", word[0])
    check(c.ask("MSET", "twice", "old", "f", b"x" * (2 << 20), "twice", "new")
          == b"+OK\r\n", "MSET in batches")
    check(c.ask("GET", "twice") == b"$3\r\nnew\r\n", "the last value stays")
    keys = [f"key{i}" for i in range(5000)]
    check(c.ask("MSET", *[w for k in keys for w in (k, k)]) == b"+OK\r\n",
          "MSET of many")
    check(c.ask("MGET", *keys, "none") == b"*5001\r\n" + b"".join(
        f"${len(k)}\r\n{k}\r\n".encode() for k in keys) + b"$-1\r\n",
          "MGET of many")
    c.s.sendall(pack(("DEL", *keys)) + pack(("EXISTS", *keys)) +
                pack(("DBSIZE",)))
    check([c.answer() for _ in range(3)] ==
          [b":5000\r\n", b":0\r\n", b":2\r\n"], "DEL of many, then others")
    c.s.sendall(pack(("MULTI",)) + pack(("INCR", "n")) * 16384 +
                pack(("EXEC",)))
    check([c.answer()[:4] for _ in range(16386)][-1] == b"*163", "a long EXEC")
    c.s.sendall(pack(("MULTI",)) + pack(("INCR", "n")) * 16385 +
                pack(("EXEC",)))
    check([c.answer() for _ in range(16387)][-1].startswith(b"-EXECABORT"),
          "one that is too long")
    check(c.ask("GET", "n") == b"$5\r\n16384\r\n", "of which nothing is done")
    c.s.sendall(pack(("MULTI",)) + pack(("SET", "n", b"x" * (9 << 20))) * 8 +
                pack(("EXEC",)))
    check([c.answer() for _ in range(10)][-1].startswith(b"-EXECABORT"),
          "one of too many bytes")
    check(c.ask("GET", "n") == b"$5\r\n16384\r\n", "nor of that")


def cache_test(node_port, port):
    if not tool_does(node_port, "keyspace", "create", "cached", "--volatile"):
        return
    c = Conn(port)
    check(c.ask("SELECT", "3") == b"+OK\r\n", "select")
    check(c.ask("RANDOMKEY") == b"$-1\r\n", "no key of a cache")
    c.ask("MSET", "a", "1", "b", "2", "c", "3")
    got = {c.ask("RANDOMKEY") for _ in range(100)}
    check(got <= {f"$1\r\n{k}\r\n".encode() for k in "abc"},
          f"random keys of a cache: {got}")


def apart_test(node_port, port):
    """Keys of several arcs, changed together by many: no change is lost."""
    if not make_apart(node_port):
        return
    conns = [Conn(port) for _ in range(8)]
    for c in conns:
        check(c.ask("SELECT", "1") == b"+OK\r\n", "select")
    for i in range(40):
        for c in conns:
            c.s.sendall(pack(("MULTI",)) + pack(("INCR", f"a{i % 5}")) +
                        pack(("INCR", "b")) + pack(("EXEC",)) +
                        pack(("INCR", f"a{i % 3}")))
    for c in conns:
        for i in range(40 * 5):
            said = c.answer()
            check(said[:1] in b"+:*", f"apart: {said}")
    want = [8 * (8 + len(range(k, 40, 3)) * (k < 3)) for k in range(5)]
    got = [int(conns[0].ask("GET", f"a{k}").split(b"\r\n")[1])
           for k in range(5)]
    check(got == want, f"apart: {got}, wanted {want}")
    check(conns[0].ask("GET", "b") == b"$3\r\n320\r\n", "apart: b")
    seen, cursor = [], b"0"
    while True:
        conns[0].send("SCAN", cursor, "COUNT", "2")
        words = conns[0].answer().split(b"\r\n")
        cursor = words[2]
        seen += words[5::2]
        if cursor == b"0":
            break
    check(sorted(seen) == [b"a0", b"a1", b"a2", b"a3", b"a4", b"b"],
          f"a scan by hash: {seen}")


def moving_test(ports):
    """What is appended to a key while another renames it is not lost."""
    mover, moved, unknown = Conn(ports[0]), 0, 0
    writers = [Conn(p) for p in ports]
    for c in [mover, *writers]:
        check(c.ask("SELECT", "1") == b"+OK\r\n", "select")
        for _ in range(100): # until its node knows the keyspace
            if c.ask("MGET", "p", "q") == b"*2\r\n$-1\r\n$-1\r\n":
                break
            time.sleep(0.05)
    for i in range(150):
        for w in writers:
            w.s.sendall(pack(("APPEND", "p", "x")) * 2)
        said = mover.ask("RENAME", "p", "q")
        unknown += b"outcome unknown" in said
        moved += mover.ask("GETDEL", "q").count(b"x")
        for w in writers:
            for _ in range(2):
                said = w.answer()
                check(said[:1] == b":", f"append: {said}")
    moved += mover.ask("GETDEL", "p").count(b"x")
    wrote = 150 * len(ports) * 2
    check(moved >= wrote if unknown else moved == wrote,
          f"moved {moved} of {wrote}, {unknown} unknown")


def joining_test(ports):
    """Who reads by joining what others store sees what was stored before."""
    busy, reader, setter = Conn(ports[1]), Conn(ports[1]), Conn(ports[2])
    for key in ("j1", "j2", "j3"):
        for i in range(100):
            busy.s.sendall(pack(("APPEND", key, "+")) * 4)
            want = b"%04d" % i
            check(setter.ask("SET", key, want) == b"+OK\r\n", "set")
            got = reader.ask("GETRANGE", key, 0, 3)
            check(got == b"$4\r\n%s\r\n" % want, f"{key} {want}: {got}")
            for _ in range(4):
                busy.answer()


def cluster_tests(ports):
    from redis.cluster import RedisCluster

    logging.disable() # it logs each redirection with its whole stack
    rc = RedisCluster(host="127.0.0.1", port=ports[0])
    for i in range(100):
        rc.set(f"c{i}", i)
    check([int(rc.get(f"c{i}")) for i in range(100)] == list(range(100)),
          "RedisCluster")
    check(len(rc.get_nodes()) == len(ports), f"nodes of {len(ports)}")
    rc.close()


@contextlib.contextmanager
def ring(count, *options):
    """Nodes whose ports for Redis are as far from their others."""
    with contextlib.ExitStack() as stack:
        base = free_row(2 * count)
        ports = []
        for i in range(count):
            command = [NODE, "--listen", f"127.0.0.1:{base + i}", "--redis",
                       f"127.0.0.1:{base + count + i}", *options]
            if i:
                command += ["--bootstrap", f"127.0.0.1:{base}"]
            stack.enter_context(process(command, "ready"))
            ports.append(base + count + i)
        yield ports


def ring_tests():
    """Any node answers any key; keys of several arcs in one command."""
    with ring(3, "--redis-db", "1=apart") as ports:
        conns = [Conn(p) for p in ports]
        for i in range(60):
            said = conns[i % 3].ask("SET", f"r{i}", i)
            check(said == b"+OK\r\n", f"set at node {i % 3}: {said}")
        for c in conns:
            got = c.ask("MGET", *(f"r{i}" for i in range(60)))
            check(got == b"*60\r\n" + b"".join(
                b"$%d\r\n%d\r\n" % (len(str(i)), i) for i in range(60)),
                f"mget: {got!r}")
        said = [c.ask("INCR", "many") for c in conns for _ in range(5)]
        check(said == [b":%d\r\n" % n for n in range(1, 16)], f"{said}")
        conns[0].s.sendall(pack(("MULTI",)) + b"".join(
            pack(("INCR", f"r{i}")) for i in range(10)) + pack(("EXEC",)))
        for _ in range(11):
            conns[0].answer()
        got = conns[0].answer()
        check(got == b"*10\r\n" + b"".join(b":%d\r\n" % (i + 1)
                                           for i in range(10)), f"{got!r}")
        check(conns[1].ask("DBSIZE") == b":61\r\n", "dbsize")
        joining_test(ports)
        skew_test(ports)
        if make_apart(ports[0] - 3):
            moving_test(ports)
        cluster_tests(ports[:1])
    with ring(2, "--redis-ask", "yes", "--replicas", "1") as ports:
        cluster_tests(ports)


def clients_test():
    with node("--redis-db", "1=apart", "--redis-db", "2=vectors",
              "--redis-db", "3=cached") as (port, node_port, pid):
        cli_tests(port)
        benchmark_tests(port)
        python_tests(port)
        greedy_test(port, pid)
        large_test(port)
        long_exec_test(port)
        watched_test(port)
        apart_test(node_port, port)
        vectors_test(node_port, port)
        bounds_test(port)
        cache_test(node_port, port)
    ring_tests()


def main():
    for program in ("redis-server", "redis-cli", "redis-benchmark"):
        if not shutil.which(program):
            print(f"{program} is not installed")
            return 77
    try:
        import redis
        redis.Redis
    except ImportError:
        print("redis-py is not installed")
        return 77
    {"bytes": bytes_test, "clients": clients_test}[sys.argv[2]]()
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
