# SPDX-License-Identifier: Apache-2.0
"""What is wrong on purpose: options, ports, directories, files, frames, keys.

Each must give a clear error, crash nothing, and lose nothing that is stored.
"""

import os
import random
import shutil
import socket
import struct
import subprocess
import time

from ring import ensure, find_program, free_ports, spawn

SEED = 20261121


def run_node(*args, seconds=20):
    """A node that is expected to give up: exit code and standard error."""
    process = spawn([find_program("dlht-node"), *args],
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                    stdin=subprocess.DEVNULL)
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return None, "", ""
    return process.returncode, out.decode(), err.decode(errors="replace")


def gives_up(why, code, names, *args, seconds=20):
    """It must end with code, one line on stderr that names the matter, and
    without having said that it is ready."""
    got, out, err = run_node(*args, seconds=seconds)
    ensure(got == code, f"{why}: exit code {got}, {code} is right ({err!r})")
    ensure("ready" not in out, f"{why}: it said that it was ready")
    lines = err.strip().splitlines()
    ensure(lines and names in lines[-1],
           f"{why}: its error should name '{names}': {err!r}")
    if code == 2:
        ensure(len(lines) == 1, f"{why}: one line is meant: {err!r}")


def bad_options(case):
    port = free_ports(1)[0]
    listen = ["--listen", f"127.0.0.1:{port}"]
    gives_up("unknown option", 2, "--frobnicate", *listen, "--frobnicate")
    gives_up("option without value", 2, "--vnodes", *listen, "--vnodes")
    gives_up("a bad number", 2, "many", *listen, "--vnodes", "many")
    gives_up("replicas of 2", 2, "replicas", *listen, "--replicas", "2")
    gives_up("a bad address", 2, "nowhere", "--listen", "nowhere")
    gives_up("a wildcard without --advertise", 2, "advertise",
             "--listen", f"0.0.0.0:{port}")
    gives_up("an unknown durability", 2, "perhaps", *listen,
             "--durability", "perhaps")
    gives_up("durable without a directory", 2, "data-dir", *listen,
             "--durability", "sync")
    plain = os.path.join(case.directory, "file")
    with open(plain, "w", encoding="ascii") as f:
        f.write("not a directory")
    gives_up("a data dir that is a file", 2, "file", *listen,
             "--data-dir", plain)
    gives_up("no such config", 2, "none.conf", *listen, "--config",
             os.path.join(case.directory, "none.conf"))
    config = os.path.join(case.directory, "bad.conf")
    with open(config, "w", encoding="ascii") as f:
        f.write("vnodes = 4\nfrobnicate = 1\n")
    gives_up("a bad line of config", 2, "frobnicate", *listen, "--config",
             config)


def in_use(case, ring):
    node = ring.nodes[0]
    port = free_ports(1)[0]
    gives_up("a busy port", 2, node.address.split(":")[1], "--listen",
             node.address)
    gives_up("a data dir in use", 2, "data", "--listen", f"127.0.0.1:{port}",
             "--data-dir", node.data)
    dead = f"127.0.0.1:{free_ports(1)[0]}"
    gives_up("a bootstrap that does not answer", 3, "bootstrap", "--listen",
             f"127.0.0.1:{port}", "--bootstrap", dead, "--join-timeout", "2s")
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    silent.listen(8)
    name = f"127.0.0.1:{silent.getsockname()[1]}"
    gives_up("a bootstrap that accepts and says nothing", 3, "bootstrap", "--listen",
             f"127.0.0.1:{port}", "--bootstrap", name, "--join-timeout", "2s")
    silent.close()


def frame(rng, kind, length=None, body=b""):
    """A frame's header, right but for its checksum (docs/protocol.md)."""
    return struct.pack(">BBBBIII", 0xD1, 1, kind, 0,
                       len(body) if length is None else length,
                       rng.getrandbits(32), rng.getrandbits(32)) + body


