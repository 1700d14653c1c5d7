#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Who may include and link whom (docs/architecture.md), from the sources.

  tests/check_layers.py [ROOT]

Also: nothing below net/ and sim/ refers to clock, chance, socket or file
calls. First the check is tried on small trees that break each rule.
"""

import os
import re
import sys
import tempfile

PARTS = {"rmi", "chord", "vector", "store", "placement"}
BELOW_NODE = PARTS | {"base", "replica", "training", "wire"}

# Room: the rooms it may include, besides itself and include/dlht/err.h.
ROOMS = {
    "base": set(),
    "rmi": {"base"},
    "chord": {"base"},
    "vector": {"base"},
    "store": {"base"},
    "placement": {"base", "chord"},  # the planner plans for arcs
    "training": {"base", "rmi"},
    "replica": {"base"} | PARTS,
    "wire": {"base", "replica", "training"} | PARTS,
    "node": set(BELOW_NODE),
    "net": BELOW_NODE | {"node"},
    "sim": BELOW_NODE | {"node"},
}
WORLDS = {"net", "sim"}

# What src/dlht.c joins behind the public door; a target, not a folder.
DOOR = "api"

# Programs see the public door only; these two may see the rooms.
SEEING_PROGRAMS = {"cmd/sim", "cmd/dlht-sim", "bench"}

HEADERS = re.compile(
    r"(time|unistd|fcntl|pthread|threads|signal|poll|dirent|spawn|semaphore|"
    r"netdb|ifaddrs|sys/.*|netinet/.*|arpa/.*|net/if.*|event2/.*|event|"
    r"openssl/.*|histedit)\.h")

CALLS = re.compile(
    r"(?<![\w.>])(time|clock|clock_gettime|gettimeofday|nanosleep|usleep|"
    r"sleep|rand|srand|rand_r|random|srandom|drand48|arc4random|getrandom|"
    r"getentropy|fopen|freopen|fdopen|tmpfile|fread|fwrite|open|openat|creat|"
    r"read|pread|write|pwrite|close|fsync|fdatasync|rename|unlink|remove|"
    r"mkdir|ftruncate|mmap|socket|connect|bind|listen|accept|send|sendto|"
    r"sendmsg|recv|recvfrom|recvmsg|poll|select|epoll_\w+|pthread_\w+|"
    r"thrd_\w+|getenv|printf|puts|system|fork)\s*\(")

COMMENT_OR_STRING = re.compile(
    r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)

# A function of the file's own may bear such a name.
OWN_FUNCTION = re.compile(r"^static\s[\w\s*]*?(\w+)\s*\(", re.M)

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def blank(match):
    """Comments and strings vanish; lines stay."""
    return re.sub(r"[^\n]", " ", match[0])


def sources(root, top):
    for place, _, names in os.walk(os.path.join(root, top)):
        for name in sorted(names):
            if name.endswith((".c", ".h")):
                yield os.path.relpath(os.path.join(place, name), root)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as f:
        return f.read()


def check_include(path, room, name, quoted):
    """What is wrong with an include of a room's file, or None."""
    if not quoted:
        if room not in WORLDS and HEADERS.fullmatch(name):
            return f"{path}: <{name}> belongs to the worlds"
        return None
    if name == "dlht/err.h":
        return None
    target = name.split("/")[0]
    if target == "dlht":
        return f"{path}: {name} is for users; inside only dlht/err.h"
    if "/" in name and target != room and target not in ROOMS[room]:
        return f"{path}: {room}/ may not include {name}"
    return None


def check_rooms(root):
    for path in sources(root, "src"):
        parts = path.split(os.sep)
        if len(parts) < 3:
            continue  # src/dlht.c joins the rooms behind the public door
        room = parts[1]
        if room not in ROOMS:
            yield f"{path}: the room {room}/ is not in the table"
            continue
        text = read(root, path)
        for mark, name in INCLUDE.findall(text):
            # The host in net/ is handed the public configuration.
            if room == "net" and name == "dlht/dlht.h":
                continue
            wrong = check_include(path, room, name, mark == '"')
            if wrong:
                yield wrong
        if room in WORLDS:
            continue
        code = COMMENT_OR_STRING.sub(blank, text)
        own = set(OWN_FUNCTION.findall(code))
        for match in CALLS.finditer(code):
            if match[1] in own:
                continue
            line = code.count("\n", 0, match.start()) + 1
            yield f"{path}:{line}: {match[1]}() belongs to the worlds"


