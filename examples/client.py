#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A client of dlht, from docs/protocol.md: client.py HOST PORT METHOD PARAM...
like put KEY VALUE, get KEY, mget KEY..., range [FROM [TO]], count, status;
or vector_put COLLECTION ID NUMBER..., search COLLECTION NUMBER..."""

import socket
import sys

import msgpack  # Debian: python3-msgpack


class Client:
    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), timeout=10)
        self.answers = msgpack.Unpacker(self.socket.makefile("rb", 0))

    def call(self, method, params):
        # One request at a time, so that any id will do.
        self.socket.sendall(msgpack.packb([0, 1, method, params]))
        for _, _, error, result in self.answers:
            if error:
                raise RuntimeError("{1}: {2} ({3})".format(*error))
            return result
        raise ConnectionError("closed; what was asked may be done or not")

    def range(self, first=None, end=None):
        while True:
            records, first = self.call("range", [first, end])
            yield from records  # each [key, value, version]
            if first is None:
                return


def main(host="127.0.0.1", port="9000", method="status", *params):
    client = Client(host, port)
    if method == "range":
        results = client.range(*params)
    elif method == "mget":
        results = client.call("mget", [params])
    elif method == "vector_put":
        collection, key, *numbers = params
        vector = [float(n) for n in numbers]
        results = [client.call(method, [key, vector,
                                        {"keyspace": collection}])]
    elif method == "search":
        collection, *numbers = params
        vector = [float(n) for n in numbers]
        # Hits are [id, distance, metadata, vector, version].
        results, summary = client.call(method, [vector, {
            "keyspace": collection, "k": 5, "meta": True}])
        if summary["partial"]:
            print("part of the ring did not answer", file=sys.stderr)
    else:
        results = [client.call(method, params)]
    for result in results:
        print(result)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f"client.py: {error}")
