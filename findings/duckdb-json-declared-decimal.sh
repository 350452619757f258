#!/usr/bin/env bash
# DuckDB 1.5 reads a JSON number into a declared DECIMAL by way of a float, and 2.0 does not.
#
# read_json(…, columns = {price: 'DECIMAL(20, 2)'}) of DuckDB 1.5.5 (PyPI) returns 123456789012345671.68 for
# 123456789012345678.91: a DECIMAL with all its digits, seven units off, and no error. The same number in CSV, or in quotes
# in JSON, is exact. DuckDB 2.0.1 returns the number as written, if the column is declared; undeclared, both take DOUBLE.
#
# Why it matters with Lambda and RDS: declaring the type looks like the cure for rounded amounts in an NDJSON export of
# `numeric`, and the answer looks exact. The postgres extension on PyPI is for 1.5, so functions stay on it. Put such
# numbers into quotes (amount::text), or export Parquet.
set -euo pipefail

work=$(mktemp -d)
cd "$work"
trap 'rm -rf "$work"' EXIT
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check duckdb==2.0.1
python3 -m venv venv15
venv15/bin/pip install -q --disable-pip-version-check duckdb==1.5.5
cat >run.py <<'END'
import duckdb

with open("a.ndjson", "w") as file:
    file.write('{"price": 123456789012345678.91, "quoted": "123456789012345678.91"}')
with open("a.csv", "w") as file:
    file.write("price\n123456789012345678.91\n")
SOURCES = {
    "NDJSON": "SELECT price FROM 'a.ndjson'",
    "NDJSON, declared": "SELECT price FROM read_json('a.ndjson', columns = {price: 'DECIMAL(20, 2)'})",
    "NDJSON, in quotes, declared": "SELECT quoted FROM read_json('a.ndjson', columns = {quoted: 'DECIMAL(20, 2)'})",
    "CSV, declared": "SELECT price FROM read_csv('a.csv', types = {price: 'DECIMAL(20, 2)'})",
}
for name, statement in SOURCES.items():
    print(f"{duckdb.__version__} | {name}: {duckdb.connect().execute(statement).fetchall()[0][0]!r}")
END

echo "$(venv/bin/python --version), duckdb 2.0.1 and 1.5.5"
{ venv/bin/python run.py && venv15/bin/python run.py; } | tee seen
diff - seen <<'END'
2.0.1 | NDJSON: 1.2345678901234568e+17
2.0.1 | NDJSON, declared: Decimal('123456789012345678.91')
2.0.1 | NDJSON, in quotes, declared: Decimal('123456789012345678.91')
2.0.1 | CSV, declared: Decimal('123456789012345678.91')
1.5.5 | NDJSON: 1.2345678901234568e+17
1.5.5 | NDJSON, declared: Decimal('123456789012345671.68')
1.5.5 | NDJSON, in quotes, declared: Decimal('123456789012345678.91')
1.5.5 | CSV, declared: Decimal('123456789012345678.91')
END
echo "The behaviour is as described."
