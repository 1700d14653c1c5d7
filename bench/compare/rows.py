# SPDX-License-Identifier: Apache-2.0
"""What is compared. A room is two servers that stay up while its rows are
measured by turns; a row is one load on both. Some rows are no duel: memory,
a restart, the records beside LMDB.
"""

import json
import os
import re
import statistics
import subprocess
import time

from ring import find_program
from report import verdict
from servers import (Absent, CLIENT_CORE, Dlht, Etcd, Failure, Memcached,
                     Redis)


class Row:
    """aim: at least that ratio; 0: none was set. more: options of load."""

    def __init__(self, name, title, aim, *more):
        self.name, self.title, self.aim = name, title, aim
        self.more = list(more)


def both(prefix, title, depths, aims, puts=True):
    """GET and SET at each depth."""
    rows = []
    for depth in depths:
        kinds = [("get", "GET", "1:0")]
        if puts:
            kinds.append(("set", "SET", "0:1"))
        for short, word, ratio in kinds:
            rows.append(Row(f"{prefix}-{short}-p{depth}",
                            f"{word} P{depth}, {title}",
                            aims.get(depth, 0), "--pipeline", str(depth),
                            "--ratio", ratio))
    return rows


class Room:
    """ours and theirs make a server from a directory. long: only with --long,
    or if a row of it is named."""

    def __init__(self, name, ours, theirs, rows, keys=None, long=False):
        self.name, self.ours, self.theirs = name, ours, theirs
        self.rows, self.keys, self.long = rows, keys, long


AIMS = {1: 1.1, 16: 2.5, 64: 3.5}
SYNCED = ("--appendonly", "yes", "--appendfsync", "always",
          "--auto-aof-rewrite-percentage", "0")


def rooms(large):
    return [
        Room("cache",
             lambda d: Dlht(d, keyspace="cache", door=True), Redis,
             both("cache", "volatile keyspace, Redis protocol", (1, 16, 64),
                  AIMS)),
        Room("cache-large",
             lambda d: Dlht(d, keyspace="cache", door=True), Redis,
             both("cache-large", f"the same, {large:,} keys", (1, 16, 64),
                  AIMS), keys=large, long=True),
        Room("native",
             Dlht, Redis,
             both("native", "in memory, own frames", (1, 16, 64), {})),
        Room("native-large",
             Dlht, Redis,
             both("native-large", f"the same, {large:,} keys", (16, 64), {}),
             keys=large, long=True),
        Room("memcached",
             Dlht, Memcached,
             both("memcached", "in memory, own frames", (1, 16, 64), {})),
        Room("lease",
             lambda d: Dlht(d, durable=True, door=True), Redis,
             both("lease", "ordered, durable, Redis protocol", (16,),
                  {16: 2.0}, puts=False)),
        Room("lease-native",
             lambda d: Dlht(d, durable=True), Redis,
             both("lease-native", "ordered, durable, own frames", (16,),
                  {16: 2.0}, puts=False)),
        Room("synced",
             lambda d: Dlht(d, durable=True, door=True),
             lambda d: Redis(d, SYNCED),
             [Row("synced-set-p1", "SET P1, synced, Redis protocol", 1.2,
                  "--ratio", "0:1"),
              Row("synced-set-p16", "SET P16, synced, Redis protocol", 1.5,
                  "--ratio", "0:1", "--pipeline", "16")]),
        Room("synced-native",
             lambda d: Dlht(d, durable=True),
             lambda d: Redis(d, SYNCED),
             [Row("synced-native-set-p1", "SET P1, synced, own frames", 1.2,
                  "--ratio", "0:1"),
              Row("synced-native-set-p16", "SET P16, synced, own frames", 1.5,
                  "--ratio", "0:1", "--pipeline", "16")]),
        Room("ring",
             lambda d: Dlht(d, count=3, durable=True), Etcd,
             [Row("ring-put", "put, 3 nodes, 3 replicas, synced; etcd: one "
                  "member", 5, "--ratio", "0:1"),
              Row("ring-get", "get, the same", 20)], keys=10000),
    ]


# ---- Rows that are no duel of loads

class Single:
    """run(bench, directory) gives the cells of a line and a ratio or None."""

    def __init__(self, name, title, aim, run, long=True):
        self.name, self.title, self.aim = name, title, aim
        self.run, self.long = run, long


def fill_args(server, keys):
    return ["--protocol", server.protocol, "--to", server.to, "--keys",
            str(keys), "--fill", "--seconds", "0"] + server.extra


