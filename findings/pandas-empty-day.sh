#!/usr/bin/env bash
# A day without rows spoils a folder of Parquet files, if its file happens to be read first.
#
# pandas 3.1.1 writes a query's empty result with columns of the Parquet type null, because read_sql has seen no
# value to take a type from; so it does for a column that is NULL in all rows of a day. Four
# readers of several files (DuckDB 2.0.1, pyarrow 26.0.1, polars 2.1.0, pandas itself) take the types from the first
# file. With the empty file behind the others they all read the folder; with the empty file in front
# they all refuse it, although it has no row to convert.
#
# Why it matters with Lambda and RDS: a scheduled function that exports each day's rows to S3 works until the
# first day of a year, a tenant or a partition is a quiet one. Files sort by date, so the same quiet
# day in the middle goes unnoticed. Give the types: read_sql(…, dtype=…), to_parquet(…, schema=…), or
# a writer that takes the types from the database.
set -euo pipefail

work=$(mktemp -d)
cd "$work"
trap 'rm -rf "$work"' EXIT
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pandas==3.1.1 pyarrow==26.0.1 polars==2.1.0 duckdb==2.0.1
cat >run.py <<'END'
import sqlite3

import duckdb
import pandas
import polars
import pyarrow.parquet

database = sqlite3.connect(":memory:")
database.execute("CREATE TABLE sale (day integer, id integer, note text)")
database.executemany("INSERT INTO sale VALUES (?, ?, ?)", [(2, 1, "hello"), (3, 2, None)])
for day in (1, 2, 3, 4):
    frame = pandas.read_sql("SELECT id, note FROM sale WHERE day = ?", database, params=(day,))
    frame.to_parquet(f"{day}.parquet")
    schema = pyarrow.parquet.read_schema(f"{day}.parquet")
    print(f"day {day}: {len(frame)} rows,", ", ".join(f"{field.name} {field.type}" for field in schema))

READERS = {
    "DuckDB": lambda files: duckdb.read_parquet(files).fetchall(),
    "pyarrow": lambda files: pyarrow.parquet.read_table(files).to_pylist(),
    "polars": lambda files: polars.read_parquet(files).rows(),
    "pandas": lambda files: pandas.read_parquet(files).to_dict("records"),
}
for days in ((1, 2), (2, 1), (3, 2), (2, 3, 4)):
    answers = []
    for name, read in READERS.items():
        try:
            answers.append(f"{name} {len(read([f'{day}.parquet' for day in days]))} rows")
        except Exception as error:
            answers.append(f"{name} {type(error).__name__}")
    print("days", *days, "|", ", ".join(answers))
END

echo "$(venv/bin/python --version), pandas 3.1.1, pyarrow 26.0.1, polars 2.1.0, duckdb 2.0.1"
venv/bin/python run.py | tee seen
diff - seen <<'END'
day 1: 0 rows, id null, note null
day 2: 1 rows, id int64, note large_string
day 3: 1 rows, id int64, note null
day 4: 0 rows, id null, note null
days 1 2 | DuckDB ConversionException, pyarrow ArrowNotImplementedError, polars SchemaError, pandas ArrowNotImplementedError
days 2 1 | DuckDB 1 rows, pyarrow 1 rows, polars 1 rows, pandas 1 rows
days 3 2 | DuckDB ConversionException, pyarrow ArrowNotImplementedError, polars SchemaError, pandas ArrowNotImplementedError
days 2 3 4 | DuckDB 2 rows, pyarrow 2 rows, polars 2 rows, pandas 2 rows
END
echo "The behaviour is as described."
