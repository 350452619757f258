"""Exports of the same rows in each format, to S3, beside DuckDB's COPY and psql's \\copy: time, the CPU of function and
backend, the object's size, and the function's peak of memory. EXPORT_MB is the size of the CSV."""

import json
import os
import resource
import subprocess
import time

import runtimes
from measurement import ROUNDS, Measurement, in_turn
from world import PEERS, ROOT, World

MEGABYTES = int(os.environ.get("EXPORT_MB", 100))
# Text, numbers and times, as tables have them; about 90 bytes a row.
TABLE = f"""CREATE TABLE sales AS SELECT n AS order_id, md5(n::text) AS customer,
    (n::bigint * 7919 % 100000)::numeric(10, 2) / 100 AS total,
    timestamptz '2026-01-01' + n * interval '1 second' AS created_at,
    (ARRAY['new', 'paid', 'shipped', 'returned'])[1 + n % 4] AS status
    FROM generate_series(1, {MEGABYTES * 11_500}) n; ANALYZE sales"""
CSV = r"\copy (SELECT * FROM sales) TO STDOUT (FORMAT csv, HEADER)"
NDJSON = r"\copy (SELECT row_to_json(s) FROM sales s) TO STDOUT"
BINARY = r"\copy (SELECT * FROM sales) TO STDOUT (FORMAT binary)"
# curl signs as S3 wants it, and sends what it reads while it reads.
S3 = (
    'curl -sSf --aws-sigv4 "aws:amz:$AWS_REGION:s3" --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" '
    '-H "x-amz-security-token: $AWS_SESSION_TOKEN" -H "x-amz-content-sha256: UNSIGNED-PAYLOAD" '
    '-T - "$AWS_ENDPOINT_URL_S3/exports/psql.csv"'
)
# What each format is measured beside.
PEERS_OF = {
    "csv": {"psql | curl to S3": (CSV, S3)},
    "csv.gz": {"psql | gzip": (CSV, "gzip > $FILE")},
    "csv.zst": {"psql | gzip": (CSV, "gzip > $FILE")},
    "ndjson.gz": {"psql | gzip": (NDJSON, "gzip > $FILE")},
    "ndjson.zst": {"psql | gzip": (NDJSON, "gzip > $FILE")},
    "parquet": {"DuckDB's COPY": None, "psql, COPY BINARY": (BINARY, "cat > $FILE")},
}
FIELDS = {"time": "s", "function's CPU": "s", "backend's CPU": "s", "object": "MB", "peak of memory": "MiB"}


def measure():
    with World("--s3", schema=TABLE) as world:
        world.queries(sales="SELECT * FROM sales")
        for ending, peers in PEERS_OF.items():
            yield from beside(world, ending, peers)


def beside(world, ending, peers):
    names = ["export-query", *peers]
    measurements = {field: Measurement("exports", f"export to {ending}: {field}", unit) for field, unit in FIELDS.items()}
    turns = {"export-query": lambda: with_backend(world, lambda: ours(world, ending))}
    for name, pipe in peers.items():
        run = (lambda: duckdb(world)) if pipe is None else (lambda pipe=pipe: psql(world, *pipe))
        turns[name] = lambda run=run: with_backend(world, run)
    rounds = list(in_turn(ROUNDS, turns))
    for name in names:
        for told, values in rounds:
            for field, value in values.items():
                if told == name:
                    measurements[field].add(name, value)
    yield from measurements.values()


def with_backend(world, run):
    """What a run measures of itself, and the backend's CPU."""
    before = world.backend_cpu()
    values = run()
    return {**values, "backend's CPU": world.backend_cpu() - before}


def ours(world, ending):
    event = json.dumps({"query": "sales", "to": f"s3://exports/sales.{ending}", "overwrite": True}).encode()
    with runtimes.ours("export-query", world) as sandbox:
        before = sandbox.cpu()
        answer, seconds = sandbox.invoke(event, timeout=600)
        answer = json.loads(answer)
        assert answer["rows"] == MEGABYTES * 11_500, answer
        return {
            "time": seconds, "function's CPU": sandbox.cpu() - before,
            "object": answer["bytes"] / 1e6, "peak of memory": sandbox.peak(),
        }


def psql(world, copy, pipe):
    file = world.path / "psql.out"
    command = f'psql -Xq -v ON_ERROR_STOP=1 -c "$COPY" | {pipe}'
    environment = world.client(PGPASSWORD=world.token(), COPY=copy, FILE=str(file))
    before, start = children_cpu(), time.perf_counter()
    subprocess.run(["bash", "-euo", "pipefail", "-c", command], env=environment, check=True)
    values = {"time": time.perf_counter() - start, "function's CPU": children_cpu() - before}
    if file.exists():
        values["object"] = file.stat().st_size / 1e6
        file.unlink()
    return values


def children_cpu():
    """Seconds of CPU of all programs that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def duckdb(world):
    file = world.path / "duckdb.parquet"
    ran = subprocess.run(
        [ROOT / "target/venv-duckdb/bin/python", PEERS / "duckdb_copy.py"], check=True, capture_output=True, text=True,
        env=world.client(PGPASSWORD=world.token(), FILE=str(file)),
    )
    told = json.loads(ran.stdout)
    size = file.stat().st_size / 1e6
    file.unlink()
    return {"time": told["wall"], "function's CPU": told["cpu"], "object": size}