def bytes_an_entry(bench, server, keys):
    server.start()
    try:
        before = server.resident()
        bench.load(*fill_args(server, keys), seconds=900)
        time.sleep(2)
        return (server.resident() - before) / keys
    finally:
        server.stop()


def memory(make):
    def run(bench, directory):
        keys = bench.options.large_keys
        servers = [make(os.path.join(directory, "ours")),
                   Redis(os.path.join(directory, "theirs"))]
        ours, theirs = [bytes_an_entry(bench, s, keys) for s in servers]
        return {"ours": f"{ours:.0f} B", "theirs": f"{theirs:.0f} B",
                "against": servers[1].name, "ratio": ours / theirs,
                "note": f"{keys:,} entries of 16 + 64 bytes, resident"}
    return run


def lmdb(keys, what):
    def run(bench, directory):
        program = os.path.join(os.path.dirname(os.path.dirname(
            find_program("dlht-bench"))), "bench", "bench_records")
        if not os.access(program, os.X_OK):
            raise Absent("bench_records is not built")
        if keys not in bench.lmdb:
            bench.say(f"loading {keys:,} keys into records and LMDB")
            done = subprocess.run(
                bench.client([program, "--keys", str(keys), "--turns", "5"]),
                cwd=directory, stdout=subprocess.PIPE, text=True,
                stderr=subprocess.STDOUT, check=False, timeout=1800)
            if done.returncode != 0:
                raise Failure(f"bench_records: {done.stdout.strip()[-300:]}")
            bench.lmdb[keys] = done.stdout
        found = re.search(rf"^{what}\s+(\S+) (\d+), (\S+) (\d+):",
                          bench.lmdb[keys], re.M)
        if not found:
            raise Absent("bench_records was built without LMDB (Debian: "
                         "liblmdb-dev)")
        ours, theirs = int(found[2]), int(found[4])
        return {"ours": f"{ours:,} ns", "theirs": f"{theirs:,} ns",
                "against": "LMDB", "ratio": theirs / ours,
                "note": f"{keys:,} keys in process, processor time"}
    return run


def opendht(bench):
    program = os.path.join(os.path.dirname(os.path.dirname(
        find_program("dlht-bench"))), "bench", "bench_opendht")
    if not os.access(program, os.X_OK):
        return None
    done = subprocess.run(bench.client([program, "300"]), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          check=False, timeout=120)
    if done.returncode != 0:
        raise Failure(f"bench_opendht ended with {done.returncode}")
    return json.loads(done.stdout)


def one_at_a_time(bench, directory):
    """p50 of one connection with one request, at a ring of three. OpenDHT's
    nodes and client are one process; so that none has a core more, our nodes
    are on the client's core too."""
    server = Dlht(directory, count=3)
    server.core = CLIENT_CORE
    server.start()
    ours, theirs = {"0:1": [], "1:0": []}, []
    try:
        args = ["--protocol", server.protocol, "--to", server.to, "--keys",
                "10000", "--connections", "1"] + server.extra
        bench.fill(server, 10000)
        for _ in range(bench.options.rounds):
            for ratio, found in ours.items():
                found.append(bench.load(
                    *args, "--ratio", ratio, "--seconds",
                    str(bench.options.seconds))["p50_us"])
            theirs.append(opendht(bench))
    finally:
        server.stop()
    put, get = [statistics.median(found) for found in ours.values()]
    cells = {"ours": f"put {put:.0f} us, get {get:.0f} us",
             "against": "OpenDHT", "ratio": None,
             "note": "p50, in memory, 3 replicas, nodes and client on one "
                     "core; OpenDHT's three nodes are one process"}
    if None in theirs:
        cells["theirs"] = "not run"
        cells["note"] += (", bench_opendht was not built (cmake --build "
                          "--preset release --target bench_opendht)")
        return cells
    their_put = statistics.median(r["put_p50_us"] for r in theirs)
    their_get = statistics.median(r["get_p50_us"] for r in theirs)
    cells["theirs"] = f"put {their_put:.0f} us, get {their_get:.0f} us"
    cells["note"] += "; ours by theirs, aim: " + ", ".join(
        f"{what} {verdict(ratio, 0.8, at_most=True)}"
        for what, ratio in (("put", put / their_put), ("get", get / their_get)))
    return cells


