# SPDX-License-Identifier: Apache-2.0
"""A volatile cache on a real ring: ends, bounds, peers that die, and peers
that come and go in order."""

import os
import time

from ring import ensure, wait_for

NAME = "cache"
ITEMS_MAX = 2000


def shell(ring, commands, nodes=None, seconds=90):
    """Answers of one dlht-cli to a command a line; those that fail are not in
    them, and are counted."""
    answer = ring.cli("--json", "-k", NAME, nodes=nodes,
                      data="\n".join(commands).encode() + b"\n",
                      seconds=seconds)
    lines = answer.out.decode().splitlines()
    return [line for line in lines if '"error"' not in line], lines


def put_all(ring, count, value, ttl=None, nodes=None):
    end = f" --ttl {ttl}" if ttl else ""
    done, said = shell(ring, [f"cache set k{i} {value}{i}{end}"
                              for i in range(count)], nodes)
    ensure(len(done) == count, f"{count - len(done)} of {count} puts failed: "
           f"{[s for s in said if 'error' in s][:1]}")


def get_all(ring, count, value, nodes=None):
    """How many are there; each is what was put."""
    _, said = shell(ring, [f"cache get k{i}" for i in range(count)], nodes)
    ensure(len(said) == count, f"{len(said)} answers to {count} gets")
    there = 0
    for i, line in enumerate(said):
        if '"error"' in line:
            ensure("no such key" in line or "ENOTFOUND" in line,
                   f"k{i}: {line}")
            continue
        ensure(f'"{value}{i}"' in line, f"k{i} holds {line}")
        there += 1
    return there


def owners(ring):
    arcs = ring.json("-k", NAME, "ring")
    return [(arc["owner"], arc["generation"]) for arc in arcs]


def journal_bytes(node):
    total = 0
    for path, _, files in os.walk(node.data):
        total += sum(os.path.getsize(os.path.join(path, f)) for f in files)
    return total


def await_owners(ring, dead, seconds):
    def none_is_dead():
        return all(owner and owner != dead for owner, _ in owners(ring))
    began = time.monotonic()
    wait_for("other owners of the cache", seconds, none_is_dead, 0.1)
    return time.monotonic() - began


def moved(ring, count):
    """A peer joins, another leaves, a third is stopped: nothing is lost, nor
    what is written meanwhile."""
    put_all(ring, count, "f")
    ends = [f"cache set end{i} x --ttl 600000" for i in range(20)]
    ensure(len(shell(ring, ends)[0]) == len(ends), "a put with an end failed")
    node = ring.add()

    def share():
        return sum(owner == node.address for owner, _ in owners(ring))
    wait_for("the first arc of the newcomer", 60, lambda: share() > 0, 0.1)
    put_all(ring, count, "g")
    fair = len(owners(ring)) // len(ring.nodes) - 1
    wait_for("the share of the newcomer", 90, lambda: share() >= fair, 0.5)
    there = get_all(ring, count, "g", node.address)
    ensure(there == count, f"{there} of {count} after a peer joined")

    leaver = ring.nodes[0]
    rest = ",".join(n.address for n in ring.nodes[1:])
    ring.ask("leave", leaver.address, "--wait", "90", nodes=rest, seconds=120)
    there = get_all(ring, count, "g", rest)
    ensure(there == count, f"{there} of {count} after a peer left")
    if leaver.runs():
        leaver.terminate()
    there = get_all(ring, count, "g", rest)
    ensure(there == count, f"{there} of {count} after it was stopped")
    stopped, rest = ring.nodes[1], ",".join(n.address for n in ring.nodes[2:])
    stopped.terminate()
    there = get_all(ring, count, "g", rest)
    ensure(there == count, f"{there} of {count} after another was stopped")
    _, said = shell(ring, [f"cache ttl end{i}" for i in range(20)], rest)
    left = [int("".join(c for c in line if c.isdigit()) or 0) for line in said]
    ensure(all(300000 < ms <= 600000 for ms in left), f"ends: {said[:2]}")
    return fair


def cache(case):
    ring = case.ring()
    ring.up(3)
    count = 300 if case.quick else 900
    ring.ask("keyspace", "create", NAME, "--volatile", "--max-items",
             str(ITEMS_MAX))
    for bad in (("--volatile", "--placement", "ordered"),
                ("--volatile", "--replicas", "3"),
                ("--max-bytes", "10M"), ("--volatile", "--max-items", "0")):
        ensure(ring.cli("keyspace", "create", "bad", *bad).code == 2,
               f"keyspace create {bad} is not refused")
    ring.await_whole(3)

    put_all(ring, count, "a")
    for node in ring.nodes:
        there = get_all(ring, count, "a", node.address)
        ensure(there == count, f"{there} of {count} by {node.address}")
    put_all(ring, count, "b", ttl=700)
    time.sleep(1)
    ensure(get_all(ring, count, "b") == 0, "entries outlive their end")

    put_all(ring, count, "c")
    before = owners(ring)
    victim = ring.nodes[1]
    held = sum(owner == victim.address for owner, _ in before)
    ensure(held > 0, "the peer to be killed holds nothing")
    victim.ended_by_us = True
    victim.kill()
    gone_s = await_owners(ring, victim.address, 30)
    left = get_all(ring, count, "c")
    ensure(0 < left < count, f"{left} of {count} are there after a kill")
    put_all(ring, count, "d")
    ensure(get_all(ring, count, "d") == count, "not all is there again")

    victim.ended_by_us = False
    victim.start([ring.nodes[0].address])
    victim.await_ready()
    ring.await_whole(3)
    stats = ring.json("-k", NAME, "cache", "stats")[0]
    ensure(stats["count"] <= ITEMS_MAX * 3, f"bounds are passed: {stats}")
    ensure(stats["count_max"] <= ITEMS_MAX * 3, f"{stats}")
    get_all(ring, count, "d")  # some were moved to the one that is back
    for (_, old), (_, new) in zip(before, owners(ring)):
        ensure(new >= old, "a generation went back")
    put_all(ring, count, "e")
    ring.ask("-k", NAME, "cache", "flush")
    ensure(get_all(ring, count, "e") == 0, "a flush leaves something")

    # Nothing of it is journaled: large values, and no file grows by them.
    sizes = [journal_bytes(node) for node in ring.nodes]
    value = "x" * 20000
    shell(ring, [f"cache set k{i} {value}" for i in range(200)])
    grown = max(journal_bytes(n) - s for n, s in zip(ring.nodes, sizes))
    ensure(grown < 2_000_000, f"a journal grew by {grown} bytes")
    share = moved(ring, count)
    return (f"{count} entries, {held} of {len(before)} arcs of a killed peer "
            f"were served by others {gone_s:.1f} s later; {share} went to a "
            "newcomer with all they held")
