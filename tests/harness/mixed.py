# SPDX-License-Identifier: Apache-2.0
"""All workloads and all faults at once, on hosts of their own."""

import os
import random
import time

from faults import Faults, SmallDisk, check_faketime
from history import History
from loads import Loads
from netns import Net, NetRing
from ring import ensure
from scenarios import text_words

WORDS_KEPT = 2000


def some_words(rng):
    words = [w for w in text_words() if w.isascii() and w.isalpha()]
    return sorted(rng.sample(words, WORDS_KEPT))


def load_file(case, ring, words):
    path = os.path.join(case.directory, "words")
    with open(path, "w") as f:
        f.write("".join(word + "\n" for word in words))
    said = ring.ask("load", path)
    ensure(said.endswith(" 0 failed"), f"load: {said}")


def mixed(case):
    """Random faults of network, processes, disks and clocks under all loads."""
    seed = case.seed or random.SystemRandom().getrandbits(32)
    rng = random.Random(seed)
    print(f"  mixed: seed {seed}", flush=True)
    check_faketime()
    disk = SmallDisk(os.path.join(case.directory, "disk"))
    try:
        said = run(case, seed, rng, disk)
    except BaseException:
        disk.close(keep_in=os.path.join(case.directory, "disk-kept"))
        raise
    for ring in case.rings:
        ring.down()
    case.rings.clear()
    disk.close()
    return said


def run(case, seed, rng, disk):
    count = 3 if case.quick else rng.choice([3, 3, 4, 5])
    seconds = 8 if case.quick else rng.uniform(30, 60)
    spare = 0 if case.quick else 2
    options = ["--join-timeout", "600s"]
    if not case.quick:
        options += ["--down-out", rng.choice(["3s", "300s"]),
                    "--map", rng.choice(["full", "full", "fingers"]),
                    "--replicas", rng.choice(["3", "3", "5"])]
    net = Net(count + spare, seed)
    ring = case.ring(options=options,
                     make=lambda path, **more: NetRing(path, net, **more))
    words = some_words(rng)
    with open(os.path.join(case.directory, "faults"), "w") as log:
        faults = Faults(ring, rng, log, disk, changes=spare > 0)
        ring.up(count, faults.equip)
        load_file(case, ring, words)
        ring.await_safe(count)
        history = History(os.path.join(case.directory, "history"))
        loads = Loads(ring, history, words, rng)
        loads.start()
        faults.run(seconds, loads.check)
        faults.heal()
        healed = time.monotonic()
        ring.await_whole(faults.see_off(), 120)
        whole = time.monotonic() - healed
        loads.await_progress(60)
        loads.stop()
        said = loads.verify()
    stats = net.stats()
    harm = ", ".join(f"{n} {c}" for n, c in sorted(faults.counts.items()))
    return (f"seed {seed}: {count} nodes {' '.join(options[2:])}, {seconds:.0f} s of {harm}; "
            f"whole {whole:.1f} s after; {said}; {history.acknowledged} "
            f"writes acknowledged, {history.unknown} unknown; packets: " +
            ", ".join(f"{v} {k}" for k, v in stats.items() if v))
