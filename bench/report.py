"""The table, for a terminal and as bench/RESULTS.md."""

HEAD = ["measure", "ours", "peer", "its value", "ours ÷ peer", "claimed", ""]

INTRODUCTION = """\
# Beside every peer

Written by `make bench`. Every number is the median of the rounds, with the least and the most; ours and its peers
take turns in one run, on one machine, through the same gate. Less is better in every unit, so a ratio below 1 is ours
being faster or smaller. Times belong to a machine: compare the ratios.

![Bars beside peers](results.svg)
"""

HOW = """\
## How it is measured

Every function and every peer that is a Lambda function runs in `bench/sandbox.py`: a process and a Runtime API, which
adds about 0.1 ms to each of them. A cold start is the time from the start of the process to the answer. CPU is the
process's own clock, the database's that of all PostgreSQL's processes. `bench/parts/` has a file for each part,
`bench/peers/` the peers' programs, `bench/claims.toml` what is claimed. `make bench ONLY=export` runs a part.
`make bench` fails when a claim is missed by more than a tenth.
"""


def cells(row):
    """A row's cells."""
    measurement, peer, claim = row.measurement, row.peer, row.claim
    ours = f"{measurement.ours}: {measurement.text(measurement.ours)}"
    if peer is None:
        return [row.what, ours, "", "", "", "", ""]
    verdict = "" if claim is None else "missed" if row.missed else "holds"
    claimed = "" if claim is None else claim.text()
    return [row.what, ours, peer, measurement.text(peer), f"{row.measured:.3g}", claimed, verdict]


def table_for_a_terminal(rows):
    """Columns of equal width."""
    lines = [HEAD] + [cells(row) for row in rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(HEAD))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def document(rows, about):
    """bench/RESULTS.md."""
    table = [HEAD, ["---"] * len(HEAD)]
    before = None
    for row in rows:
        line = cells(row)
        # The same measure beside its next peer.
        if row.measurement is before:
            line[0] = line[1] = ""
        before = row.measurement
        table.append(line)
    text = [INTRODUCTION, "\n".join(about), ""]
    text += ["| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in table]
    text += ["", "## What is missed", "", *misses(rows), "", HOW]
    return "\n".join(text).rstrip() + "\n"


def rounds(parts, measurements):
    """Lines about how often each part was measured, and which was not."""
    counts = {}
    for measurement in measurements:
        counts.setdefault(measurement.part, set()).update(len(values) for values in measurement.values.values())
    told = ", ".join(f"{part} {max(counts[part])}" for part in parts if part in counts)
    missing = [part for part in parts if part not in counts]
    lines = [f"- rounds of each part: {told}"]
    return lines + [f"- **not measured yet: {', '.join(missing)}**"] if missing else lines


def misses(rows):
    """A line for each aim that is not reached, with the reason."""
    lines = []
    for row in rows:
        claim = row.claim
        if claim is None:
            continue
        aim = claim.at_most if claim.wanted is None else claim.wanted
        if row.missed or row.measured > aim:
            why = claim.why or "within the spread of the runs." if not row.missed else claim.why or "not known yet."
            lines.append(f"- **{row.what}** beside {row.peer}: {row.measured:.3g}, wanted ≤ {aim:g}: {why}")
    return lines or ["Nothing."]
