# SPDX-License-Identifier: Apache-2.0
"""Strangers at the door of a real node, all at once: thousands of connections
that say nothing, clients that say a byte a second, peers whose handshake
stops, clients that ask and never read.

The node's memory and descriptors stay bounded, who behaves is served all the
while, and strangers are shown out in the end.
"""

import os
import resource
import select
import socket
import struct
import threading
import time

from ring import ensure

CONNECTIONS = 10000
SPARE = 300             # descriptors of the harness, and of the node
NEVER_READERS = 12
VALUE = 512 << 10       # bytes that each of their requests asks for
ASKED = 400             # requests of each: 200 MiB of answers
GREETING_S = 10         # net/door.h: to say the first whole thing
PARTIAL_S = 60          # to end what was begun, and to take some answer
# What the node may grow by, KiB: 4 of each connection; 12 MiB of each that
# never reads (DOOR_UNSENT_PAUSE, a first burst of 16 requests, and room to
# grow); 32 MiB for all else.
GROWTH_CONNECTION = 4
GROWTH_READER = 12 << 10
GROWTH_ELSE = 32 << 10
WAIT_MAX = 3.0          # seconds a good client may wait for an answer


def packed(*items):
    """MessagePack of short strings, bytes and small numbers."""
    out = b""
    for item in items:
        if isinstance(item, int):
            out += struct.pack(">BI", 0xCE, item)
        elif isinstance(item, str):
            out += bytes([0xA0 | len(item)]) + item.encode()
        else:
            out += struct.pack(">BI", 0xC6, len(item)) + item
    return out


def call(number, method, *params):
    return (b"\x94\x00" + packed(number, method) +
            bytes([0x90 | len(params)]) + packed(*params))


def peer_frame(kind, length):
    """The header of a frame, whose body is not to come."""
    return struct.pack(">BBBBIII", 0xD1, 1, kind, 0, length, 0, 0)


class Good(threading.Thread):
    """A client that behaves: puts and gets, one at a time, and notes how long
    it waited at most."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.address = address
        self.done = False
        self.served = 0
        self.waited = 0.0
        self.trouble = None

    def ask(self, s, number):
        key = f"good{number % 50}"
        message = (call(number, "put", key, "value") if number % 2 else
                   call(number, "get", key))
        began = time.monotonic()
        s.sendall(message)
        answer = s.recv(4096)
        ensure(answer[:2] == b"\x94\x01", f"no answer but {answer!r}")
        self.waited = max(self.waited, time.monotonic() - began)
        self.served += 1

    def run(self):
        host, port = self.address.split(":")
        number = 0
        try:
            while not self.done:
                with socket.create_connection((host, int(port)), 10) as s:
                    for _ in range(20):
                        number += 1
                        self.ask(s, number)
                        time.sleep(0.01)
        except Exception as problem:  # said by the scenario's thread
            self.trouble = f"{type(problem).__name__}: {problem}"


def of_status(node, name):
    with open(f"/proc/{node.process.pid}/status", encoding="ascii") as f:
        for line in f:
            if line.startswith(name + ":"):
                return int(line.split()[1])
    return 0


def descriptors(node):
    return len(os.listdir(f"/proc/{node.process.pid}/fd"))


def room_for(wanted):
    """How many connections there is room for: both ends are bounded."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard > wanted + SPARE:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted + SPARE, hard))
    else:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return min(wanted, soft - SPARE)


def knock(address, count):
    """So many connections. Waits when the node's queue is full."""
    host, port = address.split(":")
    out = []
    for _ in range(count):
        s = socket.socket()
        s.settimeout(20)
        s.connect((host, int(port)))
        s.setblocking(False)
        out.append(s)
    return out


def never_reader(address):
    """Asks for far more than anybody sends unasked, and reads nothing."""
    host, port = address.split(":")
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.connect((host, int(port)))
    s.settimeout(2)
    try:
        s.sendall(b"".join(call(n, "get", "large") for n in range(ASKED)))
    except OSError:
        pass  # it is not read from: as it should be
    return s


def is_closed(s):
    try:
        return s.recv(65536) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def closed_count(sockets):
    """How many the node has closed."""
    poll = select.poll()
    by_fd = {s.fileno(): s for s in sockets}
    for fd in by_fd:
        poll.register(fd, select.POLLIN | select.POLLHUP)
    return sum(is_closed(by_fd[fd]) for fd, _ in poll.poll(0))


