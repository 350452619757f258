"""DuckDB's COPY from PostgreSQL to a local file of Parquet. Measured inside the process: its start is not its speed."""

import json
import os
import time

import duckdb
from duckdb_extensions import import_extension

import_extension("postgres_scanner")
database = duckdb.connect()
database.execute("LOAD postgres_scanner")
source = (
    "host={PGHOST} hostaddr={PGHOSTADDR} port={PGPORT} dbname={PGDATABASE} user={PGUSER} "
    "sslmode=verify-full sslrootcert={PGSSLROOTCERT}"
).format(**os.environ)
start, cpu = time.perf_counter(), time.process_time()
database.execute(f"ATTACH '{source}' AS source (TYPE postgres, READ_ONLY)")
database.execute(
    "COPY (SELECT * FROM source.public.sales) TO '{FILE}' (FORMAT parquet, COMPRESSION zstd)".format(**os.environ)
)
print(json.dumps({"wall": time.perf_counter() - start, "cpu": time.process_time() - cpu}))
