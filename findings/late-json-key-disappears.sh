#!/usr/bin/env bash
# A key that first appears late in an NDJSON file has no column in polars and DuckDB, and no error says so.
#
# polars 2.1.0 and DuckDB 2.0.1 (PyPI) choose the columns from the first rows: polars from 100, DuckDB from about 20,000.
# A key that only a later row has is left out, value and all. A later value of another TYPE does raise an error, so one
# expects the same of a later key. pandas 3.1.1 and pyarrow 26.0.1 read the whole file first and have the column.
#
# Why it matters with Lambda and RDS: events, logs and results of a failed batch are NDJSON in which the rare key is the
# interesting one ("error"). Counting them with polars gives a missing column at best; a SELECT * that goes on into Parquet
# drops it for good. Give infer_schema_length=None to polars, sample_size=-1 to DuckDB, or the columns by name.
set -euo pipefail

work=$(mktemp -d)
cd "$work"
trap 'rm -rf "$work"' EXIT
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pandas==3.1.1 pyarrow==26.0.1 polars==2.1.0 duckdb==2.0.1
cat >run.py <<'END'
import duckdb
import pandas
import polars
import pyarrow.json

READERS = {
    "polars": lambda f: polars.read_ndjson(f).columns,
    "polars, infer_schema_length=None": lambda f: polars.read_ndjson(f, infer_schema_length=None).columns,
    "DuckDB": lambda f: duckdb.sql(f"FROM '{f}'").columns,
    "DuckDB, sample_size=-1": lambda f: duckdb.sql(f"FROM read_json('{f}', sample_size = -1)").columns,
    "pandas": lambda f: list(pandas.read_json(f, lines=True).columns),
    "pyarrow": lambda f: pyarrow.json.read_json(f).column_names,
}
for rows in (50, 1000, 100_000):
    with open("events.ndjson", "w") as file:
        file.write('{"id": 1}\n' * rows + '{"id": 2, "error": "no such row"}\n')
    for name, columns in READERS.items():
        print(f"{rows} rows before it | {name}: {columns('events.ndjson')}")
END

echo "$(venv/bin/python --version), pandas 3.1.1, pyarrow 26.0.1, polars 2.1.0, duckdb 2.0.1"
venv/bin/python run.py | tee seen
diff - seen <<'END'
50 rows before it | polars: ['id', 'error']
50 rows before it | polars, infer_schema_length=None: ['id', 'error']
50 rows before it | DuckDB: ['id', 'error']
50 rows before it | DuckDB, sample_size=-1: ['id', 'error']
50 rows before it | pandas: ['id', 'error']
50 rows before it | pyarrow: ['id', 'error']
1000 rows before it | polars: ['id']
1000 rows before it | polars, infer_schema_length=None: ['id', 'error']
1000 rows before it | DuckDB: ['id', 'error']
1000 rows before it | DuckDB, sample_size=-1: ['id', 'error']
1000 rows before it | pandas: ['id', 'error']
1000 rows before it | pyarrow: ['id', 'error']
100000 rows before it | polars: ['id']
100000 rows before it | polars, infer_schema_length=None: ['id', 'error']
100000 rows before it | DuckDB: ['id']
100000 rows before it | DuckDB, sample_size=-1: ['id', 'error']
100000 rows before it | pandas: ['id', 'error']
100000 rows before it | pyarrow: ['id', 'error']
END
echo "The behaviour is as described."
