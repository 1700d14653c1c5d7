# SPDX-License-Identifier: Apache-2.0
"""The servers that are compared: started on core 0, ended by their own pid.

A server that cannot be had here says so by Absent; the row is then left out
with that text.
"""

import os
import re
import shutil
import subprocess
import time

from ring import (Failure, ensure, find_program, free_ports, spawn, wait_for)

SERVER_CORE, CLIENT_CORE = "0", "1"


class Absent(Exception):
    """Why this server cannot be run, in one line."""


def pinned(core, args):
    """On that core, if there are two and taskset is there."""
    if os.cpu_count() < 2 or not shutil.which("taskset"):
        return args
    return ["taskset", "-c", core] + args


def need(program, package):
    if not shutil.which(program):
        raise Absent(f"{program} is not installed (Debian: {package})")


def output(*args):
    done = subprocess.run(args, stdout=subprocess.PIPE, check=False,
                          stderr=subprocess.STDOUT, text=True)
    return done.stdout


def resident_bytes(pid):
    with open(f"/proc/{pid}/status") as status:
        return 1024 * int(re.search(r"VmRSS:\s+(\d+)", status.read())[1])


class Server:
    """One process or some; protocol and extra are those of dlht-bench load."""

    protocol = "resp"
    core = SERVER_CORE

    def __init__(self, directory):
        self.directory = directory
        self.processes = []
        self.to = None
        self.extra = []
        os.makedirs(directory, exist_ok=True)

    def run(self, args, name="log"):
        with open(os.path.join(self.directory, name), "ab") as log:
            process = spawn(pinned(self.core, args), stdout=log, stderr=log,
                            stdin=subprocess.DEVNULL, cwd=self.directory)
        self.processes.append(process)
        return process

    def pids(self):
        """taskset becomes what it starts: the pid is the server's."""
        return ",".join(str(p.pid) for p in self.processes)

    def resident(self):
        return sum(resident_bytes(p.pid) for p in self.processes)

    def await_load(self, seconds=30):
        """Until it answers its protocol."""
        def answers():
            for process in self.processes:
                ensure(process.poll() is None,
                       f"{self.name} ended; see {self.directory}")
            args = [find_program("dlht-bench"), "load", "--protocol",
                    self.protocol, "--to", self.to, "--connections", "1",
                    "--keys", "1", "--seconds", "0.01", "--warm", "0"]
            done = subprocess.run(args + self.extra, check=False,
                                  stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
            return done.returncode == 0
        wait_for(f"{self.name} answers", seconds, answers, 0.1)

    def kill(self):
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes = []

    def stop(self):
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = []


class Redis(Server):
    """options: what is not `without persistence`."""

    def __init__(self, directory, options=("--appendonly", "no")):
        super().__init__(directory)
        need("redis-server", "redis-server")
        self.options = list(options)
        self.name = "Redis " + re.search(
            r"v=(\S+)", output("redis-server", "--version"))[1]

    def start(self):
        port = str(free_ports(1)[0])
        self.to = f"127.0.0.1:{port}"
        self.run(["redis-server", "--port", port, "--bind", "127.0.0.1",
                  "--save", "", "--daemonize", "no", "--dir",
                  self.directory] + self.options)
        self.await_load()


class Memcached(Server):
    protocol = "memcached"

    def __init__(self, directory):
        super().__init__(directory)
        need("memcached", "memcached")
        self.name = output("memcached", "-V").strip()

    def start(self):
        port = str(free_ports(1)[0])
        self.to = f"127.0.0.1:{port}"
        user = ["-u", "nobody"] if os.getuid() == 0 else []
        # -R: requests of a connection and turn; 20 are too few for pipelines.
        self.run(["memcached", "-l", "127.0.0.1", "-p", port, "-U", "0", "-t",
                  "1", "-m", "4096", "-R", "200"] + user)
        self.await_load()


class Etcd(Server):
    protocol = "grpc"

    def __init__(self, directory):
        super().__init__(directory)
        need("etcd", "etcd-server")
        self.name = "etcd " + re.search(r"etcd Version: (\S+)",
                                        output("etcd", "--version"))[1]

    def start(self):
        client, peer = free_ports(2)
        self.to = f"127.0.0.1:{client}"
        self.run(["etcd", "--data-dir", os.path.join(self.directory, "data"),
                  "--listen-client-urls", f"http://{self.to}",
                  "--advertise-client-urls", f"http://{self.to}",
                  "--listen-peer-urls", f"http://127.0.0.1:{peer}",
                  "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
                  "--initial-cluster", f"default=http://127.0.0.1:{peer}",
                  "--log-level", "error"])
        self.await_load()


def node_help():
    return output(find_program("dlht-node"), "--help")


def has_redis_door():
    line = re.search(r"--redis .*", node_help())
    return bool(line) and "not in this version" not in line[0]


def has_caches():
    return "--max-bytes" in output(find_program("dlht-cli"), "keyspace",
                                   "create", "--help")


def database_options(number, keyspace):
    """That SELECT number is that keyspace, in the words of this dlht-node."""
    found = re.search(r"--(redis-(?:db|keyspace|database)s?) (\S+)",
                      node_help())
    if not found:
        raise Absent("this dlht-node has no option that says which keyspace "
                     "SELECT chooses")
    name, form = found[1], found[2]
    if "=" in form:
        return ["--" + name, f"{number}={keyspace}"]
    return ["--" + name, ",".join(["default"] * number + [keyspace])]


class Dlht(Server):
    """Some nodes; data: in memory, or with journals that are synced.
    keyspace is a volatile one of max_bytes; door: spoken to as Redis is."""

    def __init__(self, directory, count=1, durable=False, keyspace=None,
                 door=False, max_bytes="4G"):
        super().__init__(directory)
        self.name = output(find_program("dlht-node"), "--version").strip()
        self.count, self.durable = count, durable
        self.keyspace, self.door = keyspace, door
        self.max_bytes = max_bytes
        self.protocol = "resp" if door else "native"
        self.ports = free_ports(2 * count)
        if door and not has_redis_door():
            raise Absent("this dlht-node does not speak Redis's protocol")
        if keyspace and not has_caches():
            raise Absent("this dlht has no volatile keyspaces")
        if keyspace and door:
            self.extra = ["--database", "1"]
        elif keyspace:
            self.extra = ["--keyspace", keyspace]
        if count > 1 and not door:
            self.extra.append("--route")

    def address(self, i):
        return f"127.0.0.1:{self.ports[i]}"

    def addresses(self):
        return ",".join(self.address(i) for i in range(self.count))

    def cli(self, *args):
        return output(find_program("dlht-cli"), "-n", self.addresses(),
                      "--timeout", "20000", *args)

    def start_node(self, i):
        args = [find_program("dlht-node"), "--listen", self.address(i),
                "--replicas", "3" if self.count > 2 else "1"]
        if self.durable:
            args += ["--data-dir", os.path.join(self.directory, f"data-{i}")]
        if i > 0:
            args += ["--bootstrap", self.address(0)]
        if self.door:
            args += ["--redis", f"127.0.0.1:{self.ports[self.count + i]}"]
        if self.door and self.keyspace:
            args += database_options(1, self.keyspace)
        out = f"out-{i}-{time.monotonic_ns()}"
        process = self.run(args, out)

        def ready():
            ensure(process.poll() is None,
                   f"dlht-node ended; see {self.directory}")
            with open(os.path.join(self.directory, out), "rb") as said:
                return b"ready " in said.read()
        wait_for("dlht-node serves", 120, ready, 0.01)

    def await_whole(self):
        def whole():
            said = self.cli("--json", "status")
            # Of three, any one may be stopped only when all copies are made.
            return ('"whole": true' in said and
                    (self.count < 3 or '"safe_to_stop": true' in said) and
                    f'"peers_up": {self.count}' in said)
        wait_for("the ring is whole", 120, whole, 0.2)

    def start(self):
        for i in range(self.count):
            self.start_node(i)
        self.await_whole()
        if self.keyspace:
            said = self.cli("keyspace", "create", self.keyspace, "--volatile",
                            "--placement", "hashed", "--max-bytes",
                            self.max_bytes, "--replicas", "1")
            ensure("dlht-cli:" not in said, said.strip())
        first = self.count if self.door else 0
        self.to = ",".join(f"127.0.0.1:{self.ports[first + i]}"
                           for i in range(self.count))
        self.await_load()


__all__ = ["Absent", "CLIENT_CORE", "Dlht", "Etcd", "Failure", "Memcached",
           "Redis", "pinned"]
