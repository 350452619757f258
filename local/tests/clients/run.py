#!/usr/bin/env python3
"""docs/testing.md, "Clients": logs in with each client, and holds the table to what the gate and the database saw.

`UPDATE_DOCS=1 local/tests/clients/run.py` writes the table. A client's new version changes it."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
HERE = pathlib.Path(__file__).parent
PYTHON, NODE = [str(ROOT / "target/venv/bin/python"), str(HERE / "clients.py")], ["node", str(HERE / "clients.cjs")]
DOCUMENT = ROOT / "docs/testing.md"
BEGIN = "<!-- The table is written by: UPDATE_DOCS=1 local/tests/clients/run.py -->\n"
HEAD = """| client | version | what it needs to log in | TLS without options | new token | before your first statement | test |
|---|---|---|---|---|---|---|
"""
EACH, YOURS, OWN = "your function, for each connection", "you make it", "its own, kept for the next connection"

# The engine, the client's name, its argument for the program, the program, and whose the token is.
CLIENTS = [
    ("postgres", "psycopg 3", "psycopg", PYTHON, YOURS),
    ("postgres", "asyncpg", "asyncpg", PYTHON, EACH),
    ("postgres", "pg8000", "pg8000", PYTHON, YOURS),
    ("postgres", "SQLAlchemy (psycopg 3), event `do_connect`", "sqlalchemy", PYTHON, EACH),
    ("postgres", "AWS advanced Python wrapper, psycopg 3", "wrapper-psycopg", PYTHON, OWN),
    ("postgres", "node-postgres", "pg", NODE, EACH),
    ("postgres", "postgres.js", "postgres.js", NODE, EACH),
    ("postgres", "AWS advanced NodeJS wrapper, pg", "wrapper-pg", NODE, OWN),
    ("mysql", "PyMySQL", "pymysql", PYTHON, YOURS),
    ("mysql", "aiomysql", "aiomysql", PYTHON, YOURS),
    ("mysql", "asyncmy", "asyncmy", PYTHON, YOURS),
    ("mysql", "mysql-connector-python, pure", "mysql-connector-pure", PYTHON, YOURS),
    ("mysql", "mysql-connector-python, C", "mysql-connector-c", PYTHON, YOURS),
    ("mysql", "AWS advanced Python wrapper, mysql-connector-python", "wrapper-mysql-connector", PYTHON, OWN),
    ("mysql", "mysql2", "mysql2", NODE, YOURS),
    ("mysql", "AWS advanced NodeJS wrapper, mysql2", "wrapper-mysql2", NODE, OWN),
]



def pinned(package, environment="venv"):
    """The version that the tests install."""
    lines = (ROOT / f"local/requirements/{environment}.txt").read_text().splitlines()
    return next(line.split("==")[1] for line in lines if line.startswith(f"{package}=="))


# Clients that this test does not run: seen by hand with the version named, or by the test named.
OTHERS = f"""| psql, libpq 15 | the system's | `PGPASSWORD`, `sslmode=verify-full`, `sslrootcert` | TLS if offered, not verified | you make it | nothing | `local/tests/it/clients.rs` |
| psql, libpq 18.6 | 18.6 | the same; `max_protocol_version=latest` asks for protocol 3.2 | TLS if offered, not verified | you make it | nothing | not run |
| DuckDB, `CREATE SECRET (TYPE rds)` | {pinned('duckdb', 'venv-duckdb')} | `PROVIDER credential_chain`, `CHAIN`, `REGION`, `RDS_HOST`, `RDS_PORT`, `RDS_USER`; `AWS_RDS_SECRET` and `USER` in the secret of `TYPE postgres` | as libpq | its own, at `ATTACH` and when 14 minutes old | not seen | not run |
| MariaDB's client | the system's | `--password`, `--ssl-ca` | 11.8: TLS, verified unless `--password` is missing | you make it | not seen | `local/tests/it/clients_mysql.rs` |
| awscurl (Neptune) | {pinned('awscurl')} | `--service neptune-db`, `--region`; `-X POST` beside `-d`; no value encoded by hand | HTTPS, verified | signs each request | – | `local/tests/it/neptune.rs` |
| boto3 `neptunedata` | {pinned('boto3')} | `endpoint_url` | HTTPS, verified | signs each request | – | `local/tests/it/neptune.rs` |
| graph-notebook (Neptune) | 5.3.0 | a host under `amazonaws.com`, else it speaks Neo4j's protocol | HTTPS, verified | signs each request | nothing | not run |
"""


class Server:
    """rds-local with a log of every statement."""

    def __init__(self, engine, folder):
        self.folder = folder / engine
        script = folder / f"{engine}.sql"
        if engine == "mysql":
            self.statements = self.folder / "mariadb/data/statements.log"
            script.write_text("SET GLOBAL log_output = 'FILE', general_log_file = 'statements.log', general_log = ON;")
        else:
            self.statements = self.folder / "postgres.log"
            script.write_text("ALTER DATABASE sample_db SET log_statement = 'all'")
        command = [ROOT / "target/debug/rds-local", "serve", "--json", "--engine", engine]
        command += ["--dir", self.folder, "--init", script]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        ready = json.loads(self.process.stdout.readline())
        assert ready["event"] == "ready", ready["reason"]
        self.variables = ready["variables"]

    def run(self, program, client, mode):
        """One run of a client: its result, the gate's lines about it, and the statements."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PG", "MYSQL"))}
        env |= self.variables | {"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
        env |= {"NODE_PATH": str(ROOT / "target/node/node_modules"), "HOME": str(self.folder)}
        # Only options count: no variable tells a client about TLS.
        for name in ("PGSSLMODE", "PGHOSTADDR", "MYSQL_HOME"):
            env.pop(name, None)
        env["ROOTS"] = env.pop("PGSSLROOTCERT", None) or env.pop("MYSQL_SSL_CA")
        logs = [self.folder / "gate.log", self.statements]
        before = [log.stat().st_size for log in logs]
        ran = subprocess.run([*program, client, mode], env=env, capture_output=True, text=True, timeout=60)
        gate, statements = (log.read_bytes()[size:].decode() for log, size in zip(logs, before))
        return ran, gate, self.texts(statements)

    def texts(self, log):
        """The statements of a part of the log, in their order."""
        if "mariadb" in str(self.statements):
            return [text.strip() for text in re.findall(r"\b(?:Query|Prepare|Init DB)\t(.*)", log)]
        return [text.strip() for text in re.findall(r"LOG:  (?:statement|execute [^:]*): (.*)", log)]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)


