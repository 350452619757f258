#!/usr/bin/env bash
# DuckDB adds bigints exactly, and writes the sum into Parquet as a rounded float.
#
# sum() of a bigint is a HUGEINT in DuckDB 2.0.1 (PyPI), exact to 38 digits on the screen, in CSV, in fetchall() and
# as an Arrow table (decimal128(38, 0)). Parquet has no such integer, and COPY … TO 'x.parquet' takes DOUBLE for it,
# without a word: whole numbers beyond 2^53 change. .df() rounds likewise, and it rounds an exact DECIMAL too.
#
# Why it matters with Lambda and RDS: DuckDB is the small engine that adds up an export inside a function and writes the
# result next to it. A checksum or an amount in micros that was right in the test's fetchall() is another number in the
# file. Write sum(x)::DECIMAL(38, 0), or ::BIGINT.
set -euo pipefail

work=$(mktemp -d)
cd "$work"
trap 'rm -rf "$work"' EXIT
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pandas==3.1.1 pyarrow==26.0.1 duckdb==2.0.1
cat >run.py <<'END'
import duckdb
import pyarrow.parquet

ROWS = "(VALUES (9007199254740993::BIGINT), (0)) t(x)"
EXPRESSIONS = ("sum(x)", "sum(x)::DECIMAL(38, 0)", "sum(x)::BIGINT", "count(*)", "sum(x::DECIMAL(20, 2))")
connection = duckdb.connect()
for expression in EXPRESSIONS:
    statement = f"SELECT {expression} AS v FROM {ROWS}"
    connection.execute(f"COPY ({statement}) TO 'v.parquet'")
    table = pyarrow.parquet.read_table("v.parquet")
    print(f"{expression} | fetchall: {connection.execute(statement).fetchall()[0][0]}", end=" | ")
    print(f"arrow: {connection.sql(statement).to_arrow_table()['v'][0]}", end=" | ")
    print(f"df: {connection.sql(statement).df()['v'][0]}", end=" | ")
    print(f"Parquet: {table.schema.field('v').type} {table['v'][0]}")
END

echo "$(venv/bin/python --version), duckdb 2.0.1, pyarrow 26.0.1, pandas 3.1.1"
venv/bin/python run.py | tee seen
diff - seen <<'END'
sum(x) | fetchall: 9007199254740993 | arrow: 9007199254740993 | df: 9007199254740992.0 | Parquet: double 9007199254740992.0
sum(x)::DECIMAL(38, 0) | fetchall: 9007199254740993 | arrow: 9007199254740993 | df: 9007199254740992.0 | Parquet: decimal128(38, 0) 9007199254740993
sum(x)::BIGINT | fetchall: 9007199254740993 | arrow: 9007199254740993 | df: 9007199254740993 | Parquet: int64 9007199254740993
count(*) | fetchall: 2 | arrow: 2 | df: 2 | Parquet: int64 2
sum(x::DECIMAL(20, 2)) | fetchall: 9007199254740993.00 | arrow: 9007199254740993.00 | df: 9007199254740994.0 | Parquet: decimal128(38, 2) 9007199254740993.00
END
echo "The behaviour is as described."
