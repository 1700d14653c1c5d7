# SPDX-License-Identifier: Apache-2.0
"""What goes wrong around real nodes, drawn from a seed: kills, pauses, cut and
bad links, slow and full disks, clocks that are off and drift."""

import ctypes
import os
import signal
import struct
import subprocess
import sys
import time

from ring import Skipped, ensure, find_program, spawn, wait_for

FAKETIME = [f"/usr/lib/{d}/faketime/libfaketimeMT.so.1" for d in
            ("x86_64-linux-gnu", "aarch64-linux-gnu")]
# docs/architecture.md: the drift that leases allow for.
DRIFT_MAX = 0.01
_CLONE_NEWNS = 0x20000
_libc = ctypes.CDLL(None, use_errno=True)


def faketime_library():
    for path in FAKETIME:
        if os.path.exists(path):
            return path
    ensure(False, "libfaketime is missing; scripts/install-deps test "
           "installs it")


def check_faketime():
    """The clock that nodes read is faked, its value and its pace."""
    script = ("import time; c = time.CLOCK_BOOTTIME; m = time.CLOCK_MONOTONIC;"
              "t = [time.clock_gettime(x) for x in (c, m)];"
              "time.sleep(0.3);"
              "u = [time.clock_gettime(x) for x in (c, m)];"
              "print(*t, *[b - a for a, b in zip(t, u)])")
    said = []
    for setting in ("+0", "+86400 x3"):
        out = subprocess.run(
            ["/usr/bin/env", "LD_PRELOAD=" + faketime_library(),
             "FAKETIME=" + setting, sys.executable, "-c", script],
            stdout=subprocess.PIPE, check=True).stdout
        began = time.monotonic()
        said.append([float(word) for word in out.split()])
        ensure(time.monotonic() - began < 5, "faketime sleeps for long")
    for clock in (0, 1):
        ensure(said[1][clock] - said[0][clock] > 86000,
               "libfaketime leaves the clock alone that nodes read")


class SlowSync:
    """The file that tests/harness/slow_sync.c reads."""

    def __init__(self, path):
        self.path = path
        self.set(0)

    def set(self, delay_ms):
        with open(self.path, "r+b" if os.path.exists(self.path) else
                  "wb") as f:
            f.write(struct.pack("=I", delay_ms))


class SmallDisk:
    """A file system that only this process and its children see, and that is
    gone when they are."""
    mebibytes = 400

    def __init__(self, directory):
        os.makedirs(directory)
        if not SmallDisk.is_private:
            if _libc.unshare(_CLONE_NEWNS) != 0:
                raise Skipped("to mount a small disk needs root")
            subprocess.run(["mount", "--make-rprivate", "/"], check=True)
            SmallDisk.is_private = True
        subprocess.run(["mount", "-t", "tmpfs", "-o",
                        f"size={self.mebibytes}m", "tmpfs", directory],
                       check=True)
        self.path = directory
        self.filler = os.path.join(directory, "filler")

    is_private = False

    def fill(self):
        with open(self.filler, "wb", 0) as f:
            try:
                while f.write(bytes(1 << 20)):
                    pass
            except OSError:
                pass

    def make_room(self):
        if os.path.exists(self.filler):
            os.unlink(self.filler)

    def close(self, keep_in=None):
        """keep_in: a directory to copy what is there to."""
        if keep_in:
            self.make_room()
            subprocess.run(["cp", "-a", "--sparse=always", self.path, keep_in],
                           check=False)
        subprocess.run(["umount", "-l", self.path], check=False)


