#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""examples/client.py against a canned transcript: the bytes it must send and
the bytes that a node answers (those of tests/wire/test_rpc.c and
docs/protocol.md), as a module and from the command line."""

import pathlib
import socket
import subprocess
import sys
import threading

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))
import client  # noqa: E402


def once(number):
    """Options that make a write safe to repeat."""
    return {"session": b"S" * 16, "number": number, "lowest_open": number}


def packed_once(number):
    return (b"\x83\xa7session\xc4\x10" + b"S" * 16 +
            b"\xa6number%c\xablowest_open%c" % (number, number))


CALLS = [  # method, params; what is asked, what is answered; the result
    ("put", ["key", b"value", once(1)],
     b"\x94\x00\x01\xa3put\x93\xa3key\xc4\x05value" + packed_once(1),
     b"\x94\x01\x01\xc0\x07", 7),
    ("get", ["key"],
     b"\x94\x00\x01\xa3get\x91\xa3key",
     b"\x94\x01\x01\xc0\x92\xc4\x05value\x07", [b"value", 7]),
    ("get", ["none"],
     b"\x94\x00\x01\xa3get\x91\xa4none",
     b"\x94\x01\x01\xc0\xc0", None),
    ("cas", ["key", 5, b"v", once(2)],
     b"\x94\x00\x01\xa3cas\x94\xa3key\x05\xc4\x01v" + packed_once(2),
     b"\x94\x01\x01\xc0\x92\xc2\x07", [False, 7]),
    ("del", ["key", once(3)],
     b"\x94\x00\x01\xa3del\x92\xa3key" + packed_once(3),
     b"\x94\x01\x01\xc0\xc3", True),
    ("count", [],
     b"\x94\x00\x01\xa5count\x90",
     b"\x94\x01\x01\xc0\x02", 2),
    ("status", [],
     b"\x94\x00\x01\xa6status\x90",
     b"\x94\x01\x01\xc0\x81\xa4keys\x02", {"keys": 2}),
]
PAGES = [
    (b"\x94\x00\x01\xa5range\x92\xc0\xc0",
     b"\x94\x01\x01\xc0\x92\x91\x93\xc4\x01a\xc4\x01x\x05\xc4\x01b"),
    (b"\x94\x00\x01\xa5range\x92\xc4\x01b\xc0",
     b"\x94\x01\x01\xc0\x92\x91\x93\xc4\x01b\xc4\x01y\x06\xc0"),
]
REFUSED = (b"\x94\x00\x01\xa3put\x92\xa3key\xa1v",
           b"\x94\x01\x01\x94\xf9\xa8EUNKNOWN\xafoutcome unknown\xa7unknown"
           b"\xc0")
BROKEN = (b"\x94\x00\x01\xa3get\x91\xa3key", b"\x94\x01\x01\xc0\x92")

LINES = [  # words of the command line; transcript; exit code, said
    (["put", "key", "v"], [(REFUSED[0], b"\x94\x01\x01\xc0\x07")], 0, "7\n"),
    (["get", "key"], [(CALLS[1][2], CALLS[1][3])], 0, "[b'value', 7]\n"),
    (["mget", "a", "b"],
     [(b"\x94\x00\x01\xa4mget\x91\x92\xa1a\xa1b",
       b"\x94\x01\x01\xc0\x92\x93\xc4\x01a\xc4\x01x\x05"
       b"\x93\xc4\x01b\xc4\x01y\x06")],
     0, "[b'a', b'x', 5]\n[b'b', b'y', 6]\n"),
    (["range"], PAGES, 0, "[b'a', b'x', 5]\n[b'b', b'y', 6]\n"),
    ([], [(CALLS[6][2], CALLS[6][3])], 0, "{'keys': 2}\n"),
    (["vector_put", "docs", "a", "1", "2.5"],
     [(b"\x94\x00\x01\xaavector_put\x93\xa1a\x92\xcb\x3f\xf0" + bytes(6) +
       b"\xcb\x40\x04" + bytes(6) + b"\x81\xa8keyspace\xa4docs",
       b"\x94\x01\x01\xc0\x07")], 0, "7\n"),
    (["search", "docs", "1"],
     [(b"\x94\x00\x01\xa6search\x92\x91\xcb\x3f\xf0" + bytes(6) +
       b"\x83\xa8keyspace\xa4docs\xa1k\x05\xa4meta\xc3",
       b"\x94\x01\x01\xc0\x92\x91\x95\xc4\x01a\x01\xa2{}\xc0\x07"
       b"\x81\xa7partial\xc2")], 0, "[b'a', 1, '{}', None, 7]\n"),
    (["put", "key", "v"], [REFUSED], 1,
     "client.py: EUNKNOWN: outcome unknown (unknown)\n"),
    (["get", "key"], [BROKEN], 1,
     "client.py: closed; what was asked may be done or not\n"),
]


def serve(listening, transcript, wrong):
    peer, _ = listening.accept()
    peer.settimeout(10)
    with peer:
        for asked, answer in transcript:
            got = b""
            while len(got) < len(asked):
                data = peer.recv(len(asked) - len(got))
                if not data:
                    break
                got += data
            if got != asked:
                wrong.append(f"asked {got}\n  not {asked}")
                return
            for i in range(len(answer)):  # in pieces, as a network may
                peer.sendall(answer[i:i + 1])


class Node:
    """One connection to a node that has the transcript by heart."""

    def __init__(self, transcript):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.address = self.listening.getsockname()
        self.wrong = []
        self.thread = threading.Thread(
            target=serve, args=(self.listening, transcript, self.wrong),
            daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, error, trace):
        self.thread.join(10)
        self.listening.close()
        if self.wrong:
            sys.exit(self.wrong[0])
        assert not self.thread.is_alive(), "less was asked than it should"


def as_module():
    transcript = [call[2:4] for call in CALLS] + PAGES + [REFUSED]
    with Node(transcript) as node:
        c = client.Client(*node.address)
        for method, params, _, _, want in CALLS:
            got = c.call(method, params)
            assert got == want, (method, got)
        assert list(c.range()) == [[b"a", b"x", 5], [b"b", b"y", 6]]
        try:
            c.call("put", ["key", "v"])
            assert not "reached"
        except RuntimeError as refused:
            assert str(refused) == "EUNKNOWN: outcome unknown (unknown)"


def as_program():
    for words, transcript, code, want in LINES:
        with Node(transcript) as node:
            done = subprocess.run(
                [sys.executable, str(EXAMPLES / "client.py"),
                 node.address[0], str(node.address[1]), *words],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20,
                check=False)
            got = done.stdout.decode()
            assert (done.returncode, got) == (code, want), (words, got)


as_module()
as_program()
print(f"client.py: {len(CALLS) + len(PAGES) + 1} calls and "
      f"{len(LINES)} command lines, well")
