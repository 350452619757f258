#!/usr/bin/env bash
# DuckDB on PostgreSQL: the same condition has two answers, and an exact number is rounded on its way in.
#
# The postgres extension (PyPI: duckdb 1.5.5, duckdb-extension-postgres-scanner 1.5.5) hands a WHERE on a column
# to PostgreSQL and evaluates the same words itself in SELECT or FILTER. The two know different values:
# - numeric NaN is read as 0.00, but PostgreSQL takes NaN for greater than all numbers. So the row that
#   shows 0.00 is among WHERE amount > 1, is not among WHERE amount = 0, and is not counted by
#   count(*) FILTER (amount > 1);
# - jsonb is read as text. WHERE doc = '{"a":1}' finds the document, SELECT doc = '{"a":1}' says false.
# A column `numeric` without precision is DOUBLE for DuckDB, for writing too: INSERT of a DECIMAL of 25 digits
# stores the rounded number without a word. numeric(38,2) takes it exactly.
#
# Why it matters with Lambda and RDS: DuckDB with CREATE SECRET (TYPE rds) reads and fills RDS from a function
# in two lines. A report that moves a condition from WHERE into FILTER changes its numbers, and a load into the usual
# `numeric` column loses digits that both sides can hold. Give columns a precision of at most 38 digits, and
# ask with postgres_query() where the condition must mean what PostgreSQL means.
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
venv/bin/pip install -q --disable-pip-version-check duckdb==1.5.5 duckdb-extension-postgres-scanner==1.5.5 \
    'psycopg[binary]==3.3.9'
cat >run.py <<'END'
import glob
import os

import duckdb
import psycopg

server = psycopg.connect(host=os.getcwd(), user="postgres", dbname="postgres", autocommit=True)
server.execute("CREATE TABLE bill (id int, amount numeric(12,2), doc jsonb)")
server.execute("""INSERT INTO bill VALUES (1, 'NaN', '{"a":1}'), (2, 5, '{}'), (3, 0, '[]')""")
server.execute("CREATE TABLE target (loose numeric, strict numeric(38,2))")

local = duckdb.connect()
folder = "venv/lib/*/site-packages/duckdb_extension_postgres_scanner"
local.load_extension(glob.glob(f"{folder}/**/*.duckdb_extension", recursive=True)[0])
local.execute(f"ATTACH 'host={os.getcwd()} user=postgres dbname=postgres' AS db (TYPE postgres)")
for query in (
    "SELECT id, amount::varchar FROM db.bill",
    "SELECT id, amount::varchar FROM db.bill WHERE amount > 1",
    "SELECT id, amount::varchar FROM db.bill WHERE amount = 0",
    "SELECT count(*) FROM db.bill WHERE amount > 1",
    "SELECT count(*) FILTER (amount > 1) FROM db.bill",
    """SELECT id FROM db.bill WHERE doc = '{"a":1}'""",
    """SELECT id, doc = '{"a":1}' FROM db.bill""",
):
    print(query, "->", local.sql(query).fetchall())

number = "12345678901234567890123.45"
for column in ("loose", "strict"):
    local.execute(f"INSERT INTO db.target ({column}) VALUES ({number}::DECIMAL(38,2))")
print("written:", number)
print("stored:", server.execute("SELECT max(loose)::text, max(strict)::text FROM target").fetchone())
local.close()
server.close()
END

echo "PostgreSQL $(pg_config --version | cut -d' ' -f2), $(venv/bin/python --version)," \
    "duckdb and its postgres extension 1.5.5"
venv/bin/python run.py | tee seen
diff - seen <<'END'
SELECT id, amount::varchar FROM db.bill -> [(1, '0.00'), (2, '5.00'), (3, '0.00')]
SELECT id, amount::varchar FROM db.bill WHERE amount > 1 -> [(1, '0.00'), (2, '5.00')]
SELECT id, amount::varchar FROM db.bill WHERE amount = 0 -> [(3, '0.00')]
SELECT count(*) FROM db.bill WHERE amount > 1 -> [(2,)]
SELECT count(*) FILTER (amount > 1) FROM db.bill -> [(1,)]
SELECT id FROM db.bill WHERE doc = '{"a":1}' -> [(1,)]
SELECT id, doc = '{"a":1}' FROM db.bill -> [(1, False), (2, False), (3, False)]
written: 12345678901234567890123.45
stored: ('12345678901234568000000', '12345678901234567890123.45')
END
echo "The behaviour is as described."
