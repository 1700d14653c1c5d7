# SPDX-License-Identifier: Apache-2.0
"""The faults of the harness do what they say: a test of the tests."""

import os
import random
import socket
import threading
import time

import faults as harm
from netns import Net, NetRing, enter
from ring import ensure, wait_for

PACKETS = 1200
SO_RCVBUFFORCE = 33  # of Linux


class Ear:
    """Counts the datagrams of a host, and notes when and what they say."""

    def __init__(self, host):
        self.socket = on_host(host, lambda: socket.socket(socket.AF_INET,
                                                          socket.SOCK_DGRAM))
        self.socket.bind((host.address, 7))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 23)
        self.address = (host.address, 7)

    def hear(self):
        """[(number, seconds on the way)] until there is silence."""
        heard = []
        self.socket.settimeout(0.3)
        while True:
            try:
                number, sent = self.socket.recv(100).split()
            except TimeoutError:
                return heard
            heard.append((int(number), time.monotonic() - float(sent)))

    def say(self, to, count=PACKETS):
        for i in range(count):
            self.socket.sendto(f"{i} {time.monotonic()}".encode(), to.address)
            if i % 20 == 0:
                time.sleep(0.002)


def on_host(host, function):
    """Sockets belong to the namespace of the thread that makes them."""
    made = []

    def run():
        enter(host.namespace)
        made.append(function())
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    ensure(made, "no socket in the namespace")
    return made[0]


def send(a, b):
    """What b hears of what a says."""
    heard = []
    thread = threading.Thread(target=lambda: heard.extend(b.hear()))
    thread.start()
    a.say(b)
    thread.join()
    return heard


def about(what, got, want, slack):
    ensure(abs(got - want) <= slack, f"{what}: {got:.3f}, {want} is meant")


def check_links(net, a, b):
    heard = send(a, b)
    ensure([n for n, _ in heard] == list(range(PACKETS)), "a link without "
           f"faults: {len(heard)} of {PACKETS} arrive")
    net.set((1, 2, {"loss": 0.2}))
    about("loss", 1 - len(send(a, b)) / PACKETS, 0.2, 0.04)
    ensure(len(send(b, a)) == PACKETS, "the other direction loses, too")
    net.set((1, 2, {"double": 0.3}))
    about("double", len(send(a, b)) / PACKETS - 1, 0.3, 0.05)
    net.set((1, 2, {"delay_ms": 50, "jitter_ms": 20}))
    heard = send(a, b)
    ensure(min(s for _, s in heard) >= 0.05, "a packet came before its delay")
    about("delay", sum(s for _, s in heard) / PACKETS, 0.065, 0.015)
    ensure([n for n, _ in heard] == list(range(PACKETS)), "delay reorders")
    net.set((1, 2, {"delay_ms": 30, "reorder": 0.1}))
    order = [n for n, _ in send(a, b)]
    late = sum(x > y for x, y in zip(order, order[1:]))
    ensure(len(order) == PACKETS and 30 < late < 240,
           f"reorder: {late} of {len(order)} are out of order")
    net.set((0, 0, {}), (1, 2, {"cut": True}))
    ensure(not send(a, b), "a cut link carries packets")
    ensure(len(send(b, a)) == PACKETS, "a cut is not one-way")
    net.heal()
    ensure(len(send(a, b)) == PACKETS, "a healed link loses packets")


def put_time(ring, key):
    began = time.monotonic()
    ring.ask("put", key, "value")
    return time.monotonic() - began


def check_node(ring, faults, disk):
    """Syncs, disk and clock of a node alone."""
    node = ring.nodes[0]
    fast = min(put_time(ring, "a") for _ in range(3))
    faults.slow[node].set(400)
    slow = put_time(ring, "b")
    faults.slow[node].set(0)
    ensure(slow >= 0.4 > fast, f"a put takes {fast:.3f} s, with syncs of 0.4 s "
           f"{slow:.3f} s")
    disk.fill()
    free = os.statvfs(disk.path)
    ensure(free.f_bavail == 0, "there is room on a full disk")
    disk.make_room()
    return slow


def down_after(ring, pace):
    """Seconds until the first node says that the other, killed, is down."""
    node, other = ring.nodes
    node.kill()
    node.environment["FAKETIME"] = f"+86400 x{pace}"
    for some in node, other:
        if not some.runs():
            some.start([node.address])
        some.await_ready()
    ring.await_whole(2)
    other.kill()
    began = time.monotonic()
    wait_for("the loss is seen", 60, lambda: (ring.status() or {
        "peers_down": 0})["peers_down"], 0.05)
    return time.monotonic() - began


def check_clock(ring, faults):
    ring.options = []
    faults.equip(ring.new_node())
    ring.nodes[1].environment["FAKETIME"] = "+0"
    slow, fast = down_after(ring, 0.5), down_after(ring, 8)
    ensure(slow > 3 * fast, f"with its clock at half pace a node sees a loss "
           f"after {slow:.2f} s, at eight times after {fast:.2f} s: its timers "
           "do not read the faked clock")
    node = ring.nodes[0]
    with open(node.log) as log:
        said = [line for line in log if line[:2] == "20"][-1]
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 86400))
    ensure(said.startswith(day), f"a day ahead it says {said[:20]}")
    return slow, fast


def faults(case):
    """Links, syncs, disks and clocks fail as they are told to, and only so."""
    harm.check_faketime()
    net = Net(2, 1)
    ears = [Ear(host) for host in net.hosts[:2]]
    check_links(net, *ears)
    for ear in ears:
        ear.socket.close()
    stats = net.stats()
    ring = case.ring(make=lambda path, **options: NetRing(path, net,
                                                          **options))
    disk = harm.SmallDisk(os.path.join(case.directory, "disk"))
    with open(os.path.join(case.directory, "faults"), "w") as log:
        some = harm.Faults(ring, random.Random(1), log, disk)
        ring.up(1, some.equip)
        put = check_node(ring, some, disk)
        slow, fast = check_clock(ring, some)
    ring.down()
    case.rings.clear()
    disk.close()
    return (f"{stats['lost']} lost, {stats['cut']} cut, {stats['doubled']} "
            f"doubled, {stats['overtook']} overtook; a put with slow syncs "
            f"{put:.2f} s; a loss is seen after {slow:.1f} s on a slow clock, "
            f"{fast:.1f} s on a fast one")
