# SPDX-License-Identifier: Apache-2.0
"""kill -9, again and again, of a loaded durable ring of three."""

import os
import random
import time

from history import History
from loads import Appends, Bank, Loads, Registers, Sets
from mixed import load_file, some_words


def kills(case):
    """kill -9 cycles of a loaded ring of three: nothing acked is lost."""
    cycles = case.kills or (3 if case.quick else 20)
    seed = case.seed or random.SystemRandom().getrandbits(32)
    rng = random.Random(seed)
    print(f"  kills: seed {seed}", flush=True)
    ring = case.ring()
    ring.up(3)
    words = some_words(rng)
    load_file(case, ring, words)
    ring.await_safe(3)
    totals = {"cycles": 0, "acknowledged": 0, "unknown": 0}
    began = time.monotonic()
    while totals["cycles"] < cycles:
        # A ring that lives on, workloads that begin anew: a history and the
        # set of all that was ever acknowledged must not grow for hours.
        some = min(50, cycles - totals["cycles"])
        round_of(case, ring, words, rng, some, totals)
        if case.kills:
            print(f"  {totals['cycles']} cycles, {totals['acknowledged']} "
                  "acknowledged, 0 lost", flush=True)
    took = time.monotonic() - began
    return (f"seed {seed}: {totals['cycles']} cycles of {took / cycles:.1f} s,"
            f" {totals['acknowledged']} writes acknowledged, "
            f"{totals['unknown']} unknown, 0 lost")


def round_of(case, ring, words, rng, cycles, totals):
    history = History(os.path.join(case.directory,
                                   f"history-{totals['cycles']}"))
    loads = Loads(ring, history, words, rng,
                  (Registers, Sets, Appends, Bank),
                  tag=f"{totals['cycles']}.", pace=0.002)
    loads.start()
    for _ in range(cycles):
        kill_some(ring, rng, loads)
    loads.stop()
    loads.verify()
    history.file.close()
    os.unlink(history.path)
    totals["cycles"] += cycles
    totals["acknowledged"] += history.acknowledged
    totals["unknown"] += history.unknown
    clear(ring, loads)


def clear(ring, loads):
    """Takes away what the workloads wrote; the words stay."""
    keys = [key for load in loads.loads for key in load.keys()]
    lines = "".join(f'del "{key}"\n' for key in keys)
    ring.cli("--json", data=lines.encode(), seconds=600)


def kill_some(ring, rng, loads):
    """One node, or now and then two or all: at any moment, without waiting
    for what the last kill left behind. Then all workloads must go on."""
    count = rng.choice([1, 1, 1, 1, 2, 3])
    victims = rng.sample(ring.nodes, count)
    time.sleep(rng.uniform(0, 0.5))
    for node in victims:
        node.ended_by_us = True
        node.process.kill()
    for node in victims:
        node.process.wait()
    time.sleep(rng.choice([0, rng.uniform(0, 1)]))
    for node in victims:
        node.start()
    for node in victims:
        node.await_ready()
    loads.await_progress(60, more=3)
    for node in ring.nodes:
        node.check()
