#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The load generator against servers that do wrong, and against real ones.

  bench/test_load.py [NAME...]

A generator that believes whatever comes back measures nothing: each fault of
a made-up server must be noticed. Real servers are dlht-node and, where they
are installed, Redis, memcached and etcd. Ends what it started.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "harness"))
sys.path.insert(0, os.path.join(ROOT, "bench", "compare"))
sys.dont_write_bytecode = True

import rows  # noqa: E402
from report import duel_line  # noqa: E402
from ring import Failure, end_children, find_program  # noqa: E402
from servers import Absent, Dlht, Etcd, Memcached, Redis  # noqa: E402

VALUE = 64


class Liar:
    """Answers each whole request of Redis's protocol with what say() gives:
    the number of the request, its command, its key."""

    def __init__(self, say, dribble=False):
        self.say, self.dribble = say, dribble
        self.count = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.to = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(client,),
                             daemon=True).start()

    def serve(self, client):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = client.makefile("rb")
        try:
            while True:
                answer = self.one(stream)
                if answer is None:
                    client.shutdown(socket.SHUT_RDWR)
                    client.close()
                    return
                pieces = [answer]
                if self.dribble:
                    pieces = [answer[i:i + 1] for i in range(len(answer))]
                for piece in pieces:
                    client.sendall(piece)
        except (OSError, ValueError, IndexError):
            pass  # the generator left

    def one(self, stream):
        words = []
        for _ in range(int(stream.readline()[1:])):
            words.append(stream.read(int(stream.readline()[1:]) + 2)[:-2])
        self.count += 1
        return self.say(self.count, words[0], words[1])


def bulk(value):
    return b"$%d\r\n%s\r\n" % (len(value), value)


def good(_number, command, key):
    if command == b"SET":
        return b"+OK\r\n"
    return bulk((key + b"v" * VALUE)[:VALUE])


def run(*args):
    done = subprocess.run([find_program("dlht-bench"), "load", "--json"] +
                          list(args), stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.PIPE, check=False, timeout=60)
    said = json.loads(done.stdout) if done.stdout else None
    return done.returncode, said, done.stderr


def at(liar, *args):
    return run("--protocol", "resp", "--to", liar.to, "--connections", "1",
               "--seconds", "0.1", "--warm", "0", *args)


def lies():
    def nth(answer, n=5):
        """good, but for the n-th."""
        return lambda number, command, key: (
            answer if number == n else good(number, command, key))

    # What is answered, the exit code, what is said of it, what is asked.
    table = [
        (good, 0, "", ["--check"]),
        (good, 0, "", ["--check", "--pipeline", "16", "--ratio", "1:1"]),
        (nth(bulk(b"v" * VALUE)), 1, "1 values were not as put", ["--check"]),
        (nth(bulk(b"k" * 63)), 1, "1 values were not as put", []),
        (nth(b"-OOM no more\r\n"), 1, "1 errors, the first: -OOM no more", []),
        (nth(b"+OK\r\n"), 1, "a get was answered with", []),
        (nth(bulk(b"v" * VALUE)), 1, "a put was answered with",
         ["--ratio", "0:1"]),
        (nth(b"hello\r\n"), 1, "no answer to GET or SET begins with", []),
        (nth(b"$x4\r\n"), 1, "a length of a value that is none", []),
        (nth(b"$3\r\nabcde\r\n"), 1, "does not end where it should", []),
        (nth(b"$1\r\na\r\n"), 1, "1 values were not as put", []),
        (nth(b"+QUEUED\r\n"), 1, "a status that is not OK",
         ["--ratio", "0:1"]),
        (nth(good(0, b"GET", b"k" * 16) * 9), 1,
         "an answer to what was not asked", []),
        (nth(None), 1, "the server closed a connection", []),
    ]
    for number, (say, code, text, args) in enumerate(table):
        got, said, err = at(Liar(say), *args)
        # A server that lost its place may be noticed by what comes next.
        assert got == code, (number, text, got, err)
        assert text in err, (number, text, err)
        if code == 0:
            assert said["ops"] > 5 and said["errors"] == 0, said


