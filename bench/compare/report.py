# SPDX-License-Identifier: Apache-2.0
"""Lines of a comparison as Markdown, JSON and a picture.

A round in which the generator was the limit says only what the server could do
at least. To leave it out would leave the slow rounds, so it counts, and the
ratio is then a bound: at least if it was on our side, at most if on the
other's, nothing if on both; an aim has no verdict. The processor's time that a
server took for a request does not depend on that.
"""

import json
import os
import platform
import statistics
import subprocess
import sys

from ring import find_program


def middle(runs, what):
    return statistics.median(run[what] for run in runs)


class Side:
    """What the rounds of one server come to."""

    def __init__(self, server, runs):
        self.name = server.name
        self.limited = sum(run["client_was_limit"] for run in runs)
        self.rate = middle(runs, "rate")
        self.best = max(run["rate"] for run in runs)
        # Of no request there is no time a request.
        self.server_ns = middle([r for r in runs if r["rate"]] or runs,
                                "server_ns")
        self.p50_us = middle(runs, "p50_us")
        self.p99_us = middle(runs, "p99_us")
        gets = sum(run["gets"] for run in runs)
        self.hits = sum(run["hits"] for run in runs) / gets if gets else None

    def cells(self):
        return (f"{'at least ' if self.limited else ''}"
                f"{thousands(self.rate)} ({thousands(self.best)})")


def thousands(rate):
    k = rate / 1000
    return f"{k:.1f}" if k < 100 else f"{k:,.0f}"


def verdict(ratio, aim, at_most=False, bound=""):
    """bound: the ratio is no more than one, so nothing is decided."""
    if not aim:
        return "-"
    asked = f"{'<=' if at_most else '>='} {aim:g}: "
    if ratio is None:
        return asked + "no verdict"
    if bound:
        return f"{asked}no verdict, {bound} {ratio:.3f}"
    good = ratio <= aim if at_most else ratio >= aim
    return f"{asked}{'reached' if good else 'missed'}, {ratio:.3f}"


def bounded(ours, theirs):
    """The ratio of rates, and what kind of bound it is. 0: ours gave no
    answer; none if theirs did not."""
    if not theirs.rate or (ours.limited and theirs.limited):
        return None, ""
    ratio = ours.rate / theirs.rate
    if ours.limited:
        return ratio, "at least"
    return ratio, "at most" if theirs.limited else ""


def duel_line(row, servers, runs):
    ours, theirs = (Side(s, r) for s, r in zip(servers, runs))
    ratio, bound = bounded(ours, theirs)
    cpu = theirs.server_ns / ours.server_ns if ours.server_ns else None
    hits = [f"{100 * s.hits:.1f}" for s in (ours, theirs)
            if s.hits is not None]
    notes = []
    for side, its in ((ours, runs[0]), (theirs, runs[1])):
        silent = sum(not run["rate"] for run in its)
        if silent:
            notes.append(f"{side.name} answered nothing in {silent} rounds")
    if ours.limited or theirs.limited:
        notes.append(f"client was the limit in {ours.limited} and "
                     f"{theirs.limited} rounds")
    line = {
        "name": row.name, "title": row.title, "against": theirs.name,
        "aim": row.aim, "ratio": ratio, "bound": bound,
        "server_time_ratio": cpu,
        "ours": vars(ours), "theirs": vars(theirs), "rounds": runs,
        "note": "; ".join(notes),
        "cells": [row.title, theirs.name, ours.cells(), theirs.cells(),
                  "-" if ratio is None else f"{bound} {ratio:.2f}".strip(),
                  verdict(ratio, row.aim, bound=bound),
                  f"{ours.server_ns:,.0f} / {theirs.server_ns:,.0f}",
                  f"{cpu:.2f}" if cpu else "-",
                  " / ".join(hits) or "-"],
    }
    aim = f" (aim {line['cells'][5]})" if row.aim else ""
    line["text"] = (f"{row.name}: {line['cells'][2]} k/s against "
                    f"{line['cells'][3]}: {line['cells'][4]}{aim}; server ns "
                    f"{line['cells'][6]}: {line['cells'][7]}")
    return line


