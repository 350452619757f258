"""The size of each function's package, zipped as `sam deploy` does, beside the packages that the peers upload: their
handler and what Lambda's runtime does not bring. It brings boto3, and the AWS SDK of Node."""

import os
import platform
import subprocess
import zipfile

from measurement import Measurement
from world import NODE_MODULES, PEERS, PYTHON, ROOT

FUNCTIONS = ["scheduled-query", "event-query", "batch-job", "export-query", "mysql-query", "neptune-query", "db-check"]
PSYCOPG = ["psycopg", "psycopg_binary", "psycopg_binary.libs", "typing_extensions.py"]
PG = [
    "pg", "pg-cloudflare", "pg-connection-string", "pg-int8", "pg-pool", "pg-protocol", "pg-types", "pgpass",
    "postgres-array", "postgres-bytea", "postgres-date", "postgres-interval", "split2", "xtend",
]
KEPT = ROOT / "target/bench"


def measure():
    site = next(PYTHON.parent.parent.glob("lib/python3*/site-packages"))
    for function in FUNCTIONS:
        package = KEPT / "packages" / function
        architecture = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
        environment = {**os.environ, "ARCH": architecture}
        subprocess.run([ROOT / "local/package.sh", function, package], env=environment, check=True, capture_output=True)
        measurement = Measurement("zip_size", f"zip of {function}", "MB")
        measurement.add(function, zipped(package.iterdir()))
        if function == "scheduled-query":
            python = [PEERS / "python_postgres.py", *(site / name for name in PSYCOPG)]
            measurement.add("Python: psycopg", zipped(python))
            node = [PEERS / "node_postgres.mjs", *(NODE_MODULES / name for name in PG)]
            measurement.add("Node: pg", zipped(node))
        yield measurement


def zipped(paths):
    """The size of a zip of these files and folders, in MB."""
    file = KEPT / "package.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            for each in [path] if path.is_file() else sorted(path.rglob("*")):
                if each.is_file() and "__pycache__" not in each.parts:
                    archive.write(each, each.relative_to(path.parent))
    size = file.stat().st_size / 1e6
    file.unlink()
    return size
