# SPDX-License-Identifier: Apache-2.0
"""Workloads whose every answer is noted (history.py), and what else must hold
of each at the end.

  registers  put, get, cas and del of few keys by all
  sets       new keys; all that were acknowledged are there at the end
  appends    to the value of one key, by cas; none is lost, doubled or moved
  ranges     while keys come and go: order, and each that stays exactly once
  bank       cents between balances of one customer by cas, and between
             customers of one branch by a conditional batch; totals stay"""

import random
import threading
import time

from history import MARK
from ring import Failure, ensure

HISTORY_LONG = 500000  # operations, after which clients are slow


class Load:
    clients = 2

    def __init__(self, words, rng, tag):
        self.words = words
        self.tag = MARK + type(self).__name__[0].lower() + tag
        self.done = 0

    def draw(self, rng, count):
        """Names from all over the keyspace."""
        return [w + self.tag for w in rng.sample(self.words, count)]

    def prepare(self, client):
        pass

    def keys(self):
        """All that it ever wrote to."""
        raise NotImplementedError

    def verify(self, records):
        """records: all that is there in the end, by key."""


class Registers(Load):
    clients = 3

    def __init__(self, words, rng, tag):
        super().__init__(words, rng, tag)
        self.names = self.draw(rng, 10)

    def keys(self):
        return self.names

    def step(self, client, rng):
        key, act = rng.choice(self.names), rng.random()
        if act < 0.35:
            self.done += client.put(key, client.stamp()) == "done"
        elif act < 0.55:
            read = client.get(key)
            if read:
                client.cas(key, read[1], client.stamp())
        elif act < 0.6:
            client.delete(key)
        else:
            client.get(key)


class Sets(Load):
    most = 3000

    def __init__(self, words, rng, tag):
        super().__init__(words, rng, tag)
        self.outcomes = {}

    def keys(self):
        return list(self.outcomes)

    def step(self, client, rng):
        if len(self.outcomes) >= self.most:
            time.sleep(0.05)
            return
        stamp = client.stamp()
        key = rng.choice(self.words) + self.tag + stamp
        self.outcomes[key] = "unknown"
        outcome = client.put(key, stamp)
        self.outcomes[key] = outcome
        self.done += outcome == "done"

    def verify(self, records):
        lost = [k for k, o in self.outcomes.items()
                if o == "done" and k not in records]
        ensure(not lost, f"{len(lost)} acknowledged keys of the set are lost: "
               f"{lost[:3]}")
        ghosts = [k for k, o in self.outcomes.items()
                  if o == "failed" and k in records]
        ensure(not ghosts, f"keys whose put failed are there: {ghosts[:3]}")


class Appends(Load):
    longest = 40

    def __init__(self, words, rng, tag):
        super().__init__(words, rng, tag)
        self.lists = self.draw(rng, 4)
        self.all = list(self.lists)
        self.outcomes = {}  # of (key, stamp)

    def keys(self):
        return list(self.all)

    def step(self, client, rng):
        at = rng.randrange(len(self.lists))
        key = self.lists[at]
        read = client.get(key)
        if not read:
            return
        value, version = read
        items = value.split(",") if value else []
        if len(items) >= self.longest:
            name = rng.choice(self.words) + self.tag + client.stamp()
            self.all.append(name)
            self.lists[at] = name
            return
        stamp = client.stamp()
        outcome = client.cas(key, version, ",".join(items + [stamp]))
        self.outcomes[key, stamp] = outcome
        self.done += outcome == "done"

    def verify(self, records):
        there = set()
        for key in self.all:
            items = records[key].split(",") if key in records else []
            ensure(len(items) == len(set(items)), f"{key}: appended twice: "
                   f"{items}")
            there.update((key, item) for item in items)
        for what, outcome in self.outcomes.items():
            ensure(outcome != "done" or what in there, f"{what[0]}: {what[1]} "
                   "was appended and is lost")
            ensure(outcome in ("done", "unknown") or what not in there,
                   f"{what[0]}: {what[1]} is there; its cas said {outcome}")


class Ranges(Load):
    """Its first client scans, the others let keys come and go."""
    clients = 3

    def __init__(self, words, rng, tag):
        super().__init__(words, rng, tag)
        self.names = self.draw(rng, 40)
        self.scans = 0
        self.scanner = None
        self.others = []  # loads whose keys a scan meets

    def keys(self):
        return self.names

    def step(self, client, rng):
        if self.scanner is None:
            self.scanner = client
        if self.scanner is client:
            self.scan(client, rng)
            time.sleep(0.1)
            return
        key = rng.choice(self.names)
        if rng.random() < 0.5:
            client.delete(key)
        else:
            client.put(key, client.stamp())

    def scan(self, client, rng):
        bounds = "A", "{"
        if rng.random() < 0.8:
            bounds = sorted(rng.sample(self.words, 2))
        reverse = rng.random() < 0.3
        known = [k for load in self.others for k in load.keys()]
        got = client.scan(*bounds, known, reverse)
        if got is None:
            return
        check_scan(self.words, *bounds, got, reverse)
        self.scans += 1
        self.done += 1


def check_scan(words, first, end, records, reverse=False):
    """In order, within its bounds, and each word in there exactly once."""
    keys = [key for key, _ in records]
    ensure(keys == sorted(set(keys), reverse=reverse), "a range is out of "
           f"order or has a key twice: {first} to {end}")
    ensure(all(first <= key < end for key in keys), "a range has keys outside "
           f"of {first} to {end}")
    found = {key for key in keys if MARK not in key}
    want = {word for word in words if first <= word < end}
    ensure(found == want, f"a range from {first} to {end} misses "
           f"{sorted(want - found)[:3]}, invents {sorted(found - want)[:3]}")


