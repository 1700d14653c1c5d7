# SPDX-License-Identifier: Apache-2.0
"""What keys look like changes while a keyspace is used: models follow."""

import os
import time

from ring import Failure, ensure, wait_for
from scenarios import count_all, read_words, text_words
from workload import Load

KS_MAX = 0.02


def words(count):
    all_words = read_words()
    return sorted(all_words[::max(1, len(all_words) // count)][:count])


def paths(count):
    """Files of /usr, as many at most."""
    found = []
    for place, names, files in os.walk("/usr"):
        names.sort()
        for name in sorted(files):
            path = os.path.join(place, name).encode(errors="surrogateescape")
            if len(path) <= 1000 and b"\n" not in path:
                found.append(path)
        if len(found) >= count:
            break
    return found[:count]


def times(count):
    """Of log lines: bursts, second by second."""
    return [b"2026-11-%02dT%02d:%02d:%02d.%03d" % (
        1 + i // 20000, i // 900 % 24, i // 15 % 60, i * i % 60, i % 1000)
        for i in range(count)]


class Epochs:
    """What nodes say of their models; of one process it does not go back."""

    def __init__(self, ring):
        self.ring = ring
        self.last = {}

    def now(self):
        """Of each node that runs, as it says itself."""
        found = []
        for node in self.ring.nodes:
            if not node.runs():
                continue
            epoch = self.ring.json("lookup", "some key", nodes=node.address)[
                0]["model_epoch"]
            pid = node.process.pid
            ensure(epoch >= self.last.get(pid, 0), f"{node.address} goes from "
                   f"epoch {self.last.get(pid)} to {epoch}")
            self.last[pid] = epoch
            found.append(epoch)
        return found


def load(ring, name, keys):
    path = os.path.join(ring.directory, name)
    with open(path, "wb") as f:
        f.writelines(key + b"\n" for key in keys)
    said = ring.ask("load", path, seconds=180)
    ensure(said.startswith(f"loaded {len(keys)} records ") and
           said.endswith(" 0 failed"), f"load of {name}: {said}")


def await_model(ring, epochs, before, seconds=60):
    """Every node has an epoch after before, and the model fits what is there;
    its document."""
    last = [None]

    def fits():
        now = epochs.now()
        last[0] = f"epochs {now}"
        if min(now) <= before or min(now) != max(now):
            return None
        shown = ring.json("model", "show")[0]
        last[0] = f"epoch {shown['epoch']}, KS {shown['ks']}"
        return shown if shown["ks"] <= KS_MAX else None
    try:
        return wait_for("a model that fits, on every node", seconds, fits, 0.3)
    except Failure as failure:
        raise Failure(f"{failure}; after epoch {before}: {last[0]}") from None


def node_of(ring, shown):
    for node in ring.nodes:
        if node.address == shown["trained_by"]:
            return node
    ensure(False, f"trained by {shown['trained_by']}, who is that?")
    return None


def no_failure(clients):
    clients.check()
    ensure(not clients.failures, f"a request failed: {clients.failures[:1]}")


def drift(case):
    """Words, then paths, then times: models follow, and nobody fails."""
    counts = (12000, 12000, 12000) if case.quick else (100000, 40000, 100000)
    kinds = [("words", words(counts[0])), ("paths", paths(counts[1])),
             ("times", times(counts[2]))]
    ring = case.ring()
    ring.up(5)
    ring.ask("keyspace", "set", "default", "gap=1")
    epochs = Epochs(ring)
    clients = Load(ring, text_words(), writers=2, timeout_ms=30000)
    clients.start()
    said, before, killed = [], 0, None
    for name, keys in kinds:
        load(ring, name, keys)
        began = time.monotonic()
        shown = await_model(ring, epochs, before)
        no_failure(clients)
        said.append(f"{name}: epoch {shown['epoch']} by {shown['reason']}, KS "
                    f"{shown['ks']:.4f} after {time.monotonic() - began:.1f} s")
        before = shown["epoch"]
        if name == "paths":
            killed = node_of(ring, shown)
            ring.await_safe(5)
            killed.kill()
    killed.start()
    killed.await_ready()
    wait_for("who was away has the newest epoch", 30,
             lambda: len(set(epochs.now())) == 1)
    ensure(min(epochs.now()) >= before, "an epoch is lost")
    clients.stop()
    no_failure(clients)
    clients.verify()
    stored = clients.key_count() + sum(len(set(keys)) for _, keys in kinds)
    count = count_all(ring)
    ensure(count == stored, f"{count} keys are there, {stored} were stored")
    history = ring.json("model", "history")
    reasons = [h["reason"] for h in history]
    ensure(len(history) >= 3 and
           not set(reasons) & {"force", "import", "none"},
           f"epochs are because of {reasons}")
    return (f"{'; '.join(said)}; {clients.acked_total()} writes, "
            f"{clients.reads} reads, none failed")
