# SPDX-License-Identifier: Apache-2.0
"""Collections on a real ring, against a scan of all vectors in here."""

import json
import math
import os
import random
import struct
import subprocess
import threading
import time

from ring import ensure, find_program, wait_for

DIM = 16
K = 10
GROUPS = 10


class Vectors:
    """What a collection must hold: id to vector, rounded to float32."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.centres = [[self.rng.gauss(0, 1) for _ in range(DIM)]
                        for _ in range(30)]
        self.all = {}
        self.known = {}  # truths of the queries, as long as nothing changes

    def draw(self):
        centre = self.rng.choice(self.centres)
        drawn = [c + self.rng.gauss(0, 0.3) for c in centre]
        return struct.unpack(f"{DIM}f", struct.pack(f"{DIM}f", *drawn))

    def add(self, first, count):
        added = {str(i): self.draw() for i in range(first, first + count)}
        self.take(added)
        return added

    def take(self, added):
        self.all.update(added)
        self.known = {}

    def drop(self, keys):
        for key in keys:
            del self.all[key]
        self.known = {}

    def nearest(self, query, group):
        """Distances of the K nearest, ascending; group None: of all."""
        if (query, group) not in self.known:
            found = sorted(math.dist(query, v) for key, v in self.all.items()
                           if group is None or group_of(key) == group)
            self.known[query, group] = found[:K]
        return self.known[query, group]

    def are_nearest(self, query, group, ids):
        """A hit may change places with one that is as near but for rounding."""
        truth = self.nearest(query, group)
        return (len(ids) == len(set(ids)) == len(truth) and
                all(key in self.all and (group is None or
                                         group_of(key) == group)
                    for key in ids) and
                all(math.isclose(math.dist(query, self.all[key]), d,
                                 rel_tol=1e-5) for key, d in zip(ids, truth)))


def group_of(key):
    return int(key) % GROUPS


def write_lines(path, vectors):
    with open(path, "w", encoding="ascii") as f:
        for key, vector in vectors.items():
            f.write(json.dumps({"id": key, "vector": list(vector),
                                "meta": {"group": group_of(key)}}) + "\n")
    return path


def write_fvecs(path, rows):
    with open(path, "wb") as f:
        for row in rows:
            f.write(struct.pack(f"<i{DIM}f", DIM, *row))
    return path


def load(ring, path, seconds=120):
    """Until all of it is acknowledged: putting again does no harm."""
    end = time.monotonic() + seconds
    while True:
        answer = ring.cli("--json", "-k", "docs", "vector", "load", path,
                          seconds=seconds)
        said = json.loads(answer.out.splitlines()[-1])
        if said["failed"] == 0:
            return said
        ensure(answer.code == 3 and time.monotonic() < end,
               f"load: exit code {answer.code}, {said}, {answer.err!r}")


def search(ring, path, *options, nodes=None):
    """Lists of ids, one a query; the answer must be whole."""
    answer = ring.cli("--json", "-k", "docs", "vector", "search", "--file",
                      path, "-k", str(K), *options, nodes=nodes)
    ensure(answer.code == 0, f"search: {answer.code}: {answer.err!r}")
    ensure(not answer.err, f"search: {answer.err!r}")
    found = {}
    for line in answer.out.splitlines():
        hit = json.loads(line)
        found.setdefault(hit["query"], []).append(hit["id"])
    return [found[q] for q in sorted(found)]


def check_exact(ring, vectors, queries, path, why, nodes=None):
    """An exact search is the truth, with a filter and without."""
    for group in (None, 3):
        options = ["--exact"]
        if group is not None:
            options += ["--filter", f"group = {group}"]
        found = search(ring, path, *options, nodes=nodes)
        ensure(len(found) == len(queries),
               f"{why}: {len(found)} queries had hits")
        for query, ids in zip(queries, found):
            ensure(vectors.are_nearest(query, group, ids),
                   f"{why}: group {group}: {ids} are not the nearest to "
                   f"{query}")


def recall(ring, path, *options, nodes=None):
    said = ring.json("-k", "docs", "vector", "recall", "--file", path, "-k",
                     str(K), *options, nodes=nodes)[0]
    ensure(not said["partial"], f"recall: {said}")
    return said["recall"]


def check_table(ring):
    """tests/cmd/test_vector.sh through the real programs."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    environment = dict(os.environ, DLHT_CLI=find_program("dlht-cli"),
                       DLHT_NODE=ring.addresses())
    done = subprocess.run([os.path.join(root, "cmd", "test_vector.sh")],
                          env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60, check=False)
    text = done.stdout.decode(errors="replace").strip().splitlines()
    ensure(done.returncode == 0, "; ".join(text[:6] + text[-1:]))
    return text[-1]


