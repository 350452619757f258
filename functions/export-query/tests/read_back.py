"""Reads exported objects with DuckDB and pandas, and compares every value with the CSV and the NDJSON,
which psql has confirmed byte for byte."""

import datetime
import decimal
import json
import math
import pathlib
import struct
import sys

import duckdb
import pandas

FOLDER = pathlib.Path(sys.argv[1])
NUMBER = decimal.Decimal
read = set()


def rows_of_csv(path):
    """Rows as COPY means them: no text is NULL, and quotes without text are an empty string."""
    rows, row, field, quoted, was_quoted = [], [], [], False, False
    data = path.read_bytes().decode()
    position = 0
    while position < len(data):
        char = data[position]
        position += 1
        if quoted:
            if char != '"':
                field.append(char)
            elif data[position : position + 1] == '"':
                field.append(char)
                position += 1
            else:
                quoted = False
        elif char == '"':
            quoted = was_quoted = True
        elif char in ",\n":
            text = "".join(field)
            row.append(text if text or was_quoted else None)
            field, was_quoted = [], False
            if char == "\n":
                rows.append(row)
                row = []
        else:
            field.append(char)
    return rows[0], rows[1:]


def same(value, text, member, where):
    """Whether a typed value is what PostgreSQL's text, or the member of its JSON, says."""
    if text is None:
        assert value is None, (where, value)
    elif isinstance(value, bool):
        assert value == (text == "t"), (where, value, text)
    elif isinstance(value, float):
        expected = float(text)
        # A real is written with the digits that tell it from other reals.
        single = struct.unpack("f", struct.pack("f", expected))[0] if abs(expected) < 1e38 else expected
        assert value in (expected, single) or (math.isnan(value) and math.isnan(expected)), (where, value, text)
        assert math.copysign(1, value) == math.copysign(1, expected) or math.isnan(value), where
    elif isinstance(value, (int, NUMBER)):
        assert value == NUMBER(text), (where, value, text)
    elif isinstance(value, (bytes, bytearray)):
        assert value == bytes.fromhex(text[2:]), where
    elif isinstance(value, datetime.datetime):
        written = datetime.datetime.fromisoformat(text)
        assert value == written, (where, value, text)
    elif isinstance(value, datetime.date):
        assert value == datetime.date.fromisoformat(text), where
    else:
        assert isinstance(value, str), (where, type(value))
        # Arrays, composites and records are JSON, whatever PostgreSQL's own text of them is.
        if value != text or isinstance(member, (list, dict)):
            parse = lambda t: json.loads(t, parse_float=NUMBER, parse_int=NUMBER)
            assert parse(value) == member, (where, value, text)


def check_parquet(name, header, rows, members):
    path = FOLDER / f"{name}.parquet"
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        cursor = database.execute(f"SELECT * FROM read_parquet('{path}')")
        assert [column[0] for column in cursor.description] == header, name
        found = cursor.fetchall()
    assert len(found) == len(rows), name
    frame = pandas.read_parquet(path, dtype_backend="pyarrow")
    assert list(frame.columns) == header and len(frame) == len(rows), name
    import pyarrow.parquet

    exact = pyarrow.parquet.read_table(path).to_pylist()
    for index, row in enumerate(rows):
        for column, text in enumerate(row):
            where = (name, index, header[column])
            member = members[index][header[column]]
            same(found[index][column], text, member, ("duckdb", *where))
            value = frame[header[column]].iloc[index]
            value = None if value is pandas.NA or value is pandas.NaT else value
            if value is not None and hasattr(value, "to_pydatetime"):
                value = value.to_pydatetime()
            same(exact[index][header[column]], text, member, ("pyarrow", *where))
            # pandas shows NaN of a float as it shows NULL.
            if not (value is None and text == "NaN"):
                same(value, text, member, ("pandas", *where))
    read.add(path)


def check_csv(name, ending, header, rows):
    path = FOLDER / f"{name}.{ending}"
    columns = ", ".join(f"'{column}': 'VARCHAR'" for column in header)
    found = duckdb.sql(
        f"""SELECT * FROM read_csv('{path}', header = true, columns = {{{columns}}}, delim = ',',
        quote = '"', escape = '"', nullstr = '', allow_quoted_nulls = false, auto_detect = false,
        new_line = '\\n', strict_mode = true, null_padding = false)"""
    ).fetchall() if len(header) > 1 else None
    if found is not None:
        assert found == [tuple(row) for row in rows], (path, found, rows)
    # pandas cannot tell NULL from an empty string in CSV.
    frame = pandas.read_csv(path, dtype=str, keep_default_na=False, skip_blank_lines=False,
                            lineterminator="\n")
    assert list(frame.columns) == header, path
    expected = [[text or "" for text in row] for row in rows]
    assert frame.values.tolist() == expected, (path, frame.values.tolist(), expected)
    read.add(path)


def check_ndjson(name, ending, lines):
    path = FOLDER / f"{name}.{ending}"
    found = [line for (line,) in duckdb.sql(
        f"""SELECT json::VARCHAR FROM read_ndjson_objects('{path}')""").fetchall()]
    assert found == lines, (path, found[:1], lines[:1])
    # pandas' own reader of JSON takes no number of more than 64 bits.
    if lines and name in ("awkward", "sole"):
        frame = pandas.read_json(path, lines=True, dtype=False)
        read_by_pandas = json.loads(frame.to_json(orient="records"))
        assert read_by_pandas == [json.loads(line) for line in lines], path
    read.add(path)


for plain in sorted(FOLDER.glob("*.csv")):
    name = plain.stem
    header, rows = rows_of_csv(plain)
    lines = (FOLDER / f"{name}.ndjson").read_bytes().decode().split("\n")[:-1]
    members = [json.loads(line, parse_float=NUMBER, parse_int=NUMBER) for line in lines]
    for ending in ["csv.gz", "csv.zst"]:
        check_csv(name, ending, header, rows)
    for ending in ["ndjson.gz", "ndjson.zst"]:
        check_ndjson(name, ending, lines)
    if (FOLDER / f"{name}.parquet").exists():
        check_parquet(name, header, rows, members)
print(f"{len(read)} files were read back")