def piecemeal():
    """Answers cut at each byte are put together."""
    code, said, err = at(Liar(good, dribble=True), "--check", "--pipeline",
                         "4", "--ratio", "1:1")
    assert code == 0 and said["ops"] > 0, (code, err)


def misses():
    code, said, err = at(Liar(lambda n, c, k: b"$-1\r\n" if n % 2 else
                              good(n, c, k)), "--check")
    assert code == 0, err
    assert abs(said["hits"] - said["misses"]) <= 1, said


def planned_time():
    """A stall of 0.4 s of 1 s: with a rate, all that fell due in it waited.
    Counted from sending, one request in hundreds would have."""
    def stall(number, command, key):
        if number == 100:
            time.sleep(0.4)
        return good(number, command, key)

    code, said, err = run("--protocol", "resp", "--to", Liar(stall).to,
                          "--connections", "1", "--seconds", "1", "--warm",
                          "0", "--rate", "500")
    assert code == 0, err
    assert said["max_us"] > 350000, said
    assert said["p90_us"] > 100000, said
    assert not said["client_was_limit"], said
    assert said["ops"] <= 502, said
    assert said["asked_rate"] == 500, said


def stall_to_the_end():
    """A stall that outlasts the round is in the percentiles, not in the rate:
    the request that is open, and with a rate those that were due."""
    def stall(number, command, key):
        if number >= 50:
            time.sleep(0.7 if number == 50 else 0)
            return b"-LATE\r\n" if command == b"SET" else good(0, command, key)
        return good(number, command, key)

    def ask(*args):
        return run("--protocol", "resp", "--to", Liar(stall).to,
                   "--connections", "1", "--seconds", "0.6", "--warm", "0",
                   *args)

    code, said, err = ask()
    assert code == 0, err
    assert said["ops"] == 49 and said["late"] == 1, said
    assert said["max_us"] > 600000 and not said["unsent"], said
    code, said, err = ask("--rate", "500")  # 0.1 s, then 250 are due
    assert code == 0, err
    assert said["ops"] == 49 and said["late"] == 1, said
    assert 200 < said["unsent"] <= 251, said
    assert said["p50_us"] > 100000 and said["p99_us"] > 400000, said
    assert said["rate"] < 0.5 * said["asked_rate"], said
    code, said, err = ask("--rate", "500", "--ratio", "0:1")
    assert code == 1 and said["errors"] == 1 and said["ops"] == 49, (said, err)
    assert "first: -LATE" in err, err


class Named:
    def __init__(self, name):
        self.name = name


def verdicts():
    """A round in which the client was the limit decides nothing, and is not
    left out: that would be the slow ones that stay."""
    def runs(rate, *limited):
        return [{"rate": rate, "client_was_limit": i in limited,
                 "server_ns": 1, "p50_us": 1, "p99_us": 1, "gets": 0,
                 "hits": 0} for i in range(3)]

    table = [
        (runs(300), runs(100), "3.00", ">= 2: reached, 3.000"),
        (runs(199.9), runs(100), "2.00", ">= 2: missed, 1.999"),
        (runs(0), runs(100), "0.00", ">= 2: missed, 0.000"),
        (runs(100), runs(0), "-", ">= 2: no verdict"),
        (runs(300, 1), runs(100), "at least 3.00",
         ">= 2: no verdict, at least 3.000"),
        (runs(300), runs(100, 0, 1, 2), "at most 3.00",
         ">= 2: no verdict, at most 3.000"),
        (runs(300, 0), runs(100, 2), "-", ">= 2: no verdict"),
    ]
    for ours, theirs, ratio, said in table:
        line = duel_line(rows.Row("row", "title", 2),
                         (Named("ours"), Named("theirs")), (ours, theirs))
        assert line["cells"][4:6] == [ratio, said], line["cells"]
    slow = runs(100)
    slow[0].update(rate=900, client_was_limit=True)
    slow[1].update(rate=800, client_was_limit=True)
    line = duel_line(rows.Row("row", "title", 2),
                     (Named("ours"), Named("theirs")), (slow, runs(100)))
    assert line["cells"][4] == "at least 8.00", line["cells"]


