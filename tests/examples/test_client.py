#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""examples/client.py against a canned transcript: the bytes it must send and
the bytes that a node answers (those of tests/wire/test_rpc.c and
docs/protocol.md)."""

import pathlib, socket, sys, threading

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "examples"))
import client

ONCE = (b"\x83\xa7session\xc4\x10" + b"S" * 16 + b"\xa6number%c\xablowest_open%c")


def once(n):
    return ONCE % (n, n)


TRANSCRIPT = [  # what is asked, what is answered
    (b"\x94\x00\x01\xa3put\x93\xa3key\xc4\x05value" + once(1), b"\x94\x01\x01\xc0\x07"),
    (b"\x94\x00\x02\xa3get\x91\xa3key", b"\x94\x01\x02\xc0\x92\xc4\x05value\x07"),
    (b"\x94\x00\x03\xa3get\x91\xa4none", b"\x94\x01\x03\xc0\xc0"),
    (b"\x94\x00\x04\xa3cas\x94\xa3key\x05\xc4\x01v" + once(2), b"\x94\x01\x04\xc0\x92\xc2\x07"),
    (b"\x94\x00\x05\xa3del\x92\xa3key" + once(3), b"\x94\x01\x05\xc0\xc3"),
    (b"\x94\x00\x06\xa5range\x93\xc0\xc0\x81\xa5limit\x01",
     b"\x94\x01\x06\xc0\x92\x91\x93\xc4\x01a\xc4\x01x\x05\xc4\x01b"),
    (b"\x94\x00\x07\xa5range\x93\xc4\x01b\xc0\x81\xa5limit\x01",
     b"\x94\x01\x07\xc0\x92\x91\x93\xc4\x01b\xc4\x01y\x06\xc0"),
    (b"\x94\x00\x08\xa5count\x92\xc0\xc0", b"\x94\x01\x08\xc0\x02"),
    (b"\x94\x00\x09\xa6status\x90", b"\x94\x01\x09\xc0\x81\xa4keys\x02"),
    (b"\x94\x00\x0a\xa3put\x93\xa3key\xc4\x01v" + once(4),
     b"\x94\x01\x0a\x94\xf9\xa8EUNKNOWN\xafoutcome unknown\xa7unknown\xc0"),
]


def serve(listening, wrong):
    peer, _ = listening.accept()
    for asked, answer in TRANSCRIPT:
        got = b""
        while len(got) < len(asked):
            data = peer.recv(len(asked) - len(got))
            if not data:
                break
            got += data
        if got != asked:
            wrong.append((asked, got))
            break
        for i in range(len(answer)):  # in pieces, as a network may
            peer.sendall(answer[i:i + 1])
    peer.close()


def main():
    wrong = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening, wrong), daemon=True)
        thread.start()
        c = client.Client("127.0.0.1:%d" % listening.getsockname()[1])
        c.session = b"S" * 16
        try:
            assert c.put("key", b"value") == 7
            assert c.get("key") == [b"value", 7]
            assert c.get("none") is None
            assert c.cas("key", 5, b"v") == [False, 7]
            assert c.delete("key") is True
            assert list(c.range(page=1)) == [[b"a", b"x", 5], [b"b", b"y", 6]]
            assert c.count() == 2
            assert c.status() == {"keys": 2}
            try:
                c.put("key", b"v")
                assert not "reached"
            except client.Refused as refused:
                assert refused.args == (-7, "EUNKNOWN", "outcome unknown", "unknown")
        except ConnectionError:
            pass
        thread.join(5)
    if wrong:
        sys.exit("asked %r\n  not %r" % (wrong[0][1], wrong[0][0]))
    print("client.py: well")


main()