def check_programs(root):
    for top in ("cmd", "examples", "bench"):
        for path in sources(root, top):
            place = os.path.dirname(path).replace(os.sep, "/")
            if any(place == p or place.startswith(p + "/")
                   for p in SEEING_PROGRAMS):
                continue
            for mark, name in INCLUDE.findall(read(root, path)):
                target = name.split("/")[0]
                if mark == '"' and target in ROOMS:
                    yield f"{path}: programs use dlht/ only, not {name}"


def check_public(root):
    for path in sources(root, "include"):
        for mark, name in INCLUDE.findall(read(root, path)):
            if mark == '"' and not name.startswith("dlht/"):
                yield f"{path}: public headers include dlht/ only, not {name}"


def check_links(root):
    """USES of each dlht_layer() in src/CMakeLists.txt."""
    text = re.sub(r"#[^\n]*", "", read(root, "src/CMakeLists.txt"))
    for body in re.findall(r"dlht_layer\s*\(([^)]*)\)", text):
        words = body.split()
        room = words[0]
        uses = words[words.index("USES") + 1:] if "USES" in words else []
        # A part of a room has its own target, named room_part.
        if room == DOOR:
            continue
        base = room if room in ROOMS else room.split("_")[0]
        if base not in ROOMS:
            yield f"src/CMakeLists.txt: {room} is not in the table"
            continue
        for use in uses:
            if not use.startswith("dlht_"):
                continue
            name = use[len("dlht_"):]
            target = name if name in ROOMS else name.split("_")[0]
            if target != base and target not in ROOMS[base]:
                yield f"src/CMakeLists.txt: {room} may not use {use}"
        if "POSIX" in words and base not in WORLDS:
            yield f"src/CMakeLists.txt: {room} may not have POSIX"


def check(root):
    problems = []
    for rule in (check_rooms, check_programs, check_public, check_links):
        problems += rule(root)
    return problems


# A file that breaks a rule, and what must be said of it; None: nothing.
TRIALS = [
    ("src/chord/a.c", '#include "store/disk.h"', "may not include"),
    ("src/chord/a.c", '#include "base/span.h"', None),
    ("src/node/a.c", '#include "net/loop.h"', "may not include"),
    ("src/store/a.c", "#include <time.h>", "belongs to the worlds"),
    ("src/store/a.c", "int f(void) { return rand(); }", "rand()"),
    ("src/store/a.c", "/* rand() */ int g(void);", None),
    ("src/store/a.c", "x = disk->read(1); y = d.open(2); z = my_time(3);",
     None),
    ("src/store/a.c", "static void send(int a)\n{\n}\nvoid f(void)\n"
     "{\n    send(1);\n}", None),
    ("src/store/a.c", "static int f(void)\n{\n    return send(1);\n}",
     "send()"),
    ("src/net/a.c", "#include <sys/socket.h>\nint s = socket(1, 2, 3);", None),
    ("src/net/a.c", '#include "sim/world.h"', "may not include"),
    ("src/attic/a.c", "", "not in the table"),
    ("src/wire/a.c", '#include "dlht/dlht.h"', "for users"),
    ("cmd/cli/a.c", '#include "base/span.h"', "dlht/ only"),
    ("cmd/sim/a.c", '#include "sim/world.h"', None),
    ("include/dlht/a.h", '#include "base/span.h"', "include dlht/ only"),
    ("src/CMakeLists.txt", "dlht_layer(chord SOURCES a.c USES dlht_net)",
     "may not use"),
    ("src/CMakeLists.txt", "dlht_layer(store SOURCES a.c POSIX)",
     "may not have POSIX"),
]


def try_rules():
    for path, text, want in TRIALS:
        with tempfile.TemporaryDirectory() as root:
            os.makedirs(os.path.join(root, "src"))
            with open(os.path.join(root, "src/CMakeLists.txt"), "w",
                      encoding="utf-8"):
                pass
            full = os.path.join(root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as f:
                f.write(text)
            found = check(root)
        if want is None and found or want and want not in "\n".join(found):
            sys.exit(f"check_layers: {path} with '{text}': {found}, "
                     f"'{want}' is right")


def main():
    try_rules()
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(
        os.path.dirname(os.path.abspath(__file__)))
    problems = check(root)
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
