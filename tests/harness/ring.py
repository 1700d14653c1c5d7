# SPDX-License-Identifier: Apache-2.0
"""Real nodes on loopback, and dlht-cli to talk to them.

Every process is ended by its own pid: at the end of a scenario, when the
harness ends for any reason, and by the kernel if the harness itself is killed.
"""

import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import time


# Of what is asked once and must succeed: how fast a ring heals is measured
# where a scenario says so, and not everywhere else, too.
TIMEOUT_MS = 20000


class Failure(Exception):
    """What a scenario found wrong, in one line."""


class Skipped(Exception):
    """Why a scenario cannot run here, in one line."""


def ensure(condition, text):
    if not condition:
        raise Failure(text)


def find_program(name):
    root = os.path.dirname(os.path.dirname(os.path.dirname(
        os.path.abspath(__file__))))
    places = [os.environ.get("DLHT_BIN"), root + "/build/release/bin",
              root + "/build/dev/bin", root + "/build/asan/bin"]
    for place in places:
        path = place and os.path.join(place, name)
        if path and os.access(path, os.X_OK):
            return path
    raise Failure(f"{name} is not built; scripts/quickstart builds it, or set "
                  "DLHT_BIN")


def free_ports(count):
    """Ports that were free a moment ago: bound to port 0 all at once."""
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def wait_for(what, seconds, question, every=0.1):
    """Asks until the answer is true, and returns it."""
    end = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        ensure(time.monotonic() < end, f"{what}: not within {seconds} s")
        time.sleep(every)


_libc = ctypes.CDLL(None)


def die_with_parent():
    _libc.prctl(1, signal.SIGKILL)


_children = set()


def spawn(args, netns=None, **options):
    """netns: the descriptor of a network namespace to run it in."""
    def begin():
        die_with_parent()
        if netns is not None and _libc.setns(netns, 0) != 0:
            os._exit(127)
    process = subprocess.Popen(args, preexec_fn=begin, **options)
    _children.add(process)
    return process


def end_children():
    for process in _children:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
    for process in _children:
        process.wait()
    _children.clear()


# What must never be in a log, whatever a scenario does.
_DISASTER = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:|"
                       r"Assertion .* failed|assertion failed")


class Node:
    def __init__(self, directory, port, options, host="127.0.0.1",
                 netns=None):
        self.directory = directory
        self.address = f"{host}:{port}"
        self.options = options
        self.netns = netns
        self.environment = {}  # besides ours
        self.data = None
        self.process = None
        self.ended_by_us = True
        self.log = os.path.join(directory, "log")
        self.out = os.path.join(directory, "out")
        os.makedirs(directory, exist_ok=True)

    def start(self, bootstrap=()):
        args = [find_program("dlht-node"), "--listen", self.address]
        if self.data:
            args += ["--data-dir", self.data]
        for peer in bootstrap:
            args += ["--bootstrap", peer]
        with open(self.out, "wb") as out, open(self.log, "ab") as log:
            self.process = spawn(args + list(self.options), self.netns,
                                 stdout=out, stderr=log,
                                 stdin=subprocess.DEVNULL,
                                 env={**os.environ, **self.environment})
        self.ended_by_us = False

    def has_said_ready(self):
        with open(self.out) as out:
            return out.read().startswith(f"ready {self.address}\n")

    def await_ready(self, seconds=45):
        def ready():
            ensure(self.process.poll() is None,
                   f"node {self.address} ended with "
                   f"{self.process.returncode}: {self.last_words()}")
            return self.has_said_ready()
        wait_for(f"node {self.address} serves", seconds, ready, 0.02)

    def last_words(self):
        with open(self.log, errors="replace") as log:
            lines = log.read().strip().splitlines()
        return lines[-1] if lines else "(it said nothing)"

    def runs(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        self.ended_by_us = True
        self.process.kill()
        self.process.wait()

    def terminate(self, seconds=20):
        """SIGTERM; it must end by itself, with exit code 0."""
        self.ended_by_us = True
        self.process.terminate()
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"node {self.address} does not end on SIGTERM "
                          f"within {seconds} s") from None
        ensure(code == 0, f"node {self.address} ended on SIGTERM with {code}: "
               f"{self.last_words()}")

    def check(self):
        """It did not end by itself, and its log has no disaster in it."""
        if os.path.exists(self.log):
            with open(self.log, errors="replace") as log:
                found = _DISASTER.search(log.read())
            ensure(not found, f"node {self.address}: {found and found[0]}; "
                   f"see {self.log}")
        ensure(self.ended_by_us or self.runs(),
               f"node {self.address} ended by itself with "
               f"{self.process and self.process.returncode}: "
               f"{self.last_words()}")