def process_seconds(pid):
    """Of the processor, all threads: what a busy machine does not change."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def disk_bytes(directory):
    return sum(512 * os.stat(os.path.join(at, name)).st_blocks
               for at, _, names in os.walk(directory) for name in names)


def timed(run):
    began = time.monotonic()
    run()
    return time.monotonic() - began


def restart(bench, directory):
    """Filled, stopped in order, started; killed, started."""
    keys = bench.options.restart_keys
    server = Dlht(directory, durable=True)

    def start():
        server.start_node(0)
        server.await_load(120)

    took, cpu, resident = [], [], []
    server.start()
    try:
        filled = timed(lambda: bench.load(*fill_args(server, keys),
                                          seconds=1800))
        resident.append(server.resident())
        stopped = timed(server.stop)
        size = disk_bytes(directory)
        for kill in (True, False):
            took.append(timed(start))
            cpu.append(process_seconds(server.processes[0].pid))
            check = bench.load("--protocol", "native", "--to", server.to,
                               "--keys", str(keys), "--seconds", "0.5",
                               "--check")
            if check["misses"]:
                raise Failure(f"{check['misses']} of {check['gets']} keys are "
                              "missing after the restart")
            resident.append(server.resident())
            if kill:
                server.kill()
    finally:
        server.stop()
    verdicts = verdict(max(took), 10, at_most=True)
    mib = [f"{r / (1 << 20):,.0f}" for r in resident]
    return {"ours": f"{took[0]:.1f} s, killed {took[1]:.1f} s", "theirs": "-",
            "against": "-", "ratio": None,
            "note": f"{keys:,} keys, from start to the first answer, "
            f"{cpu[0]:.1f} and {cpu[1]:.1f} s of processor; aim in seconds: "
            f"{verdicts}; filled in {filled:.0f} s, {mib[0]} MiB resident "
            f"({resident[0] / keys:.0f} bytes a key), after the starts "
            f"{mib[1]} and {mib[2]}; {size / (1 << 20):,.0f} MiB on disk; "
            f"stopped in {stopped:.2f} s"}


SOAK_MIB = 64  # of the cache
SOAK_SLICE_S = 20


def soak(bench, directory):
    """A cache at 0.8 of what it can do, with ten times the keys that fit:
    does its memory grow, do the slowest requests get slower?"""
    server = Dlht(directory, keyspace="cache", door=True,
                  max_bytes=f"{SOAK_MIB}M")
    keys = 10 * (SOAK_MIB << 20) // (16 + 64)
    args = ["--protocol", server.protocol, "--pipeline", "16", "--keys",
            str(keys), "--ratio", "1:1", "--check"] + server.extra
    resident, p99, attained = [], [], []
    server.start()
    try:
        args += ["--to", server.to]
        # Full, and all its memory had once.
        most = bench.load(*args, "--seconds", "20", seconds=120)["rate"]
        end = time.monotonic() + bench.options.soak_seconds
        while time.monotonic() < end:
            run = bench.load(*args, "--rate", str(0.8 * most), "--seconds",
                             str(min(SOAK_SLICE_S,
                                     bench.options.soak_seconds / 3)))
            p99.append(run["p99_us"])
            attained.append(run["rate"] / run["asked_rate"])
            resident.append(server.resident() / (1 << 20))
    finally:
        server.stop()
    third = max(1, len(p99) // 3)
    slow = [statistics.median(part) for part in (p99[:third], p99[-third:])]
    return {"ours": f"{resident[0]:.0f} -> {resident[-1]:.0f} MiB",
            "theirs": "-", "against": "-", "ratio": None,
            "note": f"{bench.options.soak_seconds} s at {0.8 * most:,.0f} "
                    f"a second (attained {100 * min(attained):.1f} % at the "
                    f"least), {keys:,} keys in a cache of {SOAK_MIB} MiB; "
                    f"p99 {slow[0]:.0f} us in the first third, {slow[1]:.0f} "
                    f"us in the last; most memory {max(resident):.0f} MiB"}


SINGLES = [
    Single("memory-cache", "memory per entry, volatile keyspace", 0.75,
           memory(lambda d: Dlht(d, keyspace="cache", door=True))),
    Single("memory-native", "memory per entry, ordered, in memory", 0,
           memory(Dlht)),
    Single("lmdb-get", "point get in process, 10 million keys", 2,
           lmdb(10000000, "get")),
    Single("lmdb-range", "range of 100 in process, 10 million keys", 1,
           lmdb(10000000, "scan100")),
    Single("lmdb-get-1m", "point get in process, 1 million keys", 0,
           lmdb(1000000, "get"), long=False),
    Single("lmdb-range-1m", "range of 100 in process, 1 million keys", 0,
           lmdb(1000000, "scan100"), long=False),
    Single("latency", "put, get one at a time, 3 nodes", 0, one_at_a_time,
           long=False),
    Single("soak", "a full cache at 0.8 of what it can do", 0, soak),
    Single("restart", "restart of a node", 0, restart),
]