def lost_keys():
    """Keys that are gone after a restart fail the row: they were promised."""
    class Forgetful:
        def __init__(self, *_args, **_options):
            self.protocol, self.to, self.extra = "native", "x:1", []
            self.processes = [self]
            self.pid = os.getpid()

        def __getattr__(self, _name):
            return lambda *args: None

    class Bench:
        options = Named("options")

        @staticmethod
        def load(*_args, **_options):
            return {"misses": 3, "gets": 10}

    Bench.options.restart_keys = 10
    kept, rows.Dlht = rows.Dlht, Forgetful
    try:
        rows.restart(Bench, "")
    except Failure as failure:
        assert "3 of 10 keys are missing" in str(failure), failure
        return
    except Absent as reason:
        raise AssertionError(f"called absent: {reason}") from None
    finally:
        rows.Dlht = kept
    raise AssertionError("nothing was said")


def usage():
    table = [
        [], ["--protocol", "resp"], ["--protocol", "smtp", "--to", "x:1"],
        ["--protocol", "resp", "--to", "x:1", "--ratio", "0:0"],
        ["--protocol", "resp", "--to", "x:1", "--keyspace", "k"],
        ["--protocol", "resp", "--to", "x:1", "--value-size", "8", "--check"],
        ["--protocol", "resp", "--to", "x:1", "more"],
    ]
    for args in table:
        assert run(*args)[0] == 2, args
    assert run("--protocol", "resp", "--to", "127.0.0.1:1")[0] == 1


def real(make):
    def test():
        directory = tempfile.mkdtemp(prefix="dlht-load-")
        server = None
        try:
            server = make(directory)
            server.start()
            common = ["--protocol", server.protocol, "--to", server.to,
                      "--connections", "4", "--pipeline", "8", "--seconds",
                      "0.2", "--server", server.pids()]
            code, said, err = run(*common, "--keys", "1000", "--fill",
                                  "--check", "--ratio", "3:1",
                                  "--distribution", "zipf")
            assert code == 0, err
            assert said["gets"] > said["sets"] > 0, said
            assert said["hits"] == said["gets"], said
            assert said["server_ns"] > 0 and said["p50_us"] > 0, said
            # Twice the keys: a half is there.
            code, said, err = run(*common, "--keys", "2000")
            assert code == 0, err
            assert 0.3 < said["hits"] / said["gets"] < 0.7, said
        finally:
            if server:
                server.stop()
            shutil.rmtree(directory, ignore_errors=True)
    return test


def comparison():
    """scripts/bench from end to end, with next to no rounds."""
    directory = tempfile.mkdtemp(prefix="dlht-load-")
    try:
        done = subprocess.run(
            [os.path.join(ROOT, "scripts", "bench"), "--rounds", "1",
             "--seconds", "0.1", "--keys", "1000", "--out", directory,
             "native-get-p16", "cache"], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout
        with open(os.path.join(directory, "bench.md")) as table:
            text = table.read()
        assert "| GET P16, in memory, own frames |" in text or (
            "not run: redis-server" in text), text
        assert "GET P64, volatile keyspace" in text, text
    finally:
        shutil.rmtree(directory, ignore_errors=True)


TESTS = [
    ("usage", usage),
    ("lies", lies),
    ("piecemeal", piecemeal),
    ("misses", misses),
    ("planned_time", planned_time),
    ("stall_to_the_end", stall_to_the_end),
    ("verdicts", verdicts),
    ("lost_keys", lost_keys),
    ("node", real(Dlht)),
    ("redis", real(Redis)),
    ("memcached", real(Memcached)),
    ("etcd", real(Etcd)),
    ("comparison", comparison),
]


def main(names):
    failed = 0
    for name, test in TESTS:
        if names and name not in names:
            continue
        began = time.monotonic()
        try:
            test()
            result = "ok"
        except Absent as reason:
            result = f"skipped: {reason}"
        except AssertionError as fault:
            failed += 1
            result = f"FAILED: {fault}"
        print(f"{name} ({time.monotonic() - began:.1f} s): {result}",
              flush=True)
    end_children()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