def garbage(rng):
    """Bytes of one of several kinds of nonsense."""
    noise = rng.randbytes(rng.randrange(1, 300))
    kind = rng.randrange(8)
    if kind == 0:
        return noise
    if kind == 1:
        return b"\xd1" + noise
    if kind == 2:
        return frame(rng, rng.randrange(256), body=noise)
    if kind == 3:
        return frame(rng, rng.randrange(16), rng.getrandbits(32), noise)
    if kind == 4:
        return b"\x94\x00" + noise
    if kind == 5: # a request whose params nest too deeply
        return b"\x94\x00\x01\xa3get" + b"\x91" * rng.randrange(1, 400)
    if kind == 6: # a request with a wrong method or wrong params
        return b"\x94\x00\x01\xa3" + rng.randbytes(3) + b"\x91" + noise
    return b"\x94\x00\x01\xa3put\x92\xc6\xff\xff\xff\xff" + noise


def send(address, data):
    """Sends, and reads what comes until the other side closes or is silent
    for a moment."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), 5) as s:
        s.settimeout(0.002)
        try:
            s.sendall(data)
            while s.recv(4096):
                pass
        except OSError:
            pass # reset, or waiting for the rest of a claimed length


def resident_kib(node):
    with open(f"/proc/{node.process.pid}/status", encoding="ascii") as f:
        for line in f:
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


def bad_frames(case, ring):
    rng = random.Random(SEED)
    node = ring.nodes[0]
    count = 2000 if case.quick else 10000
    before = resident_kib(node)
    for i in range(count):
        send(node.address, garbage(rng))
        if i % 500 == 0:
            ensure(node.runs(), f"frame {i} (seed {SEED}) ended the node: "
                   f"{node.last_words()}")
    # Oversized: what a length claims must not be set aside.
    for length in (1 << 31, (1 << 32) - 1, (32 << 20) + 1):
        send(node.address, frame(rng, 2, length))
        send(node.address, b"\xc6" + struct.pack(">I", length))
        send(node.address, b"\x94\x00\x01\xa3put\x92\xc6" +
             struct.pack(">I", length))
    ensure(node.runs(), f"garbage (seed {SEED}) ended the node: "
           f"{node.last_words()}")
    grown = resident_kib(node) - before
    ensure(grown < 64 * 1024, f"garbage left {grown} KiB in use")
    return count


def odd_keys(ring):
    """Beyond the limits: refused; any bytes within them: just keys."""
    long = ring.cli("put", "k" * 65537, "x")
    ensure(long.code == 2 and b"64 KiB" in long.err,
           f"a key of 65,537 bytes: {long.code} {long.err!r}")
    ensure(ring.ask("put", "k" * 65536, "x") == "OK", "a key of 64 KiB")
    ring.ask("keyspace", "create", "hashed", "--placement", "hashed")
    ensure(ring.ask("-k", "hashed", "put", "k" * 65536, "x") == "OK",
           "a key of 64 KiB in a hashed keyspace")
    ring.ask("-k", "hashed", "del", "k" * 65536)
    ring.ask("keyspace", "drop", "hashed")
    path = os.path.join(ring.directory, "large")
    with open(path, "wb") as f:
        f.truncate((16 << 20) + 1)
    large = ring.cli("put", "large", "--file", path)
    ensure(large.code == 2 and b"artifacts" in large.err,
           f"a value over 16 MiB: {large.code} {large.err!r}")
    with open(path, "wb") as f:
        f.write(random.Random(SEED).randbytes(16 << 20))
    ensure(ring.ask("put", "large", "--file", path) == "OK", "16 MiB")
    back = ring.cli("get", "large", "--raw")
    with open(path, "rb") as f:
        ensure(back.out == f.read(), "16 MiB come back as they went")
    rng = random.Random(SEED)
    keys = [bytes([b]) for b in range(256)]
    keys += [b"\0", b"\0\0", b"a\0b", b"\xff\xfe", b"\xc3(", b"\xed\xa0\x80"]
    keys += [rng.randbytes(rng.randrange(1, 60)) for _ in range(200)]
    keys = sorted(set(keys))

    def quoted(key):
        return '"' + "".join(f"\\x{b:02x}" for b in key) + '"'
    ring.ask("keyspace", "create", "odd")
    lines = [f"put {quoted(k)} {quoted(k[::-1])}" for k in keys]
    lines += [f"get --raw {quoted(k)}" for k in keys]
    out = ring.cli("-k", "odd", data="\n".join(lines).encode() + b"\n")
    want = b"OK\n" * len(keys) + b"".join(k[::-1] for k in keys)
    ensure(out.code == 0 and out.out == want, "odd keys: what was put is not "
           f"what came back ({out.err[-200:]!r})")
    got = ring.cli("-k", "odd", "range", "--keys")
    ensure(got.out == b"".join(k + b"\n" for k in keys),
           "odd keys are not in the order of their bytes")


def journal_files(data):
    """The files under data that hold a journal, the largest content first."""
    found = []
    for place, _, names in os.walk(data):
        for name in names:
            path = os.path.join(place, name)
            if "journal" in path[len(data):]:
                with open(path, "rb") as f:
                    length = len(f.read().rstrip(b"\0"))
                if length > 4096:
                    found.append((length, path))
    ensure(found, f"no journal found under {data}: {os.listdir(data)}")
    return [(path, length) for length, path in sorted(found, reverse=True)]


def tree_of(directory):
    """Every file with its bytes, but for what a mere attempt may touch."""
    tree = {}
    for place, _, names in os.walk(directory):
        for name in names:
            if "lock" in name.lower():
                continue
            path = os.path.join(place, name)
            with open(path, "rb") as f:
                tree[path] = hash(f.read())
    return tree


def fill(ring, count):
    path = os.path.join(ring.directory, "lines")
    with open(path, "w", encoding="ascii") as f:
        f.writelines(f"key {i:06}\n" for i in range(count))
    ring.ask("load", path, seconds=120)


def flip(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 0x10]))


def truncate(path, length):
    os.truncate(path, length * 2 // 3)


def damaged_alone(case):
    """A node without a group to learn from: a bit-flipped or truncated journal
    is exit code 4, with nothing overwritten. Only a tail that was never proven
    synced may be dropped: a crash leaves such."""
    ring = case.ring("alone")
    ring.up(1)
    fill(ring, 20000)
    node = ring.nodes[0]
    node.kill()
    path, length = journal_files(node.data)[0]
    kept = node.data + ".kept"
    shutil.copytree(node.data, kept)

    for how, harm in (("bit-flipped", lambda: flip(path, length // 3)),
                      ("truncated", lambda: truncate(path, length))):
        harm()
        before = tree_of(node.data)
        gives_up(f"a {how} journal", 4, "damage", "--listen", node.address,
                 "--data-dir", node.data, seconds=30)
        ensure(tree_of(node.data) == before,
               f"a {how} journal: files were changed")
        shutil.rmtree(node.data)
        shutil.copytree(kept, node.data)

    with open(path, "r+b") as f:
        f.seek(length - 40)
        f.write(bytes(40))
    node.start()
    node.await_ready()
    got = ring.ask("range", "--prefix", "key ", seconds=60).splitlines()
    ensure(len(got) > 10000, f"a torn tail lost all but {len(got)} records")
    for line in got:
        key, value = line.split("\t")
        ensure(int(key[4:]) + 1 == int(value), f"a torn tail left: {line}")
    ring.ask("put", "after", "1")


def damaged_member(case):
    """A node of three: what it lost it learns from the others."""
    ring = case.ring("three")
    ring.up(3)
    fill(ring, 20000)
    for how in ("bit-flipped", "truncated"):
        ring.await_safe(3)
        node = ring.nodes[2]
        node.kill()
        path, length = journal_files(node.data)[0]
        if how == "bit-flipped":
            flip(path, length // 3)
        else:
            truncate(path, length)
        ring.ask("put", f"while {how}", "1")
        node.start()
        node.await_ready(60)
        ring.await_whole(3)
        count = int(ring.ask("range", "--prefix", "key ", "--count",
                             nodes=node.address))
        ensure(count == 20000, f"a {how} journal of one of three: {count} of "
               "20000 records are there")
    # It must be a full member again: the others may go one at a time. That it
    # lost its copies is not known at once (docs/reliability.md).
    time.sleep(3)
    ring.await_safe(3)
    ring.nodes[0].kill()
    got = ring.cli("--timeout", "20000", "range", "--prefix", "key ",
                   "--count")
    ensure(got.text() == "20000", "without another node, records of the one "
           f"that was damaged are missing: {got.text()} {got.err!r}")


def refused(ring, why, codes, names, *args, data=None):
    """dlht-cli must fail with one of codes and a line that names the matter."""
    got = ring.cli(*args, data=data)
    text = got.err.decode(errors="replace").strip()
    ensure(got.code in codes, f"{why}: exit code {got.code}, one of {codes} is "
           f"right: {text or got.text()!r}")
    ensure(names in text and len(text.splitlines()) == 1,
           f"{why}: one line that names '{names}' is meant: {text!r}")


def odd_models(ring):
    """Models that are none, of keyspaces that have none."""
    path = os.path.join(ring.directory, "model")
    ring.ask("keyspace", "create", "modelled")
    ring.ask("keyspace", "create", "spread", "--placement", "hashed")
    lines = "".join(f"put k{i * i:08} x\n" for i in range(3000))
    ring.cli("-k", "modelled", data=lines.encode())
    ring.ask("-k", "modelled", "model", "train", "--wait")
    ring.ask("-k", "modelled", "model", "export", path)
    with open(path, "rb") as f:
        sound = f.read()
    before = ring.json("-k", "modelled", "model", "show")[0]["epoch"]
    rng = random.Random(SEED)
    rows = [("garbage", rng.randbytes(5000)), ("nothing", b""),
            ("its first bytes", sound[:64]), ("zeros", bytes(len(sound))),
            ("one with bytes after", sound + b"x"),
            ("1 MiB and more", sound + bytes(1 << 20))]
    rows += [("a truncated one", sound[:rng.randrange(len(sound))])
             for _ in range(10)]
    for _ in range(30):
        harmed = bytearray(sound)
        harmed[rng.randrange(len(sound))] ^= 1 << rng.randrange(8)
        rows.append(("a bit-flipped one", bytes(harmed)))
    for what, data in rows:
        with open(path, "wb") as f:
            f.write(data)
        refused(ring, f"import of {what} (seed {SEED})", (2, 4), "model",
                "-k", "modelled", "model", "import", path)
    after = ring.json("-k", "modelled", "model", "show")[0]["epoch"]
    ensure(after == before, f"a bad import made epoch {after} of {before}")
    refused(ring, "import of no file", (2,), "none", "-k", "modelled", "model",
            "import", path + ".none")
    with open(path, "wb") as f:
        f.write(sound)
    ring.ask("-k", "modelled", "model", "import", path)
    for verb in (["show"], ["train"], ["history"], ["import", path],
                 ["export", path + ".out"]):
        refused(ring, f"model {verb[0]} of no keyspace", (2, 4), "keyspace",
                "-k", "missing", "model", *verb)
        refused(ring, f"model {verb[0]} of a hashed keyspace", (2, 4), "hashed",
                "-k", "spread", "model", *verb)
    ensure(not os.path.exists(path + ".out"), "an export that failed left a "
           "file")


def odd_settings(ring):
    """Options that are none, and values that are none of theirs; all or
    nothing."""
    shown = ring.ask("--json", "keyspace", "show", "default")
    for setting in ("frobnicate=1", "gap=", "gap=soon", "gap=-1", "error=1e-3",
                    "error=nan", "keys-min=99999999999999999999",
                    "model-leaves=0", "model-leaves=1000000", "model-root=oak",
                    "model-leaf=2", "volume=yes", "replicas=2", "replicas=0",
                    "floor-keys=0", "ceiling-bytes=1", "placement=hashed",
                    "gap=1 keys-min=1", "gap", "=1", ""):
        for others in ([], ["gap=7"]):
            got = ring.cli("keyspace", "set", "default", *others, setting)
            text = got.err.decode(errors="replace").strip()
            ensure(got.code in (2, 4) and text, f"keyspace set {setting!r}: "
                   f"exit code {got.code}, {text!r}")
    refused(ring, "keyspace set of none", (2, 4), "keyspace", "keyspace", "set",
            "missing", "gap=1")
    ensure(ring.ask("--json", "keyspace", "show", "default") == shown,
           "settings that were refused changed something")


def bad_input(case):
    """Wrong options, ports, files, frames and keys."""
    bad_options(case)
    ring = case.ring()
    ring.up(1)
    ring.ask("put", "kept", "through it all")
    in_use(case, ring)
    frames = bad_frames(case, ring)
    odd_keys(ring)
    odd_models(ring)
    odd_settings(ring)
    ensure(ring.ask("get", "kept") == "through it all", "a stored value is "
           "gone")
    damaged_alone(case)
    damaged_member(case)
    return f"{frames} garbage frames; seed {SEED}"
