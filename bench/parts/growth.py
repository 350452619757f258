"""What a row costs in a response and in an export, of 1 to 1,000,000 rows and of 1 to 200 columns: it must not grow."""

import json

import runtimes
from measurement import Measurement
from world import World

ROUNDS = 5
# A response holds 6 MB.
ROWS = {"response": [1, 100, 10_000, 100_000], "csv.gz": [1, 100, 10_000, 1_000_000], "parquet": [1, 100, 10_000, 1_000_000]}
COLUMNS = {"response": [1, 10, 50, 200], "csv.gz": [1, 10, 50, 200], "parquet": [1, 10, 50, 200]}
ROWS_OF_COLUMNS = 1_000


def measure():
    with World("--s3") as world:
        queries = {f"rows_{n}": f"SELECT n FROM generate_series(1, {n}) n" for n in {n for all in ROWS.values() for n in all}}
        for n in COLUMNS["response"]:
            columns = ", ".join(f"n + {column} AS c{column}" for column in range(n))
            queries[f"columns_{n}"] = f"SELECT {columns} FROM generate_series(1, {ROWS_OF_COLUMNS}) n"
        world.queries(**queries)
        for form in ROWS:
            yield from curve(world, form, "a row", "rows", ROWS[form], lambda n: n)
            yield from curve(world, form, "a value", "columns", COLUMNS[form], lambda n: n * ROWS_OF_COLUMNS)


def curve(world, form, of, things, sizes, units):
    """The time of a row or value at each size, and the last beside the one before it."""
    name = "scheduled-query" if form == "response" else f"export to {form}"
    function = "scheduled-query" if form == "response" else "export-query"
    costs = {}
    with runtimes.ours(function, world) as sandbox:
        for n in sizes:
            event = {"query": f"{things}_{n}"}
            if form != "response":
                event |= {"to": f"s3://exports/{things}_{n}.{form}", "overwrite": True}
            event = json.dumps(event).encode()
            sandbox.invoke(event)
            costs[n] = [sandbox.invoke(event)[1] * 1e6 / units(n) for _ in range(ROUNDS)]
            yield Measurement("growth", f"time of {of}, {n:,} {things}", "µs", {name: costs[n]})
    last, before = sizes[-1], sizes[-2]
    values = {f"{last:,} {things}": costs[last], f"{before:,} {things}": costs[before]}
    yield Measurement("growth_limit", f"{name}: time of {of} at {last:,} {things}", "µs", values)
