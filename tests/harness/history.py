# SPDX-License-Identifier: Apache-2.0
"""What clients asked and were told, as lines that `dlht-sim check` judges with
the checker of the simulator, and clients that note it.

Each value is written once: its writer puts a stamp in it (see Client.stamp).
A write whose outcome is unknown may take effect at any time, or never."""

import itertools
import json
import subprocess
import threading
import time

from ring import ensure, find_program
from workload import Shell

ABSENT, DIFFERS = -3, -4  # codes of dlht/err.h
MARK = "~"  # in each key of workloads, and in no word
# Says so in one line, without asking a node: the end of an answer of many.
SENTINEL = "use"


class History:
    def __init__(self, path):
        self.path = path
        self.file = open(path, "w")
        self.lock = threading.Lock()
        self.count = 0
        self.acknowledged = 0
        self.unknown = 0
        self.failed = 0
        self.numbers = itertools.count(1)

    def add(self, **op):
        line = json.dumps({k: v for k, v in op.items() if v is not None})
        with self.lock:
            self.count += 1
            self.unknown += op["outcome"] == "unknown"
            self.failed += op["outcome"] == "failed"
            self.acknowledged += (op["op"] != "get" and
                                  op["outcome"] == "done")
            self.file.write(line + "\n")

    def client(self, ring, timeout_ms=3000):
        return Client(self, next(self.numbers), ring, timeout_ms)

    def check(self):
        """Raises Failure unless every key is linearizable; what it says."""
        with self.lock:
            self.file.flush()
        done = subprocess.run([find_program("dlht-sim"), "check", self.path],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              check=False)
        text = done.stdout.decode(errors="replace").strip()
        ensure(done.returncode == 0, f"dlht-sim check {self.path}: {text}")
        return text


class Client:
    """A dlht-cli whose every answer goes into the history."""

    def __init__(self, history, number, ring, timeout_ms):
        self.history = history
        self.number = number
        self.writes = 0
        self.shell = Shell(ring.every_address(), timeout_ms,
                           ring.client_netns)

    def close(self):
        self.shell.close()

    def stamp(self):
        """A text that no other write has."""
        self.writes += 1
        return f"{self.number}.{self.writes}"

    def note(self, kind, key, began, outcome, value=None, expected=None,
             version=None):
        self.history.add(client=self.number, op=kind, key=key, value=value,
                         expected=expected, call=began,
                         **{"return": time.monotonic_ns()}, outcome=outcome,
                         version=version)

    def outcome(self, answer):
        if "error" not in answer:
            return "done"
        if answer["code"] == DIFFERS:
            return "differs"
        if answer["code"] == ABSENT:
            return "absent"
        return "unknown" if answer["outcome"] == "unknown" else "failed"

    def ask(self, kind, key, line, value=None, expected=None):
        """The outcome of a write."""
        began = time.monotonic_ns()
        answer = self.shell.ask(line)
        outcome = self.outcome(answer)
        self.note(kind, key, began, outcome, value, expected,
                  answer.get("version"))
        return outcome

    def put(self, key, value):
        return self.ask("put", key, f'put "{key}" "{value}"', value)

    def delete(self, key):
        return self.ask("del", key, f'del "{key}"')

    def cas(self, key, expected, value):
        return self.ask("cas", key, f'cas "{key}" {expected} "{value}"',
                        value, expected)

    def cas_batch(self, changes):
        """changes: (key, expected, value). All are done or none. In the history
        each is a cas of its own; of those that were not done nothing is."""
        began = time.monotonic_ns()
        answer = self.shell.ask("cas-batch " + " ".join(
            f'"{k}" {e} put "{v}"' for k, e, v in changes))
        outcome = self.outcome(answer)
        if outcome in ("done", "unknown"):
            for i, (key, expected, value) in enumerate(changes):
                version = answer.get("version")
                if version is not None:
                    version -= len(changes) - 1 - i
                self.note("cas", key, began, outcome, value, expected, version)
        return outcome

    def get(self, key):
        """(value, version), (None, 0) if it is absent, or None: no answer."""
        began = time.monotonic_ns()
        answer = self.shell.ask(f'get "{key}"')
        if "error" not in answer:
            self.note("get", key, began, "done", answer["value"],
                      version=answer["version"])
            return answer["value"], answer["version"]
        if answer["code"] != ABSENT:
            return None
        self.note("get", key, began, "absent")
        return None, 0

    def scan(self, first, end, known, reverse=False):
        """The records of [first, end) as (key, value), or None: no answer.
        Each of a workload is a read of its key, and so is each known key in
        there that is not among them."""
        began = time.monotonic_ns()
        shell = self.shell
        shell.send(f'range "{first}" "{end}"' + " --reverse" * reverse)
        shell.send(SENTINEL)
        records, broken = [], False
        while True:
            answer = shell.receive(SENTINEL)
            if "key" in answer:
                records.append((answer["key"], answer["value"]))
            elif "KEYSPACE" in answer.get("error", ""):
                break
            else:
                broken = True
        if broken:
            return None
        found = {key for key, _ in records}
        for key, value in records:
            if MARK in key:
                self.note("get", key, began, "done", value)
        for key in known:
            if first <= key < end and key not in found:
                self.note("get", key, began, "absent")
        return records
