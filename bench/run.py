#!/usr/bin/env python3
"""Measures the functions beside their peers, in turn, and prints one table: `make bench`.

    bench/run.py                writes bench/RESULTS.md and bench/results.svg, too
    bench/run.py --only export  runs the parts whose names contain this, and prints the table only
    bench/run.py --report       writes both files anew from the last whole run

Each module of parts/ yields measurements, which go to target/bench/PART.jsonl, one line of JSON each. Fails if a
ratio that claims.toml claims is missed by more than a tenth.
"""

import argparse
import datetime
import importlib
import pathlib
import sys
import traceback

sys.dont_write_bytecode = True

import claims
import machine
import picture
import report
from measurement import Measurement
from world import ROOT

PARTS = [
    "cold_start",
    "warm_read",
    "batch_of_writes",
    "exports",
    "jobs",
    "purge",
    "signing",
    "round_trips",
    "doctor",
    "memory",
    "zip_size",
    "growth",
]
KEPT = ROOT / "target/bench"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--only", default="", help="run the parts whose names contain this")
    arguments.add_argument("--report", action="store_true", help="write the report of the last run")
    arguments = arguments.parse_args()
    parts = [part for part in PARTS if arguments.only in part]
    if not parts:
        sys.exit(f"bench: no part's name contains {arguments.only}; there are {', '.join(PARTS)}")
    KEPT.mkdir(parents=True, exist_ok=True)
    failed = [] if arguments.report else [part for part in parts if not ran(part)]
    measurements = [each for part in parts for each in kept(part)]
    rows = claims.judged(measurements, claims.read())
    print(report.table_for_a_terminal(rows))
    # A part of the numbers replaces no whole report.
    if not arguments.only and not failed:
        about = machine.about(datetime.date.today()) + report.rounds(PARTS, measurements)
        (ROOT / "bench/RESULTS.md").write_text(report.document(rows, about))
        (ROOT / "bench/results.svg").write_text(picture.svg(rows))
        print("bench: wrote bench/RESULTS.md and bench/results.svg")
    missed = [row for row in rows if row.missed]
    for row in missed:
        print(f"bench: claimed {row.claim.text()}, measured {row.measured:.3g}: {row.what} beside {row.peer}", file=sys.stderr)
    if failed:
        print(f"bench: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed or missed else 0


def ran(part):
    """Runs a part, and keeps what it measured. Returns whether it succeeded."""
    print(f"bench: {part} …", file=sys.stderr, flush=True)
    try:
        lines = [each.line() for each in importlib.import_module(f"parts.{part}").measure()]
    except Exception:
        traceback.print_exc()
        return False
    (KEPT / f"{part}.jsonl").write_text("".join(line + "\n" for line in lines))
    return True


def kept(part):
    """What the last run of a part measured."""
    path = KEPT / f"{part}.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [Measurement.read(line) for line in lines]


if __name__ == "__main__":
    sys.exit(main())
