#!/usr/bin/env bash
# asyncpg stores 31 December 9999 as infinity, and 1 January of the year 1 as -infinity.
#
# Python has no infinite date, so asyncpg 0.32.0 (PyPI) reads infinity as date.max. It takes the way back
# too: date.max, which is the ordinary day 9999-12-31, is written as infinity, and date.min as -infinity;
# in ranges as well. datetime.max and datetime.min likewise, but 9999-12-31 00:00 is written as it is.
# psycopg 3.3.9 writes the day that you gave, and raises an error when it reads infinity.
#
# Why it matters with Lambda and RDS: 9999-12-31 is the classic "no end yet" of validity columns. A
# row that asyncpg writes looks right to asyncpg, but a report that asks `valid_to = '9999-12-31'`
# misses it, a CHECK or a unique index takes both as different, and a psycopg function beside it fails on the row.
# Decide for one of the two, and write infinity in SQL ('infinity'::date) if it is that one.
set -euo pipefail

work=$(mktemp -d)
cd "$work"
bin=$(pg_config --bindir)
as=()
if [ "$(id -u)" = 0 ]; then # PostgreSQL refuses to run as root.
    as=(runuser -u postgres --)
    chown postgres "$work"
fi
finish() {
    "${as[@]}" "$bin/pg_ctl" -D data -m immediate stop >server.log 2>&1 || true
    rm -rf "$work"
}
trap finish EXIT
"${as[@]}" "$bin/initdb" -D data -U postgres -A trust >server.log
"${as[@]}" "$bin/pg_ctl" -D data -w -l log -o "-k $work -c listen_addresses= -c timezone=UTC" start >server.log
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check asyncpg==0.32.0 'psycopg[binary]==3.3.9'
cat >run.py <<'END'
import asyncio
import os
from datetime import date, datetime

import asyncpg
import psycopg


async def main():
    client = await asyncpg.connect(host=os.getcwd(), user="postgres", database="postgres")
    other = psycopg.connect(host=os.getcwd(), user="postgres", dbname="postgres", autocommit=True)
    values = [
        (date.max, "date"),
        (date.min, "date"),
        (datetime.max, "timestamp"),
        (datetime(9999, 12, 31), "timestamp"),
    ]
    for value, kind in values:
        one = await client.fetchval(f"SELECT $1::{kind}::text", value)
        two = other.execute(f"SELECT %s::{kind}::text", (value,)).fetchone()[0]
        print(f"{value} | asyncpg: {one} | psycopg: {two}")
    print("range:", await client.fetchval("SELECT $1::daterange::text", asyncpg.Range(date(2024, 1, 1), date.max)))

    await client.execute("CREATE TABLE price (valid_to date)")
    await client.execute("INSERT INTO price VALUES ($1)", date(9999, 12, 31))
    print("asyncpg reads:", await client.fetchval("SELECT valid_to FROM price"))
    question = "SELECT count(*) FROM price WHERE valid_to = '9999-12-31'"
    print("rows of that day:", await client.fetchval(question))
    try:
        other.execute("SELECT valid_to FROM price").fetchone()
    except psycopg.DataError as error:
        print("psycopg reads:", type(error).__name__, error)
    await client.close()
    other.close()


asyncio.run(main())
END

echo "PostgreSQL $(pg_config --version | cut -d' ' -f2), $(venv/bin/python --version), asyncpg 0.32.0, psycopg 3.3.9"
venv/bin/python run.py | tee seen
diff - seen <<'END'
9999-12-31 | asyncpg: infinity | psycopg: 9999-12-31
0001-01-01 | asyncpg: -infinity | psycopg: 0001-01-01
9999-12-31 23:59:59.999999 | asyncpg: infinity | psycopg: 9999-12-31 23:59:59.999999
9999-12-31 00:00:00 | asyncpg: 9999-12-31 00:00:00 | psycopg: 9999-12-31 00:00:00
range: [2024-01-01,infinity)
asyncpg reads: 9999-12-31
rows of that day: 0
psycopg reads: DataError date too large (after year 10K): 'infinity'
END
echo "The behaviour is as described."