def tls(ran, gate):
    """What a client without options did about TLS, as the gate saw it."""
    if "login accepted" in gate and "tls=TLS" in gate:
        return "TLS, not verified"
    if "tls=none" in gate:
        return "none"
    told = ran.stdout + ran.stderr
    if re.search("certificate|self.signed", told, re.IGNORECASE):
        return "TLS, verified"
    # The client itself refuses to send a token without TLS, or the gate a user who came without.
    if re.search("secure|SSL|plugin", told):
        return "none"
    raise AssertionError(f"no sign of TLS: {told}{gate}")


def short(statement):
    """A statement's beginning, as a cell shows it."""
    text = statement.replace("|", "\\|")
    return f"`{text}`" if len(text) <= 48 else f"`{text[:48]}`…"


def row(server, name, client, program, whose):
    ran, gate, statements = server.run(program, client, "full")
    assert ran.returncode == 0, f"{client}: {ran.stdout}{ran.stderr}{gate}"
    told = json.loads(ran.stdout.splitlines()[-1])
    assert gate.count("login accepted") >= 2 and "tls=none" not in gate, (client, gate)
    assert told["tokens"] == (0 if whose is OWN else 2), (client, told)
    first = next(place for place, text in enumerate(statements) if "'mine'" in text)
    before = [text for text in statements[:first] if text]
    asked = "; ".join(map(short, before)) or "nothing"
    options = ", ".join(f"`{option}`" for option in told["needs"])
    bare = tls(*server.run(program, client, "bare")[:2])
    test = f"`{pathlib.Path(program[1]).name} {client}`"
    return f"| {name} | {told['version']} | {options} | {bare} | {whose} | {asked} | {test} |\n"


def main():
    began = time.monotonic()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        servers = {}
        try:
            for engine in ("postgres", "mysql"):
                servers[engine] = Server(engine, pathlib.Path(folder))
            for engine, *client in CLIENTS:
                rows.append(row(servers[engine], *client))
        finally:
            for server in servers.values():
                server.stop()
    table = HEAD + "".join(rows) + OTHERS
    before, rest = DOCUMENT.read_text().split(BEGIN)
    written, after = rest.split("\n\n", 1)
    if "UPDATE_DOCS" in os.environ:
        DOCUMENT.write_text(f"{before}{BEGIN}{table}\n{after}")
    elif written + "\n" != table:
        for line in table.splitlines():
            if line not in written.splitlines():
                print("clients: docs/testing.md does not have:", line, sep="\n  ", file=sys.stderr)
        sys.exit("clients: if the new cells are right: UPDATE_DOCS=1 local/tests/clients/run.py")
    print(f"{len(rows)} clients logged in, in {time.monotonic() - began:.0f} s")


main()
