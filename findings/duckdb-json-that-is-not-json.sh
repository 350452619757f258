#!/usr/bin/env bash
# DuckDB writes NaN and infinity into JSON, where they do not exist, and cuts the zeros of decimals.
#
# COPY … TO 'x.json' of DuckDB 2.0.1 (PyPI) writes a DOUBLE that is not a number as NaN and an infinite one as Infinity,
# without quotes. DuckDB itself, Python's json, pandas 3.1.1 and pyarrow 26.0.1 read the line; PostgreSQL's jsonb,
# Node's JSON.parse, orjson 3.13.0 and polars 2.1.0 refuse it. A DECIMAL(5, 2) 1.10 becomes the number 1.1.
# An infinite TIMESTAMP is text.
#
# Why it matters with Lambda and RDS: one average over no rows (0.0 / 0) makes a line that the database or the Node
# function at the other end rejects, and the Python test in between does not show it. Write
# CASE WHEN isfinite(x) THEN x END, and decimals as text if their scale matters.
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
venv/bin/pip install -q --disable-pip-version-check pandas==3.1.1 pyarrow==26.0.1 duckdb==2.0.1 polars==2.1.0 orjson==3.13.0
cat >run.py <<'END'
import json
import subprocess

import duckdb
import orjson
import pandas
import polars
import pyarrow.json

duckdb.sql("""COPY (SELECT 'nan'::DOUBLE AS a, 'infinity'::DOUBLE AS b, 1.10::DECIMAL(5, 2) AS c,
    'infinity'::TIMESTAMP AS d) TO 'x.json'""")
text = open("x.json").read()
print("DuckDB writes:", text.strip())
READERS = {
    "DuckDB": lambda: duckdb.sql("FROM 'x.json'").to_arrow_table(),
    "Python's json": lambda: json.loads(text),
    "pandas": lambda: pandas.read_json("x.json", lines=True),
    "orjson": lambda: orjson.loads(text),
    "polars": lambda: polars.read_ndjson("x.json"),
    "pyarrow": lambda: pyarrow.json.read_json("x.json"),
    "Node": lambda: subprocess.run(["node", "-e", f"JSON.parse({text!r})"], check=True, capture_output=True),
    "psql": lambda: subprocess.run(
        ["psql", "-h", ".", "-U", "postgres", "-c", f"SELECT '{text}'::jsonb"], check=True, capture_output=True),
}
for name, read in READERS.items():
    try:
        read()
        print(f"{name} reads it")
    except Exception as error:
        print(f"{name}: {type(error).__name__}")
END

echo "$(venv/bin/python --version), Node $(node --version), PostgreSQL $(pg_config --version | cut -d' ' -f2), duckdb 2.0.1, orjson 3.13.0, pandas 3.1.1, polars 2.1.0, pyarrow 26.0.1"
venv/bin/python run.py | tee seen
diff - seen <<'END'
DuckDB writes: {"a":NaN,"b":Infinity,"c":1.1,"d":"infinity"}
DuckDB reads it
Python's json reads it
pandas reads it
orjson: JSONDecodeError
polars: ComputeError
pyarrow reads it
Node: CalledProcessError
psql: CalledProcessError
END
echo "The behaviour is as described."
