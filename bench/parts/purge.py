"""One chunk of queries/purge_orders.sql beside shorter forms of it: on a plain table, and on 28 and 116 partitions.
By ctid alone is wrong on partitions: the same addresses of all of them go."""

import re
import subprocess

from measurement import ROUNDS, Measurement
from world import ROOT, World

ROWS = 1_000_000
DUE = "received_at < now() - make_interval(days => 14)"
FORMS = {
    "purge_orders": None,
    "by (tableoid, ctid) alone": "DELETE FROM orders WHERE (tableoid, ctid) IN "
    f"(SELECT tableoid, ctid FROM orders WHERE {DUE} LIMIT $2)",
    "by ctid alone": f"DELETE FROM orders WHERE ctid = ANY (ARRAY(SELECT ctid FROM orders WHERE {DUE} LIMIT $2))",
}


def measure():
    with World("--user", "iam_rw_user", schema="".join(schema(partitions) for partitions in (1, 28, 116))) as world:
        for partitions in (1, 28, 116):
            for chunk in (1_000, 10_000):
                table = "a plain table" if partitions == 1 else f"{partitions} partitions"
                measurement = Measurement("purge", f"purge of {chunk:,} rows, {table}", "ms")
                for name, form in FORMS.items():
                    form = (form or shipped()).replace("orders", f"orders_{partitions}").replace("$2", str(chunk))
                    measurement.values[name] = times(world, form)
                yield measurement


def shipped():
    """The statement of the repository's query."""
    text = (ROOT / "queries/purge_orders.sql").read_text().partition("+++*/")[2]
    return re.sub(r"^--.*\n", "", text, flags=re.M).replace("days => $1", "days => 14")


def schema(partitions):
    """A table over as many days as it has partitions; the plain one over 116."""
    days = 116 if partitions == 1 else partitions
    table = f"orders_{partitions}"
    text = f"CREATE TABLE {table} (order_id text, total numeric, received_at timestamptz)"
    text += "" if partitions == 1 else " PARTITION BY RANGE (received_at)"
    text += f";\nCREATE INDEX ON {table} (received_at);\n"
    if partitions > 1:
        text += "".join(
            f"CREATE TABLE {table}_{day} PARTITION OF {table} FOR VALUES FROM (date_trunc('day', now()) - "
            f"interval '{day} d') TO (date_trunc('day', now()) - interval '{day - 1} d');\n"
            for day in range(1, days + 1)
        )
    return text + (
        f"INSERT INTO {table} SELECT n, 1, date_trunc('day', now()) - n * interval '{days - 1} d' / {ROWS} "
        f"FROM generate_series(1, {ROWS}) n;\nGRANT SELECT, DELETE ON {table} TO iam_rw_user;\nANALYZE {table};\n"
    )


def times(world, statement):
    """A statement's times. Nothing is committed, so that every form finds the same rows."""
    script = "BEGIN;\n\\timing on\n" + f"{statement};\n" * ROUNDS + "\\timing off\nROLLBACK;\n"
    ran = subprocess.run(
        ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1"], input=script, text=True, capture_output=True, check=True,
        env=world.client(PGPASSWORD=world.token()),
    )
    return [float(time) for time in re.findall(r"^Time: ([0-9.]+) ms", ran.stdout, re.M)]
