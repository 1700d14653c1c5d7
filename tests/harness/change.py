# SPDX-License-Identifier: Apache-2.0
"""The ring changes under a load of half of what it can do: nothing fails, and
what the clients feel of it is measured."""

import json
import signal
import subprocess
import time

from balance import await_rest
from ring import ensure, find_program, spawn, wait_for
from scenarios import count_all, text_words
from workload import Load

VALUE_SIZE = 100
CLIENTS_MANY = 32


class Bench:
    """dlht-cli bench on keys that are there, until its time is up or it is
    told that it was enough; its answer when it is over. Every client asks
    for the next when it has its answer (a closed loop)."""

    def __init__(self, ring, keys, seconds, clients, nodes=None):
        args = [find_program("dlht-cli"), "-n", nodes or ring.addresses(),
                "--json", "bench", "--workload", "mixed", "--no-load",
                "--keys", str(keys), "--value-size", str(VALUE_SIZE),
                "--clients", str(clients), "--pipeline", "1",
                "--seconds", str(seconds)]
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

    def end(self):
        """What the clients felt until now: p99 and longest, milliseconds."""
        ensure(self.process.poll() is None, "the change took too long")
        self.process.send_signal(signal.SIGINT)
        answer = self.result()
        return answer["p99_us"] / 1000, answer["max_us"] / 1000


def has_share(ring, address, peers):
    arcs = ring.json("ring")
    kept = sum(a["bytes"] for a in arcs if address in a["replicas"])
    total = sum(a["bytes"] * len(a["replicas"]) for a in arcs)
    led = sum(a["bytes"] for a in arcs if a["owner"] == address)
    return (kept >= total / peers / 1.25 and
            led >= total / 3 / peers / 1.5)


def all_led(ring, gone):
    """Every arc has a leader, and it is not the dead one."""
    return all(a["owner"] and a["owner"] != gone for a in ring.json("ring"))


def join(ring, bench):
    joined = ring.add()
    wait_for("the newcomer has its share", 200,
             lambda: has_share(ring, joined.address, 6), 0.5)
    ring.await_whole(6)
    return bench.end()


def leave(ring, leaver, nodes, bench):
    ring.ask("leave", leaver.address, "--wait", "150", nodes=nodes,
             seconds=180)
    felt = bench.end()
    if leaver.runs():
        leaver.terminate()
    ring.await_whole(5)
    return felt


def replace(ring, victim, bench):
    wait_for("the lost copies are made anew elsewhere", 200,
             lambda: all(len(a["replicas"]) == 3 and
                         victim.address not in a["replicas"]
                         for a in ring.json("ring")), 0.5)
    return bench.end()


def half_load(ring, keys, seconds):
    """How much the ring does for many clients, and how many of them ask for
    half of it, and for how much they do."""
    full = Bench(ring, keys, seconds, CLIENTS_MANY).result()["rate"]
    clients = 0
    rate = 0
    while rate < full / 2:
        clients += 1
        rate = Bench(ring, keys, seconds, clients).result()["rate"]
    return full, clients, rate


def change_under_load(case):
    """Join, leave, kill and replace under half load; what clients feel."""
    keys = 50000 if case.quick else 1000000
    ring = case.ring(options=["--down-out", "5s"])
    ring.up(5)
    ring.cli("bench", "--keys", str(keys), "--value-size", str(VALUE_SIZE),
             "--workload", "get", "--seconds", "1", seconds=300)
    ring.await_whole(5)
    await_rest(ring)
    full, clients, rate = half_load(ring, keys, 3 if case.quick else 10)
    load = Load(ring, text_words(), writers=1, keys_each=10)
    load.start()
    want = keys + load.key_count()
    said = [f"{keys} records; {clients} clients, {rate:.0f}/s of at most "
            f"{full:.0f}/s"]

    def watch(nodes=None):
        """A bench for as long as a change takes."""
        return Bench(ring, keys, 600, clients, nodes)

    def felt(what, p99_and_longest):
        said.append("%s: p99 %.2f ms, longest %.0f ms" %
                    (what, *p99_and_longest))

    bench = watch()
    time.sleep(3 if case.quick else 15)
    felt("at rest", bench.end())
    felt("join", join(ring, watch()))

    leaver = ring.nodes[1]
    others = ",".join(n.address for n in ring.nodes if n is not leaver)
    felt("leave", leave(ring, leaver, others, watch(others)))
    load.check()
    ensure(not load.failures, f"a request failed: {load.failures[:1]}")

    victim = ring.nodes[2]
    others = ",".join(n.address for n in ring.nodes
                      if n.runs() and n is not victim)
    bench = watch(others)
    victim.kill()
    wait_for("others lead", 30, lambda: all_led(ring, victim.address), 0.1)
    felt("kill", bench.end())
    felt("replace", replace(ring, victim, watch(others)))
    load.stop()
    ensure(not load.failures, f"a request failed: {load.failures[:1]}")
    load.verify()
    count = count_all(ring)
    ensure(count == want, f"{count} keys are there, {want} were stored")
    return "; ".join(said)
