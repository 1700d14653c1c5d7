# SPDX-License-Identifier: Apache-2.0
"""A switch between TUN devices whose links lose, delay, reorder, double and
cut what passes, in user space: netem's faults without netem's kernel module.

Started by netns.py as a process of its own: switch.py SEED FD... where the
i-th descriptor is the device of host i+1 (the last byte of its address). Lines
on standard input, each answered by one line:

  {"set": [[from, to, {"loss": 0.1, ...}], ...]}   the links from one host to
                                                   another; 0: any
  {"stats": true}

A link has: cut (bool), loss, double and reorder (shares of packets), delay_ms,
jitter_ms (evenly up to that much more; order is kept but for `reorder`, whose
packets overtake)."""

import heapq
import json
import os
import random
import selectors
import sys
import time

QUEUE_MAX = 20000     # packets on their way; more are lost, as in any queue
READS_AT_ONCE = 64    # packets of one device before the others have their turn


class Switch:
    def __init__(self, seed, devices):
        self.random = random.Random(seed)
        self.devices = devices
        count = len(devices) + 1
        self.links = [[{} for _ in range(count)] for _ in range(count)]
        self.last = [[0.0] * count for _ in range(count)]
        self.queue = []
        self.order = 0
        self.stats = dict.fromkeys(("passed", "lost", "cut", "doubled",
                                    "delayed", "overtook", "full"), 0)

    def write(self, to, packet):
        try:
            os.write(self.devices[to - 1], packet)
            self.stats["passed"] += 1
        except OSError:
            self.stats["full"] += 1

    def later(self, when, to, packet):
        if len(self.queue) >= QUEUE_MAX:
            self.stats["full"] += 1
            return
        self.order += 1
        heapq.heappush(self.queue, (when, self.order, to, packet))

    def take(self, origin, packet):
        """A packet of host origin: IPv4 to one of ours, or dropped."""
        if len(packet) < 20 or packet[0] >> 4 != 4:
            return
        to = packet[19]
        if not 1 <= to <= len(self.devices) or to == origin:
            return
        link = self.links[origin][to]
        if not link:
            self.write(to, packet)
            return
        if link.get("cut"):
            self.stats["cut"] += 1
            return
        draw = self.random.random
        if draw() < link.get("loss", 0):
            self.stats["lost"] += 1
            return
        copies = 1
        if draw() < link.get("double", 0):
            self.stats["doubled"] += 1
            copies = 2
        delay = link.get("delay_ms", 0) / 1000
        for _ in range(copies):
            wait = delay + draw() * link.get("jitter_ms", 0) / 1000
            if draw() < link.get("reorder", 0):
                self.stats["overtook"] += 1
                when = 0.0
            else:
                when = time.monotonic() + wait
                when = max(when, self.last[origin][to])
                self.last[origin][to] = when
            self.stats["delayed"] += wait > 0
            self.later(when, to, packet)

    def deliver(self):
        """What is due; seconds until the next, or None."""
        while self.queue:
            wait = self.queue[0][0] - time.monotonic()
            if wait > 0:
                return wait
            _, _, to, packet = heapq.heappop(self.queue)
            self.write(to, packet)
        return None

    def drain(self, origin, device):
        for _ in range(READS_AT_ONCE):
            try:
                packet = os.read(device, 65536)
            except BlockingIOError:
                return
            self.take(origin, packet)

    def command(self, line):
        asked = json.loads(line)
        every = range(1, len(self.devices) + 1)
        for origin, to, link in asked.get("set", []):
            for a in [origin] if origin else every:
                for b in [to] if to else every:
                    self.links[a][b] = link
        return json.dumps(self.stats)


def run(switch):
    selector = selectors.DefaultSelector()
    for i, device in enumerate(switch.devices):
        os.set_blocking(device, False)
        selector.register(device, selectors.EVENT_READ, i + 1)
    selector.register(0, selectors.EVENT_READ, 0)
    pending = b""
    while True:
        for key, _ in selector.select(switch.deliver()):
            if key.data:
                switch.drain(key.data, key.fd)
                continue
            got = os.read(0, 65536)
            if not got:
                return
            *lines, pending = (pending + got).split(b"\n")
            for line in lines:
                os.write(1, switch.command(line).encode() + b"\n")


if __name__ == "__main__":
    run(Switch(int(sys.argv[1]), [int(fd) for fd in sys.argv[2:]]))
