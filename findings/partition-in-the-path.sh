#!/usr/bin/env bash
# What `id=007` in a path means depends on the reader, and who wins if the file has the column too.
#
# Folders named like columns (`id=007/a.parquet`) are read as a column by pyarrow 26.0.1, pandas 3.1.1, polars 2.1.0 and
# fastparquet 2026.9.0 (PyPI), all of which make the integer 7 of 007; DuckDB 2.0.1 keeps the text. polars has the column
# if it is given the folder, and not if it is given a pattern for the same files. If the file holds a column of that name
# with another value, DuckDB, fastparquet and polars' folder take the path's, polars' pattern the file's, and
# pyarrow and pandas refuse the folder.
#
# Why it matters with Lambda and RDS: a function that exports by tenant or day writes such keys, and the id in them is
# often text with zeros in front. A join with the database then finds no row in four of five readers. Start ids in
# paths with a letter, and leave a column that is in the path out of the file.
set -euo pipefail

work=$(mktemp -d)
cd "$work"
trap 'rm -rf "$work"' EXIT
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pandas==3.1.1 pyarrow==26.0.1 polars==2.1.0 duckdb==2.0.1 fastparquet==2026.9.0
cat >run.py <<'END'
import duckdb
import fastparquet
import pandas
import polars
import pyarrow
import pyarrow.parquet
from pathlib import Path

for folder, table in (("apart/id=007", {"v": [1]}), ("both/id=A7", {"v": [1], "id": ["B8"]})):
    Path(folder).mkdir(parents=True)
    pyarrow.parquet.write_table(pyarrow.table(table), f"{folder}/a.parquet")
READERS = {
    "pyarrow": lambda f: pyarrow.parquet.read_table(f).to_pylist(),
    "pandas": lambda f: pandas.read_parquet(f).to_dict("records"),
    "fastparquet": lambda f: fastparquet.ParquetFile(f).to_pandas().to_dict("records"),
    "polars, folder": lambda f: polars.read_parquet(f).to_dicts(),
    "polars, pattern": lambda f: polars.read_parquet(f"{f}/*/*.parquet").to_dicts(),
    "DuckDB": lambda f: duckdb.sql(f"FROM '{f}/*/*.parquet'").to_arrow_table().to_pylist(),
}
for folder in ("apart", "both"):
    for name, read in READERS.items():
        try:
            row = read(folder)[0]
            told = f"id {row['id']!r}" if "id" in row else "no id"
        except Exception as error:
            told = type(error).__name__
        print(f"{folder} | {name}: {told}")
END

echo "$(venv/bin/python --version), pyarrow 26.0.1, pandas 3.1.1, polars 2.1.0, fastparquet 2026.9.0, duckdb 2.0.1"
venv/bin/python run.py | tee seen
diff - seen <<'END'
apart | pyarrow: id 7
apart | pandas: id 7
apart | fastparquet: id 7
apart | polars, folder: id 7
apart | polars, pattern: no id
apart | DuckDB: id '007'
both | pyarrow: ArrowTypeError
both | pandas: ArrowTypeError
both | fastparquet: id 'A7'
both | polars, folder: id 'A7'
both | polars, pattern: id 'B8'
both | DuckDB: id 'A7'
END
echo "The behaviour is as described."
