# SPDX-License-Identifier: Apache-2.0
"""The ring changes under a load of half of what it can do: nothing fails, and
what the clients feel of it is measured."""

import json
import subprocess
import threading

from ring import ensure, find_program, spawn, wait_for
from scenarios import count_all, text_words
from workload import Load

VALUE_SIZE = 100


class Bench:
    """dlht-cli bench on keys that are there; its answer when it is over."""

    def __init__(self, ring, keys, seconds, rate=None, nodes=None):
        args = [find_program("dlht-cli"), "-n", nodes or ring.addresses(),
                "--json", "bench", "--workload", "mixed", "--no-load",
                "--keys", str(keys), "--value-size", str(VALUE_SIZE),
                "--clients", "4", "--pipeline", "4",
                "--seconds", str(seconds)]
        if rate:
            args += ["--rate", str(rate)]
        self.process = spawn(args, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
        self.seconds = seconds

    def result(self):
        out, err = self.process.communicate(timeout=self.seconds + 90)
        ensure(self.process.returncode == 0, "a request of the bench failed: "
               f"{err.decode(errors='replace').strip()}")
        answer = json.loads(out)
        ensure(answer["errors"] == 0, f"bench: {answer}")
        return answer


class Change:
    """Benches one after the other for as long as a change takes."""

    def __init__(self, ring, keys, rate, seconds, nodes=None):
        self.args = (ring, keys, seconds, rate, nodes)
        self.results = []
        self.problem = None
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while True:
                self.results.append(Bench(*self.args).result())
                if self.over.is_set():
                    return
        except Exception as problem:  # told to who waits for the change
            self.problem = problem

    def end(self):
        """The worst p99 and the longest wait of all, in milliseconds."""
        self.over.set()
        self.thread.join(200)
        ensure(not self.thread.is_alive(), "a bench does not end")
        ensure(not self.problem, f"{self.problem}")
        return (max(r["p99_us"] for r in self.results) / 1000,
                max(r["max_us"] for r in self.results) / 1000)


def has_share(ring, address, peers):
    arcs = ring.json("ring")
    kept = sum(a["bytes"] for a in arcs if address in a["replicas"])
    total = sum(a["bytes"] * len(a["replicas"]) for a in arcs)
    led = sum(a["bytes"] for a in arcs if a["owner"] == address)
    return (kept >= total / peers / 1.25 and
            led >= total / 3 / peers / 1.5)


def change_under_load(case):
    """Join, leave, kill and replace under half load; what clients feel."""
    keys = 50000 if case.quick else 1000000
    seconds = 3 if case.quick else 10
    ring = case.ring(options=["--down-out", "5s"])
    ring.up(5)
    ring.cli("bench", "--keys", str(keys), "--value-size", str(VALUE_SIZE),
             "--workload", "get", "--seconds", "1", seconds=300)
    ring.await_whole(5)
    full = Bench(ring, keys, seconds).result()["rate"]
    rate = int(full / 2)
    calm = Bench(ring, keys, seconds, rate).result()["p99_us"] / 1000
    load = Load(ring, text_words(), writers=1, keys_each=10)
    load.start()
    want = keys + load.key_count()
    said = [f"{keys} records; half of {full:.0f}/s; p99 before {calm:.2f} ms"]

    change = Change(ring, keys, rate, seconds)
    joined = ring.add()
    wait_for("the newcomer has its share", 200,
             lambda: has_share(ring, joined.address, 6), 0.5)
    ring.await_whole(6)
    said.append("join: p99 %.2f ms, longest %.0f ms" % change.end())

    leaver = ring.nodes[1]
    others = ",".join(n.address for n in ring.nodes if n is not leaver)
    change = Change(ring, keys, rate, seconds, nodes=others)
    ring.ask("leave", leaver.address, "--wait", "150", nodes=others,
             seconds=180)
    said.append("leave: p99 %.2f ms, longest %.0f ms" % change.end())
    if leaver.runs():
        leaver.terminate()
    ring.await_whole(5)
    load.check()
    ensure(not load.failures, f"a request failed: {load.failures[:1]}")

    victim = ring.nodes[2]
    change = Change(ring, keys, rate, seconds, nodes=",".join(
        n.address for n in ring.nodes if n.runs() and n is not victim))
    victim.kill()
    wait_for("the lost copies are made anew elsewhere", 200,
             lambda: all(len(a["replicas"]) == 3 and
                         victim.address not in a["replicas"]
                         for a in ring.json("ring")), 0.5)
    said.append("kill and replace: p99 %.2f ms, longest %.0f ms" %
                change.end())
    load.stop()
    ensure(not load.failures, f"a request failed: {load.failures[:1]}")
    load.verify()
    count = count_all(ring)
    ensure(count == want, f"{count} keys are there, {want} were stored")
    return "; ".join(said)
