#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A client of dlht in one page, written from docs/protocol.md alone.

    client.py [-n HOST:PORT] put KEY VALUE | get KEY | del KEY | status
              | cas KEY VERSION VALUE | range [FROM [TO]] | count [FROM [TO]]

Needs Python 3 and its msgpack (Debian: python3-msgpack)."""

import os, socket, sys
import msgpack


class Refused(Exception):
    """Of args code, name, text, outcome: "failed", or "unknown"."""


class Client:
    def __init__(self, address="127.0.0.1:9000", timeout_s=10):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout_s)
        self.unpacker = msgpack.Unpacker(raw=False, max_buffer_size=32 << 20)
        self.id = self.number = 0
        self.session = os.urandom(16)  # writes are numbered in it

    def call(self, method, *params):
        self.id += 1
        self.socket.sendall(msgpack.packb([0, self.id, method, params]))
        for _, id, error, result in self.answers():
            if id == self.id:
                if error is not None:
                    raise Refused(*error[:4])
                return result

    def answers(self):
        while True:
            yield from self.unpacker
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("closed; the outcome of a write is unknown")
            self.unpacker.feed(data)

    def once(self):
        """Options that make a write safe to repeat."""
        self.number += 1
        return {"session": self.session, "number": self.number, "lowest_open": self.number}

    def put(self, key, value):  # -> version
        return self.call("put", key, value, self.once())

    def get(self, key):  # -> (value, version), or None
        return self.call("get", key)

    def delete(self, key):  # -> was it there?
        return self.call("del", key, self.once())

    def cas(self, key, version, value):  # -> [done?, version]
        return self.call("cas", key, version, value, self.once())

    def count(self, first=None, end=None):
        return self.call("count", first, end)

    def status(self):
        return self.call("status")

    def range(self, first=None, end=None, page=1000):
        while True:
            records, first = self.call("range", first, end, {"limit": page})
            yield from records  # [key, value, version]
            if first is None:
                return


def main(args):
    address = "127.0.0.1:9000"
    if args[:1] == ["-n"]:
        address, args = args[1], args[2:]
    verbs = {"put": 2, "get": 1, "del": 1, "cas": 3, "range": 2, "count": 2, "status": 0}
    if not args or len(args) - 1 > verbs.get(args[0], -1):
        sys.exit(__doc__)
    verb, words = args[0], [os.fsencode(word) for word in args[1:]]
    if verb == "cas":
        words[1] = int(words[1])
    answer = getattr(Client(address), verb.replace("del", "delete"))(*words)
    if verb == "range":
        for key, value, version in answer:
            sys.stdout.buffer.write(key + b"\t" + value + b"\n")
    elif verb == "get":
        sys.stdout.buffer.write(answer[0] + b"\n" if answer else b"")
        sys.exit(answer is None)
    else:
        print(answer)
        sys.exit(answer is False or verb == "cas" and not answer[0])


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Refused as e:
        sys.exit("%s: %s (%s)" % e.args[1:])
    except (OSError, ValueError, TypeError) as e:
        sys.exit("client.py: %s" % e)
