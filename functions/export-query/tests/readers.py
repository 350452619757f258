"""What one reader makes of exported objects, as JSON: its version, and a word for each case of CASES.

    readers.py READER FOLDER
"""

import importlib.metadata
import json
import math
import pathlib
import sys
from decimal import Decimal


# Each reads a file as a list of rows. `declared`: with the type DECIMAL(20, 2) for the column `price`.


def duckdb_rows(path, declared):
    import duckdb

    file = f"'{path}'"
    if declared and path.suffix == ".csv":
        file = f"read_csv('{path}', types = {{price: 'DECIMAL(20, 2)'}})"
    elif declared:
        file = f"read_json('{path}', columns = {{price: 'DECIMAL(20, 2)'}})"
    answer = duckdb.connect().execute(f"SELECT * FROM {file}")
    names = [column[0] for column in answer.description]
    return [dict(zip(names, row)) for row in answer.fetchall()]


def pandas_rows(path, declared):
    import pandas
    import pyarrow

    types = {"price": pandas.ArrowDtype(pyarrow.decimal128(20, 2))} if declared else None
    read = {
        ".csv": lambda: pandas.read_csv(path, dtype=types),
        ".ndjson": lambda: pandas.read_json(path, lines=True, dtype=types),
        ".parquet": lambda: pandas.read_parquet(path),
    }
    return read[path.suffix]().to_dict("records")


def polars_rows(path, declared):
    import polars

    types = {"price": polars.Decimal(20, 2)} if declared else None
    read = {
        ".csv": lambda: polars.read_csv(path, schema_overrides=types),
        ".ndjson": lambda: polars.read_ndjson(path, schema_overrides=types),
        ".parquet": lambda: polars.read_parquet(path),
    }
    return read[path.suffix]().to_dicts()


def pyarrow_rows(path, declared):
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet

    types = pyarrow.schema([("price", pyarrow.decimal128(20, 2))] if declared else [])
    read = {
        ".csv": lambda: pyarrow.csv.read_csv(
            path, convert_options=pyarrow.csv.ConvertOptions(column_types=types)
        ),
        ".ndjson": lambda: pyarrow.json.read_json(
            path, parse_options=pyarrow.json.ParseOptions(explicit_schema=types)
        ),
        ".parquet": lambda: pyarrow.parquet.read_table(path),
    }
    return read[path.suffix]().to_pylist()


def fastparquet_rows(path, declared):
    import fastparquet

    if path.suffix != ".parquet":
        return None
    return fastparquet.ParquetFile(str(path)).to_pandas().to_dict("records")


def chdb_rows(path, declared):
    import chdb

    form = {".csv": "CSVWithNames", ".ndjson": "JSONEachRow", ".parquet": "Parquet"}[path.suffix]
    hint = " SETTINGS schema_inference_hints = 'price Decimal(20, 2)'" if declared else ""
    answer = chdb.query(f"SELECT * FROM file('{path}', '{form}'){hint}", "JSON")
    answer = json.loads(str(answer), parse_float=Decimal)
    # JSON has one type of number; chdb says beside it which it was.
    types = {column["name"]: column["type"] for column in answer["meta"]}
    floats = {name for name, type in types.items() if "Float" in type}
    return [
        {name: float(value) if name in floats and value is not None else value for name, value in row.items()}
        for row in answer["data"]
    ]


def word(value):
    """A value as the table names it."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    return f"`{json.dumps(value)}`"


def exactly(written):
    """For text: whether it is still this text."""
    return lambda value: "text" if value == written else word(value)


def number(written):
    """For a number: whether it is still this number. A float is this number by chance only."""

    def judge(value):
        if value == written:
            return "exact, as text"
        kind = ", float" if isinstance(value, float) else ""
        return ("exact" if Decimal(value) == Decimal(written) else "rounded") + kind

    return judge


def day(value):
    """For 31 December 9999, a date or a time."""
    return "exact" if str(value)[:10] == "9999-12-31" else f"`{value}`"


# The case: file, column, rows, and what to say of a value.
CASES = {
    "CSV: NULL": ("texts.csv", "t", [0], word),
    "CSV: an empty text": ("texts.csv", "t", [1], word),
    "CSV: the texts `NULL` and `NA`": ("texts.csv", "t", [2, 3], word),
    "CSV: a text of one space": ("texts.csv", "t", [4], word),
    "CSV of one column, rows NULL, empty text and `x`": ("sole.csv", "t", None, word),
    "CSV: text `007`": ("texts.csv", "code", [0], word),
    "CSV: true, written `t`": ("texts.csv", "yes", [0], word),
    "CSV: numeric(20, 2)": ("texts.csv", "price", [0], number("123456789012345678.91")),
    "CSV: numeric(20, 2), declared": ("texts.csv declared", "price", [0], number("123456789012345678.91")),
    "NDJSON: bigint 2^53 + 1": ("whole.ndjson", "big", [0], number("9007199254740993")),
    "NDJSON: numeric 2^63 + 1": ("past63.ndjson", "n", [0], number("9223372036854775809")),
    "NDJSON: numeric 2^64 + 1": ("past64.ndjson", "n", [0], number("18446744073709551617")),
    "NDJSON: numeric(20, 2)": ("whole.ndjson", "price", [0], number("123456789012345678.91")),
    "NDJSON: numeric(20, 2), declared": ("whole.ndjson declared", "price", [0], number("123456789012345678.91")),
    "Parquet: numeric(20, 2)": ("typed.parquet", "price", [0], number("123456789012345678.91")),
    "Parquet: numeric without precision": ("typed.parquet", "n", [0], number("18446744073709551617.5")),
    "Parquet: bigint 2^53 + 1, a NULL in the column": ("typed.parquet", "big", [1], number("9007199254740993")),
    "Parquet: uuid": ("typed.parquet", "u", [0], exactly("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")),
    "Parquet: jsonb": ("typed.parquet", "j", [0], exactly('{"a": 1}')),
    "Parquet: date 9999-12-31": ("typed.parquet", "d", [0], day),
    "Parquet: timestamp 9999-12-31 00:00": ("typed.parquet", "ts", [0], day),
}


def cell(rows, column, places, say):
    """What the reader makes of one case: it reads no such file, or fails, or has these values."""
    if rows is None:
        return "–"
    if isinstance(rows, Exception):
        return f"`{type(rows).__name__}`"
    chosen = rows if places is None else [rows[place] for place in places]
    return ", ".join(say(row[column]) for row in chosen)


def main(reader, folder):
    files = {}
    for name in {case[0] for case in CASES.values()}:
        file, _, declared = name.partition(" ")
        path = pathlib.Path(folder) / file
        assert path.is_file(), f"{path} was not exported"
        try:
            files[name] = globals()[f"{reader}_rows"](path, bool(declared))
        except Exception as error:
            files[name] = error
    cells = {case: cell(files[name], *rest) for case, (name, *rest) in CASES.items()}
    print(json.dumps({"version": importlib.metadata.version(reader), "cells": cells}, indent=1))


main(*sys.argv[1:])
