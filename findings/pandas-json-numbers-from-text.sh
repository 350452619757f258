#!/usr/bin/env bash
# pandas turns text that looks like a number into a number, when it reads JSON.
#
# In JSON, "01234" in quotes is text. read_json of pandas 3.1.1 (PyPI) makes the integer 1234 of it, and 1000.0 of "1e3",
# if every value of the column looks so; with one other value in the column, all stay text. With dtype_backend="pyarrow"
# nothing is converted, with engine="pyarrow" dates are. DuckDB 2.0.1 and polars 2.1.0 leave text alone.
#
# Why it matters with Lambda and RDS: rows that a function exports as NDJSON keep postal codes, account numbers and ids in
# quotes on purpose. A job that reads them with pandas loses the zeros in front, on days when all rows look like
# numbers. Give dtype={"zip": "str"}, or dtype=False.
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

LINES = ['{"zip": "01234", "code": "1e3", "day": "2024-01-02"}', '{"zip": "04567", "code": "2e3", "day": "2024-01-03"}']
with open("digits.ndjson", "w") as file:
    file.write("\n".join(LINES))
with open("mixed.ndjson", "w") as file:
    file.write("\n".join([*LINES, '{"zip": "AB1", "code": "x", "day": "2024-01-04"}']))
READERS = {
    "pandas": lambda f: pandas.read_json(f, lines=True).iloc[0].tolist(),
    "pandas, dtype=False": lambda f: pandas.read_json(f, lines=True, dtype=False).iloc[0].tolist(),
    "pandas, dtype_backend": lambda f: pandas.read_json(f, lines=True, dtype_backend="pyarrow").iloc[0].tolist(),
    "pandas, engine": lambda f: pandas.read_json(f, lines=True, engine="pyarrow").iloc[0].tolist(),
    "polars": lambda f: list(polars.read_ndjson(f).row(0)),
    "DuckDB": lambda f: list(duckdb.connect().execute(f"SELECT zip, code, day::text FROM '{f}'").fetchall()[0]),
}
for file in ("digits.ndjson", "mixed.ndjson"):
    for name, read in READERS.items():
        print(f"{file} | {name}: {read(file)}")
END

echo "$(venv/bin/python --version), pandas 3.1.1, pyarrow 26.0.1, polars 2.1.0, duckdb 2.0.1"
venv/bin/python run.py | tee seen
diff - seen <<'END'
digits.ndjson | pandas: [np.int64(1234), np.float64(1000.0), '2024-01-02']
digits.ndjson | pandas, dtype=False: ['01234', '1e3', '2024-01-02']
digits.ndjson | pandas, dtype_backend: ['01234', '1e3', '2024-01-02']
digits.ndjson | pandas, engine: ['01234', '1e3', Timestamp('2024-01-02 00:00:00')]
digits.ndjson | polars: ['01234', '1e3', '2024-01-02']
digits.ndjson | DuckDB: ['01234', '1e3', '2024-01-02']
mixed.ndjson | pandas: ['01234', '1e3', '2024-01-02']
mixed.ndjson | pandas, dtype=False: ['01234', '1e3', '2024-01-02']
mixed.ndjson | pandas, dtype_backend: ['01234', '1e3', '2024-01-02']
mixed.ndjson | pandas, engine: ['01234', '1e3', Timestamp('2024-01-02 00:00:00')]
mixed.ndjson | polars: ['01234', '1e3', '2024-01-02']
mixed.ndjson | DuckDB: ['01234', '1e3', '2024-01-02']
END
echo "The behaviour is as described."