class Crowd:
    """The strangers of each kind."""

    def __init__(self, address, count):
        tenth = count // 10
        self.silent = knock(address, count - 3 * tenth)
        self.slow = knock(address, tenth)  # a byte a second, of a call
        self.greeting = knock(address, tenth)  # a byte a second, of a hello
        self.half = knock(address, tenth)  # a peer's hello that stops
        self.never = [never_reader(address) for _ in range(NEVER_READERS)]
        self.said = 0
        for s in self.half:
            s.send(peer_frame(1, 200) + b"\x87\x01")

    def all(self):
        return self.silent + self.slow + self.greeting + self.half

    def say_a_byte(self):
        parts = ((self.slow, call(1, "put", "slow", b"x" * 200)),
                 (self.greeting, peer_frame(1, 200) + b"\x87" * 200))
        for sockets, text in parts:
            for s in sockets:
                try:
                    s.send(text[self.said:self.said + 1])
                except OSError:
                    pass  # it is shown out
        self.said += 1

    def close(self):
        for s in self.all() + self.never:
            s.close()


def watch(node, crowd, seconds, bound, until):
    """Looks on for so long, or until that is so; the most memory, KiB."""
    most = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end and not until():
        crowd.say_a_byte()
        most = max(most, of_status(node, "VmRSS"))
        ensure(most <= bound, f"the node takes {most >> 10} MiB, more than "
               f"{bound >> 10}")
        ensure(node.runs(), f"the node ended: {node.last_words()}")
        time.sleep(1)
    return most


def store_large(address):
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), 10) as s:
        s.sendall(call(1, "put", "large", b"v" * VALUE))
        ensure(s.recv(100)[:2] == b"\x94\x01", "the large value is not stored")


def strangers(case):
    """Ten thousand connections, slow, half-open or never reading."""
    ring = case.ring(durable=False)
    ring.up(1 if case.quick else 3)
    node = ring.nodes[0]
    count = room_for(CONNECTIONS)
    store_large(node.address)
    rss = of_status(node, "VmRSS")
    open_before = descriptors(node)
    good = Good(node.address)
    good.start()
    began = time.monotonic()
    crowd = Crowd(node.address, count)
    opened = time.monotonic() - began
    bound = (rss + count * GROWTH_CONNECTION + GROWTH_ELSE +
             NEVER_READERS * GROWTH_READER)
    strangers_now = [s for s in crowd.all() if s not in crowd.slow]
    most = watch(node, crowd, GREETING_S + 25, bound,
                 lambda: closed_count(strangers_now) == len(strangers_now))
    ensure(closed_count(strangers_now) == len(strangers_now),
           "strangers that say nothing whole are not shown out within "
           f"{GREETING_S + 25} s: {closed_count(strangers_now)} of "
           f"{len(strangers_now)} are")
    if not case.quick:
        slow = crowd.slow + crowd.never
        most = max(most, watch(
            node, crowd, PARTIAL_S + 30, bound,
            lambda: descriptors(node) <= open_before + 4))
        ensure(descriptors(node) <= open_before + 4,
               f"of {len(slow)} that are slow or never read, "
               f"{descriptors(node) - open_before} are still there")
    good.done = True
    good.join(30)
    crowd.close()
    ensure(good.trouble is None, f"a client was not served: {good.trouble}")
    ensure(good.served > 20 and good.waited < WAIT_MAX,
           f"a client waited {good.waited:.1f} s ({good.served} answers)")
    end = time.monotonic() + 10
    while descriptors(node) > open_before + 4 and time.monotonic() < end:
        time.sleep(0.1)
    ensure(descriptors(node) <= open_before + 4,
           f"{descriptors(node)} descriptors are open, {open_before} were")
    ensure(ring.ask("get", "good1") == "value", "not served afterwards")
    fewer = "" if count == CONNECTIONS else (
        f" (fewer than {CONNECTIONS}: RLIMIT_NOFILE allows no more)")
    return (f"{count} connections{fewer} in {opened:.1f} s, "
            f"{NEVER_READERS} that never read; {rss >> 10} MiB before, "
            f"{most >> 10} at most, {bound >> 10} allowed; {good.served} "
            f"answers meanwhile, the slowest after {good.waited * 1000:.0f} "
            "ms")