class Bank(Load):
    clients = 3
    cents = 100000  # in each balance, at first
    customers = 4  # of a branch; their keys stand side by side

    def __init__(self, words, rng, tag):
        super().__init__(words, rng, tag)
        self.branches = self.draw(rng, 5)
        self.paid = 0

    def members(self, branch):
        return [f"{branch}.{i}" for i in range(self.customers)]

    def keys(self):
        return [m for b in self.branches for m in self.members(b)]

    @staticmethod
    def pack(stamp, balances):
        return "|".join([stamp] + list(map(str, balances)))

    def unpack(self, name, value):
        """[savings, checking, 401k]"""
        balances = [int(c) for c in value.split("|")[1:]]
        ensure(len(balances) == 3 and min(balances) >= 0,
               f"{name}: no such balances: {value}")
        return balances

    def prepare(self, client):
        for name in self.keys():
            value = self.pack(client.stamp(), [self.cents] * 3)
            ensure(client.put(name, value) == "done", f"{name}: no put")

    def read(self, client, name):
        """(balances, version), or None: no answer."""
        read = client.get(name)
        if not read:
            return None
        ensure(read[0] is not None, f"{name}: the customer is gone")
        return self.unpack(name, read[0]), read[1]

    def step(self, client, rng):
        members = self.members(rng.choice(self.branches))
        giver, taker = rng.sample(members, 2)
        one = self.read(client, giver)
        if not one or rng.random() < 0.3:
            return
        a, b = rng.sample(range(3), 2)
        amount = rng.randint(0, one[0][a])
        one[0][a] -= amount
        if rng.random() < 0.5:
            one[0][b] += amount
            value = self.pack(client.stamp(), one[0])
            self.done += client.cas(giver, one[1], value) == "done"
            return
        other = self.read(client, taker)
        if not other:
            return
        other[0][b] += amount
        paid = client.cas_batch(
            [(giver, one[1], self.pack(client.stamp(), one[0])),
             (taker, other[1], self.pack(client.stamp(), other[0]))]) == "done"
        self.done += paid
        self.paid += paid

    def verify(self, records):
        for branch in self.branches:
            total = 0
            for name in self.members(branch):
                ensure(name in records, f"{name}: the customer is gone")
                total += sum(self.unpack(name, records[name]))
            ensure(total == self.customers * 3 * self.cents,
                   f"{branch}: {total} cents")
        ensure(self.done == 0 or self.done < 50 or self.paid > 0,
               "no conditional batch was done")


ALL = (Registers, Sets, Appends, Ranges, Bank)


class Loads:
    """Some workloads at once on one ring, each by its threads. tag: tells
    their keys from those of other rounds."""

    def __init__(self, ring, history, words, rng, kinds=ALL, tag="",
                 pace=0.003):
        self.ring = ring
        self.history = history
        self.words = words
        self.pace = pace
        self.seed = rng.getrandbits(32)
        self.loads = [kind(words, rng, tag) for kind in kinds]
        for load in self.loads:
            if isinstance(load, Ranges):
                load.others = self.loads
        self.stopping = threading.Event()
        self.problems = []
        self.threads = []
        self.beats = {}  # successes of each client

    def start(self):
        client = self.history.client(self.ring, 30000)
        for load in self.loads:
            load.prepare(client)
        client.close()
        for load in self.loads:
            for _ in range(load.clients):
                thread = threading.Thread(target=self.run, args=(load,),
                                          daemon=True)
                thread.start()
                self.threads.append(thread)

    def run(self, load):
        client = self.history.client(self.ring)
        rng = random.Random(self.seed * 1000 + client.number)
        try:
            while not self.stopping.is_set():
                load.step(client, rng)
                time.sleep(rng.random() * 2 * self.pace)
                if self.history.count > HISTORY_LONG:
                    time.sleep(0.1)
        except (Failure, OSError, ValueError, KeyError) as problem:
            self.problems.append(f"{type(load).__name__}: {problem!r}")
        finally:
            client.close()

    def check(self):
        ensure(not self.problems, "; ".join(self.problems[:3]))

    def done(self):
        return {type(load).__name__.lower(): load.done for load in self.loads}

    def await_progress(self, seconds, more=10):
        """Each workload gets on, now that nothing is in its way."""
        before = self.done()
        end = time.monotonic() + seconds
        while True:
            self.check()
            after = self.done()
            idle = [n for n in after if after[n] < before[n] + more and not
                    (n == "sets" and after[n] >= Sets.most * 0.9)]
            if not idle:
                return
            ensure(time.monotonic() < end, f"no progress in {seconds} s: "
                   f"{idle}; {after}")
            time.sleep(0.05)

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)
            ensure(not thread.is_alive(), "a client got no answer for 60 s")
        self.check()

    def verify(self):
        """After stop(): what is there, asked once more, and the checker."""
        client = self.history.client(self.ring, 20000)
        known = [key for load in self.loads for key in load.keys()]
        for _ in range(5):
            got = client.scan("A", "{", known)
            if got is not None:
                break
        ensure(got is not None, "the last scan gets no answer")
        check_scan(self.words, "A", "{", got)
        records = dict(got)
        strange = [k for k in records if MARK in k and k not in set(known)]
        ensure(not strange, f"keys that nobody wrote: {strange[:3]}")
        for load in self.loads:
            load.verify(records)
        for key in known:
            ensure(client.get(key), f"{key}: no answer at the end")
        client.close()
        return self.history.check()
