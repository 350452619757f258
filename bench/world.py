"""`rds-local serve` for the time of a part: a real database behind the IAM gate, and who used how much CPU."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

from sandbox import cpu

ROOT = pathlib.Path(__file__).resolve().parent.parent
RELEASE = ROOT / "target/release"
PYTHON = ROOT / "target/venv-bench/bin/python"
NODE_MODULES = ROOT / "target/node-bench/node_modules"
PEERS = ROOT / "bench/peers"


class World:
    """A server, with the environment that its clients need in `variables`."""

    def __init__(self, *options, schema=None):
        self.folder = tempfile.TemporaryDirectory()
        # The user postgres, as whom the servers run for root, must reach them.
        os.chmod(self.folder.name, 0o755)
        self.path = pathlib.Path(self.folder.name)
        if schema:
            (self.path / "schema.sql").write_text(schema)
            options = (*options, "--init", self.path / "schema.sql")
        self.log = open(self.path / "log", "w+")
        self.server = subprocess.Popen(
            [RELEASE / "rds-local", "serve", "--json", "--dir", self.path / "server", *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True,
        )
        ready = json.loads(self.server.stdout.readline() or "{}")
        if ready.get("event") != "ready":
            sys.exit(f"rds-local serve did not start: {ready.get('reason', self.logged())}")
        self.variables = ready["variables"]
        for roots in ("PGSSLROOTCERT", "MYSQL_SSL_CA", "NEPTUNE_SSLROOTCERT"):
            if roots in self.variables:
                # As in the templates: OpenSSL and the AWS SDK otherwise read the system's roots.
                self.variables["SSL_CERT_FILE"] = self.variables[roots]
        self.variables["QUERIES_DIR"] = str(ROOT / "queries")

    def logged(self):
        self.log.seek(0)
        return self.log.read()[-3000:]

    def queries(self, **files):
        """Replaces the functions' query files."""
        folder = self.path / "queries"
        folder.mkdir(exist_ok=True)
        for name, text in files.items():
            (folder / f"{name}.sql").write_text(text)
        self.variables["QUERIES_DIR"] = str(folder)

    def token(self):
        """A new token, for the clients of others. It lasts 15 minutes."""
        ran = subprocess.run(
            [RELEASE / "rds-local", "token"], env=self.client(), capture_output=True, text=True, check=True
        )
        return ran.stdout.strip()

    def client(self, **more):
        """The environment of a client program."""
        return {**self.variables, "PATH": os.environ["PATH"], "HOME": "/tmp", **more}

    def psql(self, sql):
        """Runs SQL with psql as the environment's user, and returns what it prints."""
        ran = subprocess.run(
            ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", sql],
            env=self.client(PGPASSWORD=self.token()), capture_output=True, text=True,
        )
        if ran.returncode:
            raise RuntimeError(f"psql: {ran.stderr}")
        return ran.stdout.strip()

    def backend_cpu(self):
        """Seconds of CPU that PostgreSQL has used so far, its ended backends' included."""
        pid_file = next(self.path.rglob("postmaster.pid"))
        postmaster = int(pid_file.read_text().split()[0])
        children = pathlib.Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        total = cpu(postmaster, reaped=True)
        for child in children:
            try:
                total += cpu(int(child))
            except OSError:
                pass
        return total

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # It ends when its standard input does.
        self.server.stdin.close()
        try:
            self.server.wait(30)
        except subprocess.TimeoutExpired:
            self.server.kill()
            self.server.wait()
        self.log.close()
        self.folder.cleanup()
