# SPDX-License-Identifier: Apache-2.0
"""Balance: what the commands say is what the ring does."""

import time

from ring import ensure, wait_for


def status_of(ring):
    return ring.json("balance", "status")[0]


def plan_of(ring, *what_if):
    """Steps, peers and sums of a plan."""
    lines = ring.json("balance", "plan", *what_if)
    steps = [line for line in lines if "step" in line]
    peers = {line["peer"]: line for line in lines
             if "peer" in line and "step" not in line}
    ensure(lines and "ratio" in lines[-1], "the last line of a plan has sums")
    return steps, peers, lines[-1]


def await_rest(ring, seconds=90):
    """Nothing moves, and nothing is to be done, for two looks."""
    calm = [0]

    def rests():
        status = status_of(ring)
        still = (status["whole_picture"] and status["moves_count"] == 0 and
                 plan_of(ring)[2]["steps_count"] == 0)
        calm[0] = calm[0] + 1 if still else 0
        return calm[0] > 1
    wait_for("the ring comes to rest", seconds, rests, 0.5)
    return status_of(ring)


def held(status):
    return {peer["peer"]: peer["held_bytes"] for peer in status["peers"]}


def share_of(status, address):
    """What a peer holds over what the others do on average."""
    bytes_of = held(status)
    own = bytes_of.pop(address, 0)
    return own * len(bytes_of) / max(sum(bytes_of.values()), 1)


def fill(ring, count):
    """Values of 1 KiB, so that shares are of bytes worth moving."""
    value = "x" * 1000
    lines = "".join(f"key{i * 7919 % 1000003:07}\t{value}{i}\n"
                    for i in range(count))
    said = ring.ask("load", "-", "--format", "tsv", data=lines.encode(),
                    seconds=120)
    ensure(said.startswith(f"loaded {count} records ") and
           said.endswith(" 0 failed"), f"load: {said}")


def newcomer_while_paused(ring):
    """Nothing is moved to a newcomer, but the plan says what would be."""
    ring.ask("balance", "pause")
    ensure(ring.status()["balance_paused"] is True, "status: paused")
    ensure("; balancing is paused" in ring.status()["verdict"],
           "the verdict says that balancing is paused")
    node = ring.add()
    ring.await_whole(5)
    time.sleep(6)
    status = status_of(ring)
    ensure(status["paused"], "balance status: paused")
    got = held(status).get(node.address)
    # The system arc has up to five voters: that is mending.
    ensure(got is not None and got < 100 << 10,
           f"the newcomer got {got} bytes while balancing was paused")
    for through in ring.nodes:
        steps = ring.json("balance", "plan", nodes=through.address)
        ensure(len(steps) > 1, f"no plan through {through.address}")
    return node


def check_plan(ring, node):
    steps, peers, sums = plan_of(ring)
    adds = [s for s in steps if s["step"] == "add" and
            s["to"] == node.address]
    ensure(adds and all(s["bytes"] > 0 and s["from"] and s["reason"]
                        for s in adds), f"no copies for the newcomer: {steps}")
    ensure(sums["paused"] and sums["finished"], f"sums: {sums}")
    ensure(0.8 <= sums["ratio"] <= 1.2,
           f"{sums['bytes']} bytes would move, {sums['ideal_bytes']} at least")
    ensure(sums["after"]["held_most"] <= 1.25,
           f"held {sums['after']['held_most']:.2f} of the mean after it")
    row = peers[node.address]
    ensure(row["held_after"] > 0.8 * row["fair_bytes"], f"newcomer: {row}")
    return sums


def replay(ring, node, sums):
    """What was planned is about what is done."""
    before = status_of(ring)["moved_hour_bytes"]
    ring.ask("balance", "resume")
    status = await_rest(ring)
    moved = status["moved_hour_bytes"] - before
    ensure(0.6 <= moved / sums["bytes"] <= 1.6,
           f"{moved} bytes moved, {sums['bytes']} were planned")
    share = share_of(status, node.address)
    ensure(0.8 <= share <= 1.25, f"the newcomer holds {share:.2f} of a share")
    ensure(not ring.status()["balance_paused"], "status: not paused")
    return moved


def in_force(ring, node):
    """Weight and zone of a peer."""
    row = next(p for p in ring.json("peers") if p["peer"] == node.address)
    return row["weight"], row["zone"]


def balance(case):
    """Pause, plan, what if, resume, weights at run time: numbers are true."""
    ring = case.ring()
    ring.up(4)
    fill(ring, 6000 if case.quick else 20000)
    await_rest(ring)
    _, peers, sums = plan_of(ring, "--what-if", "add=2")
    new = peers["(new 1)"]
    ensure(new["weight"] == 2 and new["held_before"] == 0 and
           new["held_after"] > 0.7 * new["fair_bytes"], f"what if: {new}")
    _, peers, gone = plan_of(ring, "--what-if",
                             f"remove={ring.nodes[1].address}")
    leaver = peers[ring.nodes[1].address]
    ensure(leaver["removed"] and leaver["held_after"] == 0 and
           leaver["held_before"] > 0, f"what if: {leaver}")
    ensure(gone["bytes"] >= leaver["held_before"] * 0.9,
           f"{gone['bytes']} would move of {leaver['held_before']}")
    ensure(status_of(ring)["moves_count"] == 0, "what if moves nothing")

    node = newcomer_while_paused(ring)
    sums = check_plan(ring, node)
    moved = replay(ring, node, sums)

    heavy = ring.nodes[2]
    ring.ask("peer", "set", heavy.address, "weight=2", "zone=hall")
    ensure(in_force(ring, heavy) == (2, "hall"), "at once")
    wait_for("weight 2 is felt", 90, lambda: 1.7 <= share_of(
        await_rest(ring), heavy.address) <= 2.2)
    share = share_of(status_of(ring), heavy.address)

    # What was set survives all nodes, but not another option.
    for n in ring.nodes:
        n.kill()
    for n in ring.nodes:
        n.start()
    ring.await_whole(5)
    wait_for("what was set survives", 10,
             lambda: in_force(ring, heavy) == (2, "hall"))
    heavy.terminate()
    heavy.options = heavy.options + ["--weight", "0.5"]
    heavy.start()
    ring.await_whole(5)
    wait_for("--weight 0.5 holds, and the zone that was set", 10,
             lambda: in_force(ring, heavy) == (0.5, "hall"))
    return (f"join: {moved >> 10} KiB moved, {sums['bytes'] >> 10} planned, "
            f"{sums['ideal_bytes'] >> 10} at least; weight 2 holds "
            f"{share:.2f} shares")