def remove(ring, vectors, keys):
    ring.ask("-k", "docs",
             data="".join(f"vector del {key}\n" for key in keys).encode())
    vectors.drop(keys)


class Searcher(threading.Thread):
    """Asks without end; a hit must be a vector there is, once."""

    def __init__(self, ring, path, known, nodes):
        super().__init__(daemon=True)
        self.ring, self.path, self.known, self.nodes = ring, path, known, nodes
        self.answers, self.refused, self.partial = 0, 0, 0
        self.wrong = None
        self.stop = False

    def run(self):
        while not self.stop and not self.wrong:
            answer = self.ring.cli("--json", "-k", "docs", "vector", "search",
                                   "--file", self.path, "-k", str(K),
                                   nodes=self.nodes)
            if answer.code != 0:
                self.refused += 1
                continue
            self.partial += b"partial" in answer.err
            self.look_at(answer.out.splitlines())

    def look_at(self, lines):
        seen = set()
        for line in lines:
            hit = json.loads(line)
            if (hit["query"], hit["id"]) in seen:
                self.wrong = f"twice: {hit}"
            if hit["id"] not in self.known:
                self.wrong = f"no such vector, or removed: {hit}"
            seen.add((hit["query"], hit["id"]))
        self.answers += 1


def kill_in_the_middle(ring, vectors, more, paths):
    """A node dies while vectors are loaded and searched for."""
    others = ",".join(n.address for n in (ring.nodes[0], ring.nodes[2]))
    known = set(vectors.all) | set(more)
    searcher = Searcher(ring, paths["queries"], known, others)
    searcher.start()
    killer = threading.Timer(0.4, ring.nodes[1].kill)
    killer.start()
    said = load(ring, paths["more"])
    while killer.is_alive():  # a fast machine
        said = load(ring, paths["more"])
    vectors.take(more)
    time.sleep(1)
    searcher.stop = True
    searcher.join()
    ensure(not searcher.wrong, searcher.wrong)
    ensure(searcher.answers > 0, "no search was answered")
    return searcher, said, others


def info(ring, node):
    return ring.json("vector", "info", "docs", nodes=node.address)[0]


def await_indexed(ring, count):
    """Each node has a copy of everything, and all of it in its graph; on a
    slow machine that takes long, but it goes on."""
    fields = ("held", "indexed", "waiting", "damaged")
    last, since = None, time.monotonic()
    while True:
        facts = [[info(ring, node)[f] for f in fields] for node in ring.nodes]
        if all(f == [count, count, 0, 0] for f in facts):
            return
        if facts != last:
            last, since = facts, time.monotonic()
        ensure(time.monotonic() - since < 30,
               f"graphs stand still: {count} vectors; {fields} are {facts}")
        time.sleep(0.3)


def damage_graphs(node, rng):
    """A byte of each file of a graph is another."""
    names = [name for name in os.listdir(node.data)
             if name.startswith("graph-") and not name.endswith(".tmp")]
    ensure(names, f"{node.address} has written no graph")
    for name in names:
        with open(os.path.join(node.data, name), "r+b") as f:
            at = rng.randrange(os.path.getsize(f.name))
            f.seek(at)
            byte = f.read(1)[0]
            f.seek(at)
            f.write(bytes([byte ^ 0x40]))


