# SPDX-License-Identifier: Apache-2.0
"""The scenarios: each takes a Case, raises Failure, and returns a remark."""

import json
import math
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import time

from ring import Ring, Skipped, ensure, find_program, wait_for
from workload import Load

WORDS = "/usr/share/dict/american-english"


class Case:
    """What a scenario is given."""

    def __init__(self, directory, quick, kills=0, seed=None):
        self.directory = directory
        self.quick = quick
        self.kills = kills  # of kill_one and kills; 0: as many as is usual
        self.seed = seed    # of mixed; None: any
        self.rings = []

    def ring(self, name="ring", make=Ring, **options):
        ring = make(os.path.join(self.directory, name), **options)
        self.rings.append(ring)
        return ring


def read_words():
    ensure(os.path.exists(WORDS), f"{WORDS} is missing; scripts/install-deps "
           "installs it")
    with open(WORDS, "rb") as f:
        return f.read().splitlines()


def text_words():
    return [w.decode() for w in read_words()]


def load_words(ring, nodes=None):
    count = len(read_words())
    said = ring.ask("load", WORDS, nodes=nodes, seconds=180)
    ensure(said.startswith(f"loaded {count} records ") and
           said.endswith(" 0 failed"), f"load: {said}")
    return said


def count_all(ring):
    return int(ring.ask("range", "--count"))


# --- everything is there, from everywhere

def read_back(ring, node, words):
    """All words through one node, by many mget in one shell."""
    lines = []
    for i in range(0, len(words), 400):
        quoted = (b'"' + w + b'"' for w in words[i:i + 400])
        lines.append(b"mget " + b" ".join(quoted))
    out = ring.cli(nodes=node.address, data=b"\n".join(lines) + b"\n",
                   seconds=180)
    want = b"".join(b"%s\t%d\n" % (w, n + 1) for n, w in enumerate(words))
    ensure(out.code == 0, f"mget through {node.address}: {out.err[-200:]!r}")
    ensure(out.out == want, f"what {node.address} answers differs from the "
           f"words ({out.out.count(10)} of {len(words)} lines)")


def check_order(ring, words):
    """All keys, upwards and downwards."""
    for option, reverse in ([], False), (["--reverse"], True):
        keys = ring.cli("range", "--keys", *option, seconds=120)
        want = b"".join(w + b"\n" for w in sorted(words, reverse=reverse))
        ensure(keys.code == 0 and keys.out == want,
               f"range --keys {' '.join(option)} differs from the sorted "
               f"words: exit code {keys.code}, {keys.out.count(10)} keys")
    count = count_all(ring)
    ensure(count == len(words), f"{count} of {len(words)} are counted")


def words_5(case):
    """The words into 5 nodes through one, and back through each other."""
    ring = case.ring()
    ring.up(5)
    words = read_words()
    said = load_words(ring, ring.nodes[0].address)
    for node in ring.nodes[1:]:
        read_back(ring, node, words)
    prefix = sum(w.startswith(b"un") for w in words)
    asked = int(ring.ask("range", "--prefix", "un", "--count"))
    ensure(asked == prefix, f"range --prefix un --count: {asked}, {prefix} "
           "is right")
    check_order(ring, words)
    ring.await_whole(5)
    arcs = len(ring.json("ring"))
    return f"{said}; {arcs} arcs"


