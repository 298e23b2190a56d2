#!/usr/bin/env python3
"""Compares versions of the storage benchmark in one run: BENCHMARKS.md, "Before and after".

Machines are shared and noisy, so versions take turns, round by round, and each figure is given three times: best beside
best, median beside median, and the median of the ratios within the rounds. A ratio above 1 is better than the first version.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile


def version(text):
    name, _, rest = text.partition("=")
    bench, _, uor = rest.partition(",")
    if not (name and bench and uor):
        raise argparse.ArgumentTypeError(f"`{text}` is not NAME=BENCH,UOR")
    return name, bench, uor


def figures(bench, uor, passed_on):
    with tempfile.TemporaryDirectory() as directory:
        file = pathlib.Path(directory, "figures.json")
        command = [bench, "--systems", "uor", "--uor", uor, "--json", str(file), *passed_on]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")
        return {(figure["work"], figure["unit"]): figure["value"] for figure in json.loads(file.read_text())["figures"]}


def ratio(unit, before, after):
    if not before or not after:
        return 1.0 if before == after else float("nan")
    return after / before if unit == "1/s" else before / after


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", nargs="+", type=version, metavar="NAME=BENCH,UOR", help="the first is the one before")
    parser.add_argument("--rounds", type=int, default=5)
    arguments, passed_on = parser.parse_known_args()
    names = [name for name, _, _ in arguments.versions]
    measured = {}
    for number in range(arguments.rounds):
        for name, bench, uor in arguments.versions:
            print(f"round {number + 1} of {arguments.rounds}: {name}", file=sys.stderr)
            for key, value in figures(bench, uor, passed_on).items():
                measured.setdefault(key, {}).setdefault(name, []).append(value)
    for (work, unit), values in measured.items():
        best = max if unit == "1/s" else min
        before = values[names[0]]
        line = f"{work:22} {names[0]} {best(before):.4g} {unit}"
        for name in names[1:]:
            after = values.get(name, [])
            if len(after) != len(before):
                line += f"  {name}: not measured"
                continue
            rounds = statistics.median(ratio(unit, one, other) for one, other in zip(before, after))
            line += f"  {name}: best {ratio(unit, best(before), best(after)):.3f}"
            line += f" median {ratio(unit, statistics.median(before), statistics.median(after)):.3f} rounds {rounds:.3f}"
        print(line)


main()
