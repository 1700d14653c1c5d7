# SPDX-License-Identifier: Apache-2.0
"""Hosts of their own on one machine: a network namespace for each, and a
switch between them (switch.py) whose links have faults in either direction.

Namespaces have no names and are held by descriptors of this process alone, as
are the TUN devices in them: when it ends, however it ends, the kernel ends its
children and takes all away. Nothing is left to clean up after a kill -9. To
look into one: nsenter -t PID_OF_ITS_NODE -n ip addr.

What a link does is not left to tc's netem: many kernels come without it."""

import ctypes
import fcntl
import json
import os
import struct
import subprocess
import sys
import threading

from ring import Node, Ring, Skipped, ensure, spawn

HOSTS_MAX = 16
SUBNET = "10.213.7"
PORT = 9000

_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454ca
_IFF_TUN, _IFF_NO_PI = 0x1, 0x1000
_libc = ctypes.CDLL(None, use_errno=True)


def enter(namespace):
    """Of the thread that calls it, and what it starts from then on."""
    if _libc.setns(namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _ip(*args):
    subprocess.run(["ip", *args], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.PIPE)


class Host:
    """A network namespace with one device; number is its last byte."""

    def __init__(self, number):
        self.number = number
        self.address = f"{SUBNET}.{number}"
        self.namespace = self.device = None
        self.problem = None
        # Only the thread that asks for it enters a new namespace, and what it
        # starts; so each host is made by a thread that then ends.
        thread = threading.Thread(target=self.make)
        thread.start()
        thread.join()
        if self.problem:
            self.close()
            raise Skipped(f"no network namespace: {self.problem}")

    def make(self):
        try:
            if _libc.unshare(_CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "unshare")
            self.namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
            self.device = os.open("/dev/net/tun", os.O_RDWR)
            fcntl.ioctl(self.device, _TUNSETIFF, struct.pack(
                "16sH22x", b"net0", _IFF_TUN | _IFF_NO_PI))
            _ip("link", "set", "lo", "up")
            _ip("addr", "add", self.address + "/24", "dev", "net0")
            _ip("link", "set", "net0", "up", "txqueuelen", "10000")
        except subprocess.CalledProcessError as problem:
            self.problem = problem.stderr.decode().strip()
        except OSError as problem:
            self.problem = str(problem)

    def close(self):
        for fd in (self.namespace, self.device):
            if fd is not None:
                os.close(fd)
        self.namespace = self.device = None


class Net:
    """count hosts for nodes, 1 to count, and one behind them for clients."""

    def __init__(self, count, seed):
        if os.geteuid() != 0:
            raise Skipped("network namespaces need root")
        ensure(count < HOSTS_MAX, f"at most {HOSTS_MAX} hosts")
        self.hosts = []
        self.switch = None
        try:
            for i in range(count + 1):
                self.hosts.append(Host(i + 1))
            devices = [host.device for host in self.hosts]
            program = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                   "switch.py")
            self.switch = spawn(
                [sys.executable, program, str(seed), *map(str, devices)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                pass_fds=devices)
        except BaseException:
            self.close()
            raise
        self.clients = self.hosts[-1]

    def ask(self, **what):
        self.switch.stdin.write(json.dumps(what).encode() + b"\n")
        self.switch.stdin.flush()
        answer = self.switch.stdout.readline()
        ensure(answer, f"the switch ended with {self.switch.poll()}")
        return json.loads(answer)

    def set(self, *links):
        """Each link is (from, to, {...}), numbers of hosts; 0: any."""
        self.ask(set=links)

    def heal(self):
        self.set((0, 0, {}))

    def stats(self):
        return self.ask(stats=True)

    def close(self):
        if self.switch:
            self.switch.stdin.close()
            self.switch.wait()
            self.switch.stdout.close()
        for host in self.hosts:
            host.close()
        self.hosts = []


class NetRing(Ring):
    """A ring whose node i runs on host i+1, and whose clients on the last."""

    def __init__(self, directory, net, options=(), durable=True):
        super().__init__(directory, options, durable)
        self.net = net
        self.client_netns = net.clients.namespace

    def make_node(self, home):
        host = self.net.hosts[len(self.nodes)]
        ensure(host is not self.net.clients, "there is no host left")
        return Node(home, PORT, self.options, host=host.address,
                    netns=host.namespace)

    def down(self):
        super().down()
        self.net.close()