def mean_hops(ring, words):
    """Of lookups of some words, through each node in turn."""
    hops = []
    for i, word in enumerate(words[::len(words) // 50]):
        node = ring.nodes[i % len(ring.nodes)].address
        hops.append(ring.json("lookup", word, nodes=node)[0]["hops"])
    return statistics.mean(hops)


def fingers(case):
    """Chord pointers instead of maps; then nodes with whole maps join."""
    ring = case.ring(options=["--map", "fingers"])
    ring.up(5)
    words = read_words()
    load_words(ring, ring.nodes[0].address)
    ring.await_whole(5)
    read_back(ring, ring.nodes[3], words)
    check_order(ring, words)
    arcs = len(ring.json("ring"))
    hops = mean_hops(ring, text_words())
    bound = 0.5 * math.log2(arcs) + 0.5
    ensure(hops <= bound, f"{hops:.2f} hops in {arcs} arcs, {bound:.2f} are "
           "allowed")
    ring.options = []
    for _ in range(2):
        ring.add()
    ring.await_whole(7)
    check_order(ring, words)
    read_back(ring, ring.nodes[6], words)
    read_back(ring, ring.nodes[1], words)
    mixed = mean_hops(ring, text_words())
    return (f"{arcs} arcs, {hops:.2f} hops; {mixed:.2f} hops with 2 nodes of "
            "7 on whole maps")


# --- faults under load

def kill_one(case):
    """kill -9 of one node after the other under writers and readers."""
    kills = case.kills or (3 if case.quick else 10)
    ring = case.ring()
    ring.up(5)
    load_words(ring)
    ring.await_safe(5)
    load = Load(ring, text_words())
    load.start()
    time.sleep(2)
    stalls = []
    for i in range(kills):
        node = ring.nodes[i % 5]
        moment = time.monotonic()
        node.kill()
        time.sleep(8)
        load.check()
        stalls.append(load.stall_after(moment, moment + 8))
        node.start()
        node.await_ready()
        ring.await_safe(5, 120)
    load.stop()
    load.verify()
    count = count_all(ring)
    want = len(read_words()) + load.key_count()
    ensure(count == want, f"{count} keys are there, {want} were stored")
    p50 = statistics.median(stalls)
    if case.kills:
        print("  stalls: " + " ".join(f"{s:.2f}" for s in sorted(stalls)))
    ensure(p50 <= 3, f"writes resume after {p50:.2f} s (median of "
           f"{kills} kills: {stalls}); 3 s is the limit")
    return (f"{kills} kills: writes resume after {p50:.2f} s (p50), "
            f"{max(stalls):.2f} s (worst); {load.acked_total()} writes "
            f"acknowledged, {load.reads} reads, {len(load.failures)} not "
            "answered with success")


def kill_all_restart(case):
    """kill -9 of all five at once; after the restart all acked is there."""
    ring = case.ring()
    ring.up(5)
    load_words(ring)
    load = Load(ring, text_words(), timeout_ms=2000)
    load.start()
    time.sleep(3 if case.quick else 10)
    for node in ring.nodes:
        node.ended_by_us = True
        node.process.kill()
    for node in ring.nodes:
        node.process.wait()
    time.sleep(0.5)
    load.stop()
    for node in ring.nodes:
        node.start()
    for node in ring.nodes:
        node.await_ready(90)
    ring.await_whole(5, 120)
    load.verify()
    read_back(ring, ring.nodes[3], read_words())
    count = count_all(ring)
    want = len(read_words()) + load.key_count()
    ensure(count == want, f"{count} keys are there, {want} were stored")
    return f"{load.acked_total()} writes acknowledged under load, all there"


def watch_counts(ring, load, want, seconds, done):
    """Asks for counts until done() or time is out; they must be right."""
    un = sum(w.startswith(b"un") for w in read_words())
    un += sum(k.name.startswith("un") for keys in load.keys for k in keys)
    end = time.monotonic() + seconds
    asked = 0
    while True:
        got = count_all(ring), int(ring.ask("range", "--prefix", "un",
                                            "--count"))
        asked += 1
        ensure(got == (want, un), f"counts are {got}, {(want, un)} is right")
        load.check()
        ensure(not load.failures, f"a request failed: {load.failures[:1]}")
        if done():
            return asked
        ensure(time.monotonic() < end, f"not done within {seconds} s; peers: "
               f"{ring.cli('peers').text()}")
        time.sleep(0.2)


def start_load(case, count):
    """A ring with the words and a load on it, and how many keys it has."""
    ring = case.ring()
    ring.up(count)
    load_words(ring)
    ring.await_whole(count)
    load = Load(ring, text_words(), writers=2)
    load.start()
    return ring, load, len(read_words()) + load.key_count()


def finish_load(ring, load, want):
    load.stop()
    ensure(not load.failures, f"a request failed: {load.failures[:1]}")
    load.verify()
    count = count_all(ring)
    ensure(count == want, f"{count} keys are there, {want} were stored")


def join_under_load(case):
    """One node more joins under load and takes its share."""
    before = 3 if case.quick else 5
    ring, load, want = start_load(case, before)
    time.sleep(1)
    began = time.monotonic()
    node = ring.add()

    def has_share():
        """Of the keys that are led and of those that are kept, at least the
        mean over 1.5: arcs differ in size, so they are not what is counted."""
        peers = {p["peer"]: p for p in ring.json("peers")}
        if node.address not in peers or len(peers) <= before:
            return False
        arcs = ring.json("ring")
        led = sum(a["keys"] for a in arcs if a["owner"] == node.address)
        kept = sum(a["keys"] for a in arcs if node.address in a["replicas"])
        all_led = sum(a["keys"] for a in arcs)
        all_kept = sum(a["keys"] * len(a["replicas"]) for a in arcs)
        return (led >= all_led / len(peers) / 1.5 and
                kept >= all_kept / len(peers) / 1.5)

    asked = watch_counts(ring, load, want, 120, has_share)
    took = time.monotonic() - began
    ring.await_whole(before + 1)
    finish_load(ring, load, want)
    return (f"has its share after {took:.1f} s; {load.acked_total()} writes, "
            f"{load.reads} reads, {asked} counts, none failed")


def leave_under_load(case):
    """A node leaves under load."""
    before = 4 if case.quick else 5
    ring, load, want = start_load(case, before)
    node = ring.nodes[1]
    others = ",".join(n.address for n in ring.nodes if n is not node)
    time.sleep(1)
    began = time.monotonic()
    ring.ask("leave", node.address, "--wait", "120", nodes=others,
             seconds=150)
    took = time.monotonic() - began
    watch_counts(ring, load, want, 30, lambda: True)
    if node.runs():
        node.terminate()
    ring.await_whole(before - 1)
    asked = watch_counts(ring, load, want, 30, lambda: True)
    finish_load(ring, load, want)
    return (f"left after {took:.1f} s; {load.acked_total()} writes, "
            f"{load.reads} reads, {asked + 1} counts, none failed")


# --- what status says is true

def keys_answer(ring, keys, seconds):
    """Whether all keys can be read and written within that time."""
    end = time.monotonic() + seconds
    for key in keys:
        while True:
            got = ring.cli("--timeout", "1000", "get", key)
            put = ring.cli("--timeout", "1000", "put", key, "x")
            if got.code == 0 and put.code == 0:
                break
            if time.monotonic() > end:
                return False
    return True


def growth(case):
    """1, 2, 3 peers: whole and safe_to_stop are true at each size."""
    ring = case.ring()
    said = []
    keys = ["apple", "m", "zebra"]
    for count in (1, 2, 3):
        if count == 1:
            ring.up(1)
            for key in keys:
                ring.ask("put", key, "x")
        else:
            ring.add()
        status = ring.await_whole(count)
        if count == 3:  # which it must come to be; before, it may say less
            status = ring.await_safe(count, 60)
        safe = status["safe_to_stop"]
        ensure(safe == (count == 3), f"{count} peers: safe_to_stop is {safe}")
        survived = 0
        for node in list(ring.nodes):
            node.kill()
            answers = count > 1 and keys_answer(ring, keys,
                                                15 if safe else 4)
            survived += answers
            ensure(answers or not safe, f"{count} peers were safe to stop, "
                   f"but without {node.address} keys do not answer")
            if answers:
                wait_for("status sees the missing peer", 20, lambda:
                         (ring.status() or {"whole": True})["whole"] is False)
            node.start()
            node.await_ready()
            ring.await_whole(count)
            ensure(keys_answer(ring, keys, 10), "keys do not answer after a "
                   "restart")
        ensure(safe or survived < count, f"{count} peers were called not safe "
               "to stop, yet any could be killed")
        said.append(f"{count}: {'safe' if safe else 'not safe'}, survived "
                    f"{survived} of {count} kills")
    return "; ".join(said)


def python_client(case):
    """examples/client.py, written from docs/protocol.md alone."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(
        os.path.abspath(__file__))))
    client = os.path.join(root, "examples", "client.py")
    ensure(os.path.exists(client), "examples/client.py is missing")
    ring = case.ring(durable=False)
    ring.up(1)
    # Debian's own interpreter has Debian's msgpack.
    python = "/usr/bin/python3"
    if not os.path.exists(python):
        python = sys.executable
    host, _, port = ring.nodes[0].address.rpartition(":")
    steps = [
        (["put", "key", "value"], r"\d+"),
        (["get", "key"], r"\[b'value', \d+\]"),
        (["put", "key 2", "w"], r"\d+"),
        (["mget", "key", "none"], r"\[b'key', b'value', \d+\]"),
        (["range"], r"\[b'key', b'value', \d+\]\n\[b'key 2', b'w', \d+\]"),
        (["del", "key"], "True"), (["count"], "1"), (["status"], r"\{.*\}"),
    ]
    for args, want in steps:
        done = subprocess.run(
            [python, client, host, port, *args],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30,
            check=False)
        got = done.stdout.decode(errors="replace").strip()
        ensure(done.returncode == 0, f"client.py {' '.join(args)}: exit code "
               f"{done.returncode}: {done.stderr.decode()[-200:]}")
        ensure(re.fullmatch(want, got), f"client.py {' '.join(args)}: "
               f"{got}, {want} is right")
    ensure(ring.ask("get", "key 2") == "w", "dlht-cli reads what it stored")
    return f"{len(steps)} calls"


def box_of(rng, share):
    """A box of that share of the earth's degrees, of any shape."""
    tall = 180 * share ** rng.uniform(0.2, 0.8)
    wide = 180 * 360 * share / tall
    south = rng.uniform(-90, 90 - tall)
    west = rng.uniform(-180, 180)
    east = west + wide
    return (round(south, 4), round(west, 4), round(south + tall, 4),
            round(east if east <= 180 else east - 360, 4))


def in_box(point, corners):
    south, west, north, east = corners
    lat, lon = point
    inside = west <= lon <= east if west <= east else (
        lon >= west or lon <= east)
    return south <= lat <= north and inside


def check_box(ring, node, places, corners, curve):
    """A box against a look at every place; its stats."""
    south, west, north, east = corners
    said = ring.cli("box", "range", f"{south},{west}", f"{north},{east}",
                    "--latlon", "--curve", curve, "--key-prefix", curve,
                    "--stats", nodes=node)
    want = {f"{lat},{lon}\t{n}" for n, (lat, lon) in enumerate(places)
            if in_box((lat, lon), corners)}
    got = said.out.decode().splitlines()
    ensure(said.code == 0, f"box range: {said.err[-200:]!r}")
    ensure(len(got) == len(set(got)) and set(got) == want,
           f"box {corners} by {curve}: {len(got)} points, {len(want)} are "
           f"right; seed {SEED}")
    return [int(n) for n in re.findall(
        r"(?:ranges|read|kept|parts) (\d+)", said.err.decode())]


SEED = 20040011


def box(case):
    """Places of the earth on 3 nodes; boxes against a look at every place."""
    rng = random.Random(SEED)
    ring = case.ring(durable=False)
    ring.up(3)
    places = list({(round(rng.uniform(-90, 90), 3) + 0.0001,
                    round(rng.uniform(-180, 180), 3) + 0.0001)
                   for _ in range(4000 if case.quick else 40000)})
    places = [(round(lat, 4), round(lon, 4)) for lat, lon in places
              if abs(lat) < 90 and abs(lon) < 180]
    lines = "".join(f"{lat},{lon}\t{n}\n"
                    for n, (lat, lon) in enumerate(places))
    remarks = []
    for curve in "hilbert", "z":
        loaded = ring.cli("box", "load", "-", "--latlon", "--curve", curve,
                          "--key-prefix", curve, data=lines.encode(),
                          seconds=120)
        ensure(loaded.code == 0, f"box load: {loaded.err[-200:]!r}")
        stats = [check_box(ring, ring.nodes[i % 3].address, places,
                           box_of(rng, 0.01), curve) for i in range(30)]
        ranges, read, kept, parts = (sum(s) / len(stats) for s in zip(*stats))
        remarks.append(f"{curve}: {ranges:.0f} ranges, {parts:.0f} parts, "
                       f"{read / kept:.2f} keys read for each of {kept:.0f}")
    return f"{len(places)} places, boxes of 1 %; " + "; ".join(remarks)


def cli_table(case):
    """tests/cmd/test_cli.sh against a real node."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    ring = case.ring()
    ring.up(1)
    environment = dict(os.environ, DLHT_CLI=find_program("dlht-cli"),
                       DLHT_NODE=ring.nodes[0].address)
    done = subprocess.run([os.path.join(root, "cmd", "test_cli.sh")],
                          env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=120, check=False)
    text = done.stdout.decode(errors="replace").strip().splitlines()
    ensure(done.returncode == 0, "; ".join(text[:3] + text[-1:]))
    return text[-1]


# --- a disk without room

class SmallDisk:
    """A file system of its own, with a file that takes most of its room."""

    def __init__(self, directory, mebibytes, taken):
        self.path = directory
        self.filler = os.path.join(directory, "filler")
        os.makedirs(directory)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m",
                        "tmpfs", directory], check=True)
        with open(self.filler, "wb") as f:
            f.write(bytes(taken << 20))

    def make_room(self):
        os.unlink(self.filler)

    def close(self):
        subprocess.run(["umount", "-l", self.path], check=False)


def may_mount(directory):
    probe = os.path.join(directory, "probe")
    os.makedirs(probe)
    if os.geteuid() != 0:
        return False
    done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", probe],
                          stderr=subprocess.DEVNULL, check=False)
    if done.returncode == 0:
        subprocess.run(["umount", probe], check=True)
    return done.returncode == 0


def put_big(ring, key, value, node=None):
    return ring.cli("put", key, "-", data=value,
                    nodes=node and node.address)


def full_alone(case, disk):
    """One node: reads only while its disk is full; nothing acked is lost."""
    ring = case.ring("alone")
    node = ring.new_node()
    node.data = os.path.join(disk.path, "data")
    node.start()
    node.await_ready()
    value = bytes(b"0123456789abcdef" * (1 << 16))
    acked, answer = 0, None
    while acked < 200:
        answer = put_big(ring, f"k{acked:03}", value)
        if answer.code != 0:
            break
        acked += 1
    ensure(acked >= 10 and answer.code != 0, f"{acked} MiB were stored on a "
           "disk without room")
    answer = wait_for("the disk is said to be full", 10, lambda: (
        lambda a: b"disk full" in a.err and a)(ring.cli("put", "x", "y")))
    ensure(answer.code == 4, f"a full disk has exit code {answer.code}")
    for i in (0, acked // 2, acked - 1):
        ensure(ring.cli("get", f"k{i:03}").out.rstrip(b"\n") == value,
               f"k{i:03} is not read while the disk is full")
    ensure(count_all(ring) >= acked, "range --count while the disk is full")
    disk.make_room()
    began = time.monotonic()
    wait_for("writes go on once there is room", 15,
             lambda: ring.cli("put", "after", "room").code == 0)
    took = time.monotonic() - began
    node.kill()
    node.start()
    node.await_ready()
    for i in (0, acked // 2, acked - 1):
        ensure(ring.cli("get", f"k{i:03}").out.rstrip(b"\n") == value,
               f"k{i:03} is lost")
    ensure(ring.ask("get", "after") == "room", "what was stored after is lost")
    return (f"{acked} MiB, then read-only; writes again {took:.1f} s after "
            "there was room")


def full_one_of_three(case, disk):
    """Three nodes, one disk full: writes go on by the others."""
    ring = case.ring("three")
    for _ in range(3):
        ring.new_node()
    ring.nodes[0].data = os.path.join(disk.path, "data")
    ring.nodes[0].start()
    ring.nodes[0].await_ready()
    for node in ring.nodes[1:]:
        node.start([ring.nodes[0].address])
        node.await_ready()
    ring.await_safe(3)
    value = bytes(b"0123456789abcdef" * (1 << 16))
    stalls, acked = 0, []
    for i in range(90):
        if put_big(ring, f"k{i:03}", value).code == 0:
            acked.append(i)
        else:
            stalls += 1
    ensure(len(acked) >= 70, f"only {len(acked)} of 90 MiB were stored with "
           "one disk of three full")
    with open(ring.nodes[0].log) as log:
        ensure("disk full" in log.read(), "the disk was not full")
    ensure(put_big(ring, "last", value, ring.nodes[0]).code == 0,
           "no write through the node whose disk is full")
    disk.make_room()
    ring.await_safe(3)
    for i in acked:
        ensure(ring.cli("get", f"k{i:03}").out.rstrip(b"\n") == value,
               f"k{i:03} is lost")
    return f"three nodes, one disk full: {stalls} of 90 puts failed"


def full_disk(case):
    """Reads go on while a disk is full, and writes once there is room."""
    if not may_mount(case.directory):
        raise Skipped("it needs root and mount, for a small tmpfs")
    said = []
    for name, run in (("one", full_alone), ("three", full_one_of_three)):
        disk = SmallDisk(os.path.join(case.directory, f"disk-{name}"), 500, 400)
        try:
            said.append(run(case, disk))
            for ring in case.rings:
                ring.down()
            case.rings.clear()
        finally:
            for ring in case.rings:
                for node in ring.nodes:
                    if node.runs():
                        node.kill()
            disk.close()
    return "; ".join(said)


# --- a majority lost for good

def patient_status(ring, node):
    """Each arc that does not answer is waited for."""
    answer = ring.cli("--json", "--timeout", "10000", "status",
                      nodes=node.address)
    return json.loads(answer.out) if answer.code == 0 else {}


def lost_arcs(ring, node):
    """Of status: the arcs without an owner, as text."""
    status = patient_status(ring, node)
    if not status:
        return None
    return [f"{t['arc']:016x}" for t in status["troubles"]
            if t["state"] == "unavailable"]


def recover_all(ring, node):
    """As an operator would: asks status, recovers what it names, until all
    has an owner. How many were recovered, and with nothing in them."""
    done, emptied, end = 0, 0, time.monotonic() + 90
    while True:
        lost = lost_arcs(ring, node)
        if lost == []:
            return done, emptied
        ensure(time.monotonic() < end, f"still without an owner: {lost}")
        for arc in lost or []:
            answer = ring.cli("recover", arc, "--accept-loss",
                              nodes=node.address)
            if b"--empty" in answer.err:
                answer = ring.cli("recover", arc, "--accept-loss", "--empty",
                                  nodes=node.address)
                emptied += answer.code == 0
            done += answer.code == 0
            ensure(answer.code in (0, 4), f"recover {arc}: {answer.code}: "
                   f"{answer.err[-200:]!r}")
        time.sleep(0.5)


def recover(case):
    """Two of three lost with their disks; an operator recovers each arc."""
    ring = case.ring(options=["--down-out", "3"])
    ring.up(3)
    words = read_words()
    load_words(ring)
    # Whole and cut for its peers, so that many arcs are lost.
    wait_for("the ring is cut", 60, lambda: len(ring.json("ring")) > 8)
    ring.await_safe(3)
    healthy = f"{ring.json('ring')[0]['arc']:x}"
    answer = ring.cli("recover", healthy, "--accept-loss")
    ensure(answer.code == 4 and b"owner" in answer.err,
           f"an arc with an owner: {answer.code}, {answer.err!r}")
    answer = ring.cli("recover", "1234567890", "--accept-loss")
    ensure(answer.code == 4 and b"no peer" in answer.err,
           f"an arc that is not: {answer.code}, {answer.err!r}")
    alive = ring.nodes[2]
    before = [f"{a['arc']:016x}" for a in ring.json("ring")]
    for node in ring.nodes[:2]:
        node.kill()
        shutil.rmtree(node.data)
    began = time.monotonic()
    wait_for("the loss is seen", 30, lambda:
             patient_status(ring, alive).get("peers_down") == 2)
    lost = wait_for("status names all arcs", 30,
                    lambda: lost_arcs(ring, alive))
    # At most 16 are named; all are counted.
    count = patient_status(ring, alive)["arcs_unavailable"]
    ensure(count == len(before) + 1 and lost, f"{count} arcs are unavailable, "
           f"of {len(before)} and the system's")
    plan = ring.cli("--json", "recover", lost[0], nodes=alive.address)
    said = json.loads(plan.out)
    ensure(plan.code == 4 and not said["done"] and
           said["survivor"] == alive.address, f"a plan: {plan.code}, {said}")
    ensure(lost_arcs(ring, alive), "a plan changed something")
    done, emptied = recover_all(ring, alive)
    took = time.monotonic() - began
    ensure(done == count and emptied == 0,
           f"{done} arcs were recovered, {emptied} of them empty; {count} "
           "were lost")
    read_back(ring, alive, words)
    check_order(ring, words)
    ring.ask("put", "after the loss#", "stored")
    alive.kill()  # what was recovered is on its disk
    alive.start()
    alive.await_ready()
    for _ in range(2):
        ring.add()
    ring.nodes[:2] = []
    ring.await_safe(3, 120)
    read_back(ring, ring.nodes[2], words)
    ensure(ring.ask("get", "after the loss#") == "stored",
           "what was stored after is lost")
    return (f"{done} arcs recovered {took:.1f} s after the loss; all "
            f"{len(words)} words there; whole again on new peers")