class Faults:
    """Of a NetRing. disk: the SmallDisk of its first node, or None. changes:
    nodes join and leave, too."""

    def __init__(self, ring, rng, log, disk=None, changes=False):
        self.ring = ring
        self.rng = rng
        self.log = log
        self.disk = disk
        self.noise = {}
        self.cuts = []    # of (from, to), hosts; 0: any
        self.busy = {}    # node: what is wrong with its process
        self.undo = []    # (when, name, function)
        self.counts = {}
        self.leaving = []
        self.began = time.monotonic()
        self.kinds = [self.kill, self.pause, self.one_way, self.deaf,
                      self.mute, self.isolate, self.divide, self.bad_links,
                      self.slow_disk, self.skew, self.kill_all]
        if disk:
            self.kinds.append(self.full_disk)
        if changes:
            self.kinds += [self.join, self.leave]
        self.slow = {}

    def equip(self, node):
        """Before its first start: the libraries that make it slow and late."""
        os.makedirs(node.directory, exist_ok=True)
        slow = SlowSync(os.path.join(node.directory, "slow_sync"))
        self.slow[node] = slow
        if self.disk and node is self.ring.nodes[0]:
            node.data = os.path.join(self.disk.path, "data")
        node.environment = {
            "LD_PRELOAD": find_program("slow_sync.so"),
            "DLHT_SLOW_SYNC": slow.path,
            "ASAN_OPTIONS": "verify_asan_link_order=0"}
        self.set_clock(node)

    def set_clock(self, node):
        """A clock that is off by up to a day and drifts."""
        offset = self.rng.choice([0, self.rng.uniform(0, 5),
                                  self.rng.uniform(0, 86400)])
        pace = 1 + self.rng.uniform(-DRIFT_MAX, DRIFT_MAX) / 2
        node.environment["LD_PRELOAD"] = " ".join(
            [find_program("slow_sync.so"), faketime_library()])
        node.environment["FAKETIME"] = f"+{offset:.3f} x{pace:.5f}"
        return node.environment["FAKETIME"]

    def say(self, text):
        self.log.write(f"{time.monotonic() - self.began:8.3f} {text}\n")
        self.log.flush()

    # --- each does harm, and returns a name and what ends it

    def host(self, node):
        return self.ring.nodes.index(node) + 1

    def some(self):
        """A node whose process is well, or None."""
        well = [n for n in self.ring.nodes if n not in self.busy and n.runs()]
        return self.rng.choice(well) if well else None

    def take(self, node, what):
        self.busy[node] = what

    def restart(self, *nodes):
        def end():
            for node in nodes:
                node.start([n.address for n in self.ring.nodes
                            if n is not node])
                self.busy.pop(node)
        return end

    def kill(self):
        node = self.some()
        if not node:
            return None
        self.take(node, "killed")
        node.kill()
        return f"kill {self.host(node)}", self.restart(node)

    def kill_all(self):
        nodes = [n for n in self.ring.nodes if n not in self.busy]
        for node in nodes:
            self.take(node, "killed")
            node.ended_by_us = True
            node.process.kill()
        for node in nodes:
            node.process.wait()
        return "kill all", self.restart(*nodes)

    def skew(self):
        node = self.some()
        if not node:
            return None
        self.take(node, "killed")
        node.kill()
        return (f"clock of {self.host(node)} {self.set_clock(node)}",
                self.restart(node))

    def pause(self):
        node = self.some()
        if not node:
            return None
        self.take(node, "paused")
        node.process.send_signal(signal.SIGSTOP)

        def end():
            node.process.send_signal(signal.SIGCONT)
            self.busy.pop(node)
        return f"pause {self.host(node)}", end

    def cut(self, *pairs):
        self.cuts += pairs
        self.push()

        def end():
            for pair in pairs:
                self.cuts.remove(pair)
            self.push()
        return end

    def one_way(self):
        count = len(self.ring.nodes)
        a, b = self.rng.sample(range(1, count + 1), 2)
        return f"cut {a} -> {b}", self.cut((a, b))

    def deaf(self):
        a = self.rng.randint(1, len(self.ring.nodes))
        return f"deaf {a}", self.cut((0, a))

    def mute(self):
        a = self.rng.randint(1, len(self.ring.nodes))
        return f"mute {a}", self.cut((a, 0))

    def isolate(self):
        a = self.rng.randint(1, len(self.ring.nodes))
        return f"isolate {a}", self.cut((a, 0), (0, a))

    def divide(self):
        count = len(self.ring.nodes)
        hosts = list(range(1, count + 1))
        self.rng.shuffle(hosts)
        at = self.rng.randint(1, count - 1)
        pairs = [(a, b) for a in hosts[:at] for b in hosts[at:]]
        pairs += [(b, a) for a, b in pairs]
        return f"divide {hosts[:at]} {hosts[at:]}", self.cut(*pairs)

    def bad_links(self):
        draw = self.rng.uniform
        self.noise = {"loss": draw(0, self.rng.choice([0.02, 0.1, 0.3])), "delay_ms": draw(0, 20),
                      "jitter_ms": draw(0, 30), "double": draw(0, 0.1),
                      "reorder": draw(0, 0.1)}
        self.push()

        def end():
            self.noise = {}
            self.push()
        said = ", ".join(f"{k} {v:.2f}" for k, v in self.noise.items())
        return "links: " + said, end

    def push(self):
        links = [(0, 0, self.noise)]
        links += [(a, b, {"cut": True}) for a, b in self.cuts]
        self.ring.net.set(*links)

    def slow_disk(self):
        node = self.rng.choice(self.ring.nodes)
        ms = self.rng.randint(20, 400)
        slow = self.slow[node]
        slow.set(ms)
        return f"syncs of {self.host(node)} take {ms} ms", lambda: slow.set(0)

    def full_disk(self):
        self.disk.fill()
        return "disk of 1 full", self.disk.make_room

    def join(self):
        if len(self.ring.nodes) + 1 >= len(self.ring.net.hosts):
            return None
        node = self.ring.new_node()
        self.equip(node)
        node.start([n.address for n in self.ring.nodes[:-1]])
        return f"{self.host(node)} joins", lambda: None

    def leave(self):
        """It is asked to; that it does is seen to when all is healed."""
        staying = [n for n in self.ring.nodes if n not in self.leaving]
        node = self.some()
        if not node or len(staying) <= 3:
            return None
        self.take(node, "leaving")
        node.ended_by_us = True
        self.leaving.append(node)
        asked = spawn([find_program("dlht-cli"), "-n",
                       self.ring.every_address(), "--timeout", "2000",
                       "leave", node.address, "--wait", "1"],
                      self.ring.client_netns, stdout=subprocess.DEVNULL,
                      stderr=subprocess.DEVNULL)
        return f"{self.host(node)} leaves", asked.wait

    def see_off(self):
        """Those that leave have left; a ring's others are what stays."""
        staying = [n for n in self.ring.nodes if n not in self.leaving]
        others = ",".join(n.address for n in staying)
        for node in self.leaving:
            # It may be stopped then, and is listed until it is.
            wait_for(f"{node.address} leaves", 120, lambda: self.ring.cli(
                "leave", node.address, "--wait", "20", nodes=others).code == 0)
            if node.runs():
                node.terminate()
        return len(staying)

    # --- all of it

    def harm(self):
        kind = self.rng.choice(self.kinds)
        if any(name == kind.__name__ for _, name, _ in self.undo):
            return
        did = kind()
        if not did:
            return
        self.counts[kind.__name__] = self.counts.get(kind.__name__, 0) + 1
        hold = self.rng.uniform(0.2, self.rng.choice([1, 3, 10]))
        if kind in (self.kill, self.kill_all, self.skew):
            hold = self.rng.uniform(0, 3)
        self.say(f"{did[0]}, for {hold:.2f} s")
        self.undo.append((time.monotonic() + hold, kind.__name__, did[1]))

    def mend(self, everything=False):
        now = time.monotonic()
        due = [u for u in self.undo if everything or u[0] <= now]
        self.undo = [u for u in self.undo if u not in due]
        for _, name, end in due:
            end()
            self.say(f"end of {name}")

    def run(self, seconds, check, at_once=2):
        """Up to at_once at a time; check() is asked now and then."""
        end = time.monotonic() + seconds
        next_harm = time.monotonic() + 0.5
        while time.monotonic() < end:
            self.mend()
            if time.monotonic() >= next_harm and len(self.undo) < at_once:
                self.harm()
                next_harm = time.monotonic() + self.rng.uniform(0.1, 2)
            for node in self.ring.nodes:
                node.check()
            check()  # of the clients
            time.sleep(0.02)

    def heal(self):
        self.mend(everything=True)
        self.say("all healed")
        for node in self.ring.nodes:
            if node not in self.leaving:
                node.await_ready(90)
