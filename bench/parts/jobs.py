"""A job of a million rows beside a psql loop of the same statement, in chunks of 10,000 and of 100,000 rows: from
the start of the process to its end."""

import json
import subprocess
import time

import runtimes
from measurement import ROUNDS, Measurement, in_turn
from world import World

ROWS = 1_000_000
SCHEMA = """CREATE TABLE items (n int, filler text) WITH (autovacuum_enabled = false);
CREATE INDEX ON items (n);
GRANT SELECT, INSERT, DELETE, TRUNCATE ON items TO iam_rw_user;"""
# As queries/purge_orders.sql does it.
STATEMENT = """WITH due AS MATERIALIZED (SELECT tableoid AS o, ctid AS c, n AS r FROM items ORDER BY n LIMIT {chunk})
    DELETE FROM items WHERE (tableoid, ctid) IN (SELECT o, c FROM due)
      AND n BETWEEN (SELECT min(r) FROM due) AND (SELECT max(r) FROM due)"""
JOB = '/*+++\nmode = "write"\nresult = "affected"\nrepeat = "until-no-rows"\n+++*/\n'
count = 0


def measure():
    with World("--user", "iam_rw_user", schema=SCHEMA) as world:
        for chunk in (10_000, 100_000):
            statement = STATEMENT.format(chunk=chunk)
            world.queries(purge=JOB + statement)
            # The loop that people write: each statement commits by itself, until one affects no rows.
            (world.path / "loop.sql").write_text(f"{statement};\n" * (ROWS // chunk + 1))
            measurement = Measurement("jobs", f"job in chunks of {chunk:,} rows", "s", {"batch-job": [], "psql -f": []})
            turns = {"batch-job": lambda: filled(world, batch_job), "psql -f": lambda: filled(world, psql)}
            for name, seconds in in_turn(ROUNDS, turns):
                measurement.add(name, seconds)
            yield measurement


def filled(world, run):
    # From an empty file: otherwise each purge would also scan the rows that the one before left dead.
    world.psql(f"TRUNCATE items; INSERT INTO items SELECT n, repeat('x', 50) FROM generate_series(1, {ROWS}) n")
    return run(world)


def batch_job(world):
    global count
    count += 1
    start = time.perf_counter()
    with runtimes.ours("batch-job", world) as sandbox:
        answer, _ = sandbox.invoke(json.dumps({"query": "purge", "run": f"run-{count}"}).encode(), timeout=300)
    seconds = time.perf_counter() - start
    assert f'"rows":{ROWS}' in answer.decode() and '"done":true' in answer.decode(), answer
    return seconds


def psql(world):
    environment = world.client(PGPASSWORD=world.token())
    start = time.perf_counter()
    subprocess.run(["psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", world.path / "loop.sql"], env=environment, check=True)
    return time.perf_counter() - start