class Answer:
    def __init__(self, code, out, err):
        self.code = code
        self.out = out
        self.err = err

    def text(self):
        return self.out.decode(errors="replace").strip()


class Ring:
    """Nodes of one cluster. With durable=False they keep no data."""

    def __init__(self, directory, options=(), durable=True):
        self.directory = directory
        self.options = list(options)
        self.durable = durable
        self.nodes = []
        self.client_netns = None

    def make_node(self, home):
        return Node(home, free_ports(1)[0], self.options)

    def new_node(self):
        index = len(self.nodes)
        home = os.path.join(self.directory, f"node-{index}")
        node = self.make_node(home)
        if self.durable:
            node.data = os.path.join(home, "data")
        self.nodes.append(node)
        return node

    def up(self, count, equip=None):
        """A fresh ring of count, whole; equip is told of each node before."""
        for _ in range(count):
            node = self.new_node()
            if equip:
                equip(node)
        self.nodes[0].start()
        self.nodes[0].await_ready()
        for node in self.nodes[1:]:
            node.start([self.nodes[0].address])
        for node in self.nodes[1:]:
            node.await_ready()
        return self.await_whole(count)

    def add(self):
        bootstrap = [n.address for n in self.nodes if n.runs()]
        node = self.new_node()
        node.start(bootstrap[:16])
        node.await_ready()
        return node

    def addresses(self):
        return ",".join(n.address for n in self.nodes if n.runs())

    def every_address(self):
        """Of those that are down, too."""
        return ",".join(n.address for n in self.nodes)

    def cli(self, *args, nodes=None, data=None, seconds=60):
        """Runs dlht-cli; data goes to its standard input."""
        program = [find_program("dlht-cli"), "-n", nodes or self.addresses(),
                   "--timeout", str(TIMEOUT_MS)]
        process = spawn(program + list(args), self.client_netns,
                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE)
        try:
            out, err = process.communicate(data, timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise Failure(f"dlht-cli {' '.join(map(str, args[:4]))}: no "
                          f"answer within {seconds} s") from None
        finally:
            _children.discard(process)
        ensure(process.returncode >= 0, f"dlht-cli {' '.join(args[:4])} died "
               f"of signal {-process.returncode}")
        ensure(not _DISASTER.search(err.decode(errors="replace")),
               f"dlht-cli: {err[-300:]!r}")
        return Answer(process.returncode, out, err)

    def ask(self, *args, **options):
        """As cli, but it must succeed; its output as text."""
        answer = self.cli(*args, **options)
        ensure(answer.code == 0, f"dlht-cli {' '.join(map(str, args[:4]))}: "
               f"exit code {answer.code}: "
               f"{answer.err.decode().strip() or answer.text()}")
        return answer.text()

    def json(self, *args, **options):
        """As ask; the objects that were printed."""
        text = self.ask("--json", *args, **options)
        return [json.loads(line) for line in text.splitlines()]

    def status(self, nodes=None):
        answer = self.cli("--json", "--timeout", "5000", "status",
                          nodes=nodes, seconds=30)
        return json.loads(answer.out) if answer.code == 0 else None

    def await_whole(self, count, seconds=90):
        last = [None]

        def whole():
            for node in self.nodes:
                ensure(node.runs() or node.ended_by_us,
                       f"node {node.address} ended: {node.last_words()}")
            last[0] = self.status()
            return (last[0] and last[0]["whole"] and
                    last[0]["peers_up"] == count and last[0])
        try:
            return wait_for(f"a whole ring of {count}", seconds, whole, 0.2)
        except Failure as failure:
            raise Failure(f"{failure}; status: {last[0]}") from None

    def await_safe(self, count, seconds=90):
        """Whole, and any one peer may be stopped: until then, killing one may
        rightly take a majority away (two voters on the way to three)."""
        def safe():
            status = self.status()
            return (status and status["whole"] and status["safe_to_stop"] and
                    status["peers_up"] == count and status)
        try:
            return wait_for(f"{count} peers are safe to stop", seconds, safe,
                            0.2)
        except Failure as failure:
            raise Failure(f"{failure}; status: {self.status()}") from None

    def down(self):
        """Ends all nodes and looks at what they leave behind."""
        for node in self.nodes:
            node.check()
        for node in self.nodes:
            if node.runs():
                node.ended_by_us = True
                node.process.terminate()
        for node in self.nodes:
            if node.process is None:
                continue
            try:
                node.process.wait(20)
            except subprocess.TimeoutExpired:
                node.process.kill()
                node.process.wait()
                raise Failure(f"node {node.address} does not end on "
                              "SIGTERM") from None
            node.check()
