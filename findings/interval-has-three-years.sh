#!/usr/bin/env bash
# A year as an interval has 365, 365.25 or 360 days: the driver, EXTRACT and the comparison each have their own.
#
# psycopg 3.3.9, psycopg2 2.9.13 and asyncpg 0.32.0 (PyPI) return an interval as a timedelta, which knows no months: a month
# becomes 30 days, twelve months 365, thirteen 395. PostgreSQL's EXTRACT(epoch FROM …) counts 365.25 days for the year, and its
# comparison 360: interval '1 year' = interval '360 days' is true, and = '365 days' is false. '1 mon -30 days' comes back
# as timedelta(0). Given back as a parameter, the timedelta is days: from 31 January, a month later is 1 March.
#
# Why it matters with Lambda and RDS: a job that reads the period of a subscription from a table and adds it in
# Python, or sends it back in the next statement, moves the due date by a day or more, and only in some months.
# Add it in SQL, in one statement, or read interval::text.
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
venv/bin/pip install -q --disable-pip-version-check 'psycopg[binary]==3.3.9' psycopg2-binary==2.9.13 asyncpg==0.32.0
cat >run.py <<'END'
import asyncio
import os

import asyncpg
import psycopg
import psycopg2

HERE = {"host": os.getcwd(), "user": "postgres"}
three = psycopg.connect(**HERE, dbname="postgres", autocommit=True)
two = psycopg2.connect(**HERE, dbname="postgres").cursor()


async def by_asyncpg(statement):
    connection = await asyncpg.connect(**HERE, database="postgres")
    value = await connection.fetchval(statement)
    await connection.close()
    return value


for text in ("1 mon", "12 mon", "13 mon", "1 mon -30 days"):
    statement = f"SELECT interval '{text}'"
    value = three.execute(statement).fetchone()[0]
    two.execute(statement)
    assert value == two.fetchone()[0] == asyncio.run(by_asyncpg(statement))
    server, epoch, sent, added = three.execute(
        f"""SELECT interval '{text}' = %(v)s, (extract(epoch FROM interval '{text}') / 86400)::float,
        (date '2024-01-31' + %(v)s)::date, (date '2024-01-31' + interval '{text}')::date""", {"v": value}).fetchone()
    print(f"{text} | drivers: {value.days} days | equal for the server: {server} | EXTRACT: {epoch} days", end=" | ")
    print(f"from 2024-01-31: {sent} as a parameter, {added} in SQL")
for days in (360, 365):
    print(f"1 year = {days} days:", three.execute(f"SELECT interval '1 year' = interval '{days} days'").fetchone()[0])
END

echo "PostgreSQL $(pg_config --version | cut -d' ' -f2), $(venv/bin/python --version), psycopg 3.3.9, psycopg2 2.9.13, asyncpg 0.32.0"
venv/bin/python run.py | tee seen
diff - seen <<'END'
1 mon | drivers: 30 days | equal for the server: True | EXTRACT: 30.0 days | from 2024-01-31: 2024-03-01 as a parameter, 2024-02-29 in SQL
12 mon | drivers: 365 days | equal for the server: False | EXTRACT: 365.25 days | from 2024-01-31: 2025-01-30 as a parameter, 2025-01-31 in SQL
13 mon | drivers: 395 days | equal for the server: False | EXTRACT: 395.25 days | from 2024-01-31: 2025-03-01 as a parameter, 2025-02-28 in SQL
1 mon -30 days | drivers: 0 days | equal for the server: True | EXTRACT: 0.0 days | from 2024-01-31: 2024-01-31 as a parameter, 2024-01-30 in SQL
1 year = 360 days: True
1 year = 365 days: False
END
echo "The behaviour is as described."
