# SPDX-License-Identifier: Apache-2.0
"""A continuous writer and reader through dlht-cli, and what must hold of it.

Each key has one writer, which stores 1, 2, 3... A reader must then never see a
number below the greatest one that was acknowledged, or that anybody has seen,
before its read began; nor one whose write surely failed; nor one that was
never written. A key whose write has an unknown outcome is written no more,
because that write may still take effect later.
"""

import json
import subprocess
import threading
import time

from ring import Failure, ensure, find_program, spawn


class Shell:
    """One dlht-cli that is fed commands and answers in JSON, one each."""

    def __init__(self, nodes, timeout_ms=5000, netns=None):
        self.nodes = nodes
        self.timeout_ms = timeout_ms
        self.netns = netns
        self.open()

    def open(self):
        self.process = spawn(
            [find_program("dlht-cli"), "-n", self.nodes, "--json",
             "--timeout", str(self.timeout_ms)], self.netns,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL)

    def send(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def receive(self, line):
        answer = self.process.stdout.readline()
        ensure(answer, f"dlht-cli ended with {self.process.poll()} at: {line}")
        return json.loads(answer)

    def ask(self, line):
        self.send(line)
        return self.receive(line)

    def close(self):
        try:
            self.process.stdin.close()
            self.process.wait(10)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self.process.kill()
            self.process.wait()


class Key:
    def __init__(self, name):
        self.name = name
        self.written = 0     # greatest number ever tried
        self.acked = 0
        self.seen = 0
        self.unknown = None  # the number whose outcome is unknown
        self.failed = set()


class Load:
    """writers writer threads with keys_each keys, and one reader each."""

    def __init__(self, ring, words, writers=3, keys_each=40, timeout_ms=5000):
        self.ring = ring
        self.timeout_ms = timeout_ms
        self.stopping = threading.Event()
        self.problems = []
        self.acks = [[] for _ in range(writers)]    # (began, ended)
        self.failures = []                          # (time, error)
        self.reads = 0
        self.lock = threading.Lock()
        step = max(1, len(words) // (writers * keys_each))
        names = [w + "#" for w in words[::step] if w.isascii()]
        self.keys = [[Key(f"{name}{i}") for name in
                      names[i::writers][:keys_each]] for i in range(writers)]
        self.threads = []

    def key_count(self):
        return sum(len(keys) for keys in self.keys)

    def start(self):
        """Returns when each key has been written once."""
        nodes = self.ring.addresses()
        shell = Shell(nodes, 30000)
        for keys in self.keys:
            for key in keys:
                self.write(shell, key, [])
        shell.close()
        ensure(not self.failures, f"before the fault: {self.failures[:1]}")
        for i, keys in enumerate(self.keys):
            for run, extra in ((self.run_writer, self.acks[i]),
                               (self.run_reader, None)):
                thread = threading.Thread(target=self.guard, daemon=True,
                                          args=(run, keys, extra, nodes))
                thread.start()
                self.threads.append(thread)

    def guard(self, run, keys, extra, nodes):
        shell = None
        try:
            shell = Shell(nodes, self.timeout_ms)
            run(shell, keys, extra)
        except (Failure, OSError, ValueError) as problem:
            self.problems.append(str(problem))
        finally:
            if shell:
                shell.close()

    def write(self, shell, key, acks):
        number = key.written + 1
        key.written = number
        began = time.monotonic()
        answer = shell.ask(f'put "{key.name}" {number}')
        if answer.get("ok"):
            key.acked = number
            acks.append((began, time.monotonic()))
            return
        self.failures.append((time.monotonic(), answer))
        if answer.get("outcome") == "unknown":
            key.unknown = number
        else:
            key.failed.add(number)
            time.sleep(0.05)

    def run_writer(self, shell, keys, acks):
        while not self.stopping.is_set():
            live = [key for key in keys if key.unknown is None]
            ensure(live, "every key has a write of unknown outcome")
            for key in live:
                if self.stopping.is_set():
                    return
                self.write(shell, key, acks)

    def judge(self, key, floor, answer):
        if "error" in answer:
            ensure(answer["code"] != -3, f"{key.name}: acknowledged up to "
                   f"{floor}, and there is no such key")
            self.failures.append((time.monotonic(), answer))
            return
        number = int(answer["value"])
        ensure(number >= floor, f"{key.name}: read {number} after {floor} "
               "was acknowledged or seen")
        ensure(number <= key.written, f"{key.name}: read {number}, only "
               f"{key.written} were written")
        ensure(number not in key.failed, f"{key.name}: read {number}, whose "
               "write was said to have failed")
        with self.lock:
            key.seen = max(key.seen, number)
        self.reads += 1

    def run_reader(self, shell, keys, _):
        while not self.stopping.is_set():
            for key in keys:
                if self.stopping.is_set():
                    return
                floor = max(key.acked, key.seen)
                self.judge(key, floor, shell.ask(f'get "{key.name}"'))

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(90)
            ensure(not thread.is_alive(), "a client got no answer for 90 s")
        self.check()

    def check(self):
        """Raises what a client found wrong so far."""
        ensure(not self.problems, "; ".join(self.problems[:3]))

    def verify(self, nodes=None):
        """Nothing acknowledged is missing, asked afresh of each key."""
        shell = Shell(nodes or self.ring.addresses(), 20000)
        for key in (k for keys in self.keys for k in keys):
            floor = max(key.acked, key.seen)
            answer = shell.ask(f'get "{key.name}"')
            ensure("error" not in answer, f"{key.name}: {answer}")
            self.judge(key, floor, answer)
        shell.close()

    def acked_total(self):
        return sum(len(acks) for acks in self.acks)

    def stall_after(self, moment, until):
        """Seconds from moment to the end of the longest time that a writer
        was without an acknowledgement, looking at (moment, until)."""
        worst = 0.0
        for acks in self.acks:
            times = [ended for _, ended in acks if ended <= until]
            before = [t for t in times if t <= moment]
            times = before[-1:] + [t for t in times if t > moment]
            ensure(len(times) > 1, "a writer got no acknowledgement at all "
                   f"for {until - moment:.1f} s")
            gaps = [(b - max(a, moment), b) for a, b in zip(times, times[1:])]
            worst = max(worst, max(gaps)[1] - moment)
        return worst