def start_again(ring, node, before):
    """What it says of its graphs, once it serves."""
    node.terminate()
    begin = os.path.getsize(node.log)
    before(node)
    node.start()
    node.await_ready()

    def said():
        with open(node.log, errors="replace") as log:
            log.seek(begin)
            return [line for line in log if "graph of 'docs'" in line]
    wait_for(f"{node.address} says what it starts with", 30, said)
    return said()[0].strip()


def restarts(ring, want, queries, path):
    """One takes its graph's file over, one finds it damaged, while vectors that
    neither file knows are there."""
    changed = want.rng.sample(sorted(want.all), 40)
    rng = random.Random(want.rng.random())
    for node, before, what in (
            (ring.nodes[2], lambda node: None, "taken over from its file"),
            (ring.nodes[0], lambda node: damage_graphs(node, rng),
             "its file is refused")):
        ring.await_safe(3)

        def between(node, before=before):
            before(node)
            others = ",".join(n.address for n in ring.nodes if n is not node)
            gone, changed[:] = changed[:20], changed[20:]
            ring.ask("-k", "docs", nodes=others, data="".join(
                f"vector del {key}\n" for key in gone).encode())
            want.drop(gone)
        said = start_again(ring, node, between)
        ensure(what in said, f"{node.address} said: {said}")
        check_exact(ring, want, queries, path, what, node.address)
        ring.await_whole(3)
        await_indexed(ring, len(want.all))
        check_exact(ring, want, queries, path, what, node.address)
        found = recall(ring, path, nodes=node.address)
        ensure(found >= 0.95, f"recall is {found} where {what}")


def vectors(case):
    """A collection on three nodes: load, search, filter, kill -9, rebuild;
    graphs taken over from their files, and not."""
    seed = case.seed or random.SystemRandom().getrandbits(32)
    print(f"  vectors: seed {seed}", flush=True)
    count = 3000 if case.quick else 20000
    ring = case.ring()
    ring.up(3)
    table = check_table(ring)
    want = Vectors(seed)
    queries = [want.draw() for _ in range(20)]
    first = want.add(0, count)
    paths = {"first": write_lines(os.path.join(case.directory, "1.jsonl"),
                                  first),
             "queries": write_fvecs(os.path.join(case.directory, "q.fvecs"),
                                    queries)}
    ring.ask("vector", "create", "docs", "--dim", str(DIM), "--metric", "l2",
             "--index", "group")
    rate = load(ring, paths["first"])["rate"]
    check_exact(ring, want, queries, paths["queries"], "loaded")
    removed = want.rng.sample(sorted(want.all), 100)
    remove(ring, want, removed)
    check_exact(ring, want, queries, paths["queries"], "after removal")
    await_indexed(ring, len(want.all))
    before = recall(ring, paths["queries"])
    ensure(before >= 0.95, f"recall is {before}")
    filtered = recall(ring, paths["queries"], "--filter", "group = 3")
    ensure(filtered >= 0.95, f"recall of a filter is {filtered}")
    ring.await_safe(3)
    more = Vectors(seed + 1).add(count, 15000)
    paths["more"] = write_lines(os.path.join(case.directory, "2.jsonl"), more)
    searcher, said, others = kill_in_the_middle(ring, want, more, paths)
    check_exact(ring, want, queries, paths["queries"], "with a node less",
                others)
    ring.nodes[1].start()
    ring.nodes[1].await_ready()
    ring.await_whole(3)
    await_indexed(ring, len(want.all))
    ring.ask("vector", "rebuild", "docs", "--wait",
             nodes=ring.nodes[1].address)
    for node in ring.nodes:
        check_exact(ring, want, queries, paths["queries"],
                    f"through {node.address}", node.address)
    restarts(ring, want, queries, paths["queries"])
    after = recall(ring, paths["queries"])
    ensure(after >= 0.95, f"recall at the end is {after}")
    return (f"{table}; {count} loaded at {rate:.0f}/s, {len(more)} more in "
            f"{said['seconds']:.1f} s with a kill; recall {before:.3f}, "
            f"{filtered:.3f} filtered, {after:.3f} at the end; "
            f"{searcher.answers} searches meanwhile, {searcher.partial} "
            f"partial, {searcher.refused} refused")
