# SPDX-License-Identifier: Apache-2.0
"""What a ring that nobody uses costs: processor time and bytes sent."""

import glob
import os
import re
import statistics
import time

from ring import ensure

KEYSPACE = "idle-"
ARCS_FIRST_MAX = 256  # of a keyspace when it is made


def processor_ns(pid):
    """Of all threads, since they began."""
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        with open(path) as f:
            total += int(f.read().split()[0])
    return total


def last_tally(node):
    """What the node's log last said of what it sent: {type: (frames,
    bytes)}, and its turns."""
    with open(node.log, "rb") as f:
        f.seek(max(0, os.path.getsize(node.log) - 65536))
        lines = f.read().decode(errors="replace").splitlines()
    for line in reversed(lines):
        found = re.search(r"tally: turns (\d+), sent frames/bytes:(.*)", line)
        if found:
            kinds = re.findall(r"([a-z]+) (\d+)/(\d+)", found[2])
            return int(found[1]), {k: (int(f), int(b)) for k, f, b in kinds}
    return 0, {}


def loopback_bytes():
    with open("/proc/net/dev") as f:
        for line in f:
            if line.strip().startswith("lo:"):
                return int(line.split()[9])
    return 0


def keyspaces_of(count):
    """So many give about 8 arcs a peer."""
    return max(1, 8 * count // ARCS_FIRST_MAX)


def led_by_each(ring, keyspaces):
    led = {}
    for i in range(keyspaces):
        for arc in ring.json("-k", KEYSPACE + str(i), "ring", seconds=120):
            led[arc["owner"]] = led.get(arc["owner"], 0) + 1
    return led


def grow(ring, count):
    """Some at a time: on two cores, a hundred that start at once would take
    each other for dead."""
    ring.new_node()
    ring.nodes[0].start()
    ring.nodes[0].await_ready()
    while len(ring.nodes) < count:
        come = [ring.new_node()
                for _ in range(min(10, count - len(ring.nodes)))]
        for node in come:
            node.start([ring.nodes[0].address])
        for node in come:
            node.await_ready()
    return ring.await_whole(count, 300)


def measure(ring, seconds):
    """Means of a peer a second."""
    began = time.monotonic()
    before = [(processor_ns(n.process.pid), last_tally(n)) for n in ring.nodes]
    lo = loopback_bytes()
    time.sleep(seconds)
    lo = loopback_bytes() - lo
    after = [(processor_ns(n.process.pid), last_tally(n)) for n in ring.nodes]
    took = time.monotonic() - began
    peers = len(ring.nodes)
    sent = {}
    turns = cpu = 0
    for (cpu0, (turns0, kinds0)), (cpu1, (turns1, kinds1)) in zip(before,
                                                                  after):
        cpu += cpu1 - cpu0
        turns += turns1 - turns0
        for kind, (frames, size) in kinds1.items():
            f0, b0 = kinds0.get(kind, (0, 0))
            f, b = sent.get(kind, (0, 0))
            sent[kind] = (f + frames - f0, b + size - b0)
    per = took * peers
    return {"core": cpu / 1e9 / per, "turns": turns / per, "lo": lo / per,
            "sent": {k: (f / per, b / per) for k, (f, b) in sent.items()}}


def describe(figures):
    sent = sorted(figures["sent"].items(), key=lambda kv: -kv[1][1])
    total = sum(b for _, b in figures["sent"].values())
    kinds = ", ".join(f"{kind} {b:.0f} B in {f:.2f}"
                      for kind, (f, b) in sent if b >= 0.5)
    return (f"{figures['core'] * 100:.2f} % of a core, {figures['turns']:.1f} "
            f"turns, {total:.0f} B ({figures['lo']:.0f} B on loopback) a "
            f"second and peer: {kinds}")


def idle_failover(case):
    """Owners die while their groups sleep: how long a read of 40 keys waits."""
    kills = 5 if case.quick else 20
    ring = case.ring()
    ring.up(5)
    words = [f"key-{i:05}" for i in range(20000)]
    path = os.path.join(case.directory, "words")
    with open(path, "w") as f:
        f.write("\n".join(words) + "\n")
    ring.ask("load", path, seconds=180)
    ring.await_safe(5)
    waits = []
    for i in range(kills):
        time.sleep(12)
        node = ring.nodes[i % 5]
        node.kill()
        began = time.monotonic()
        ring.ask("mget", *words[i::500], nodes=ring.nodes[(i + 1) % 5].address)
        waits.append(time.monotonic() - began)
        node.start()
        node.await_ready()
        ring.await_safe(5, 120)
    p50 = statistics.median(waits)
    ensure(p50 <= 1.9 and max(waits) <= 3, "too slow: " +
           ", ".join(f"{w:.2f}" for w in waits))
    return (f"{kills} kills: 40 keys are read after {p50:.2f} s (p50), "
            f"{max(waits):.2f} s (worst)")


def idle(count, settle, seconds, core_max=None, bytes_max=None):
    def scenario(case):
        ring = case.ring(options=["--log-level", "debug"], durable=False)
        grow(ring, count)
        keyspaces = keyspaces_of(count)
        for i in range(keyspaces):
            ring.ask("keyspace", "create", KEYSPACE + str(i), "--placement",
                     "hashed", seconds=120)
        ring.await_whole(count, 300)
        time.sleep(settle)
        figures = measure(ring, seconds)
        led = led_by_each(ring, keyspaces)
        text = describe(figures)
        ensure(core_max is None or figures["core"] <= core_max,
               f"too much processor time: {text}")
        total = sum(b for _, b in figures["sent"].values())
        ensure(bytes_max is None or total <= bytes_max,
               f"too much is said: {text}")
        return (f"{count} peers, {sum(led.values())} arcs, {min(led.values())}"
                f" to {max(led.values())} led by one: {text}")
    scenario.__doc__ = f"What {count} peers that nobody uses cost; by name."
    return scenario