def single_line(row, cells):
    line = {"name": row.name, "title": row.title, "aim": row.aim,
            "ratio": cells.get("ratio"), "note": cells.get("note", "")}
    if "absent" in cells or "fault" in cells:
        text = ("not run: " + cells["absent"] if "absent" in cells
                else "FAILED: " + cells["fault"])
        line["cells"] = None
        line["why"] = text
        line["text"] = f"{row.name}: {text}"
        return line
    ratio = cells["ratio"]
    at_most = row.name.startswith("memory")
    line["cells"] = [row.title, cells["against"], cells["ours"],
                     cells["theirs"], f"{ratio:.2f}" if ratio else "-",
                     verdict(ratio, row.aim, at_most), "-", "-", "-"]
    aim = f" (aim {line['cells'][5]})" if row.aim else ""
    line["text"] = (f"{row.name}: {cells['ours']} against {cells['theirs']}: "
                    f"{line['cells'][4]}{aim}")
    return line


def machine():
    """Processor, cores, memory, kernel, load: what to compare it with."""
    model = platform.machine()
    with open("/proc/cpuinfo") as info:
        for text in info:
            if text.startswith("model name"):
                model = " ".join(text.split(":", 1)[1].split())
                break
    with open("/proc/meminfo") as info:
        memory = int(info.readline().split()[1]) / (1 << 20)
    load = " ".join(f"{x:.1f}" for x in os.getloadavg())
    return (f"{os.cpu_count()} x {model}, {memory:.0f} GiB, kernel "
            f"{platform.release()}; load at the end {load}")


HEAD = ["workload", "against", "dlht k/s", "peer k/s", "ratio", "aim",
        "server ns a request", "ratio of these", "found %"]


def markdown(bench, options):
    words, skip = [], False
    for word in sys.argv[1:]:  # without where it is written to
        if not skip and word.split("=")[0] not in ("--out", "--into",
                                                   "--work"):
            words.append(word)
        skip = not skip and word in ("--out", "--into", "--work")
    command = " ".join(["scripts/bench"] + words)
    lines = [f"Made by `{command}`: medians of {options.rounds} "
             f"rounds of {options.seconds:g} s by turns (best in brackets), "
             f"{options.keys:,} keys of 16 bytes, values of 64 bytes, 50 "
             "connections; P: requests open on each. Ratios above 1 are "
             "better for dlht, but those of memory. "
             f"{', '.join(sorted(bench.versions))}. {machine()}.", "",
             "| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    for line in bench.lines:
        if not line["cells"]:
            continue
        lines.append("| " + " | ".join(
            cell.replace("|", "/").replace("\n", " ")
            for cell in line["cells"]) + " |")
    notes = [f"- {line['name']}: {line['note']}" for line in bench.lines
             if line["note"]]
    left_out = {}
    for line in bench.lines:
        if not line["cells"]:
            left_out.setdefault(line["why"], []).append(line["title"])
    notes += [f"- {why}: {'; '.join(titles)}"
              for why, titles in left_out.items()]
    if notes:
        lines += [""] + notes
    return "\n".join(lines) + "\n"


def picture(bench, directory):
    """By the same hand as the other pictures of the tree."""
    rows = [f"{line['ratio']:.4f}\t{line['aim']}\t" +
            f"{line['name']} {line.get('bound', '')}".strip()
            for line in bench.lines if line["ratio"]]
    if not rows:
        return
    subprocess.run([find_program("dlht-bench"), "bars", directory, "bench",
                    "dlht beside others, by turns in one run"],
                   input="\n".join(rows) + "\n", text=True, check=True)


MARKS = ("<!-- scripts/bench -->\n", "<!-- end -->\n")


def cut(path):
    """What stands in a file before the table and after it."""
    with open(path) as file:
        text = file.read()
    before, begin, rest = text.partition(MARKS[0])
    _old, end, after = rest.partition(MARKS[1])
    if not begin or not end:
        raise ValueError(f"{path} has not the lines {MARKS[0].strip()} and "
                         f"{MARKS[1].strip()}")
    return before, after


def write_all(bench, options):
    os.makedirs(options.out, exist_ok=True)
    with open(os.path.join(options.out, "bench.md"), "w") as out:
        out.write(markdown(bench, options))
    for path in options.into:
        before, after = cut(path)
        with open(path, "w") as out:
            out.write(before + MARKS[0] + "\n" + markdown(bench, options) +
                      "\n" + MARKS[1] + after)
    with open(os.path.join(options.out, "bench.json"), "w") as out:
        json.dump({"machine": machine(), "versions": sorted(bench.versions),
                   "rows": bench.lines}, out, indent=1)
    picture(bench, options.out)
    print(f"written: {options.out}/bench.md, bench.json, bench.svg")
