"""The machine and the versions that a run was made with."""

import os
import platform
import re
import subprocess

from world import NODE_MODULES, PYTHON


def about(date):
    """Lines of Markdown."""
    cpu = next(iter(re.findall(r"model name\s*: (.*)", _file("/proc/cpuinfo"))), platform.machine())
    memory = int(re.search(r"MemTotal:\s*(\d+)", _file("/proc/meminfo")).group(1)) / 1024**2
    load = os.getloadavg()[2]
    busy = " **The machine did other work, too: the ratios are provisional.**" if load > os.cpu_count() else ""
    return [
        f"- {date}, at commit `{_run('git', 'rev-parse', '--short', 'HEAD')}`",
        f"- {os.cpu_count()} cores of {cpu}, {memory:.0f} GiB, Linux {platform.release().split('-')[0]}; load {load:.1f} at the end.{busy}",
        f"- {_run('psql', '--version')}; {_run('mariadb', '--version').split(',')[0]}",
        f"- Python {platform.python_version()}: {', '.join(_python())}",
        f"- Node {_run('node', '--version')}: {', '.join(_node())}",
        f"- {_run('rustc', '--version')}, the profile `bench`; zips with the profile `release`",
    ]


def _python():
    names = ["awslambdaric", "aws-lambda-powertools", "boto3", "psycopg", "PyMySQL"]
    code = f"from importlib.metadata import version\nfor name in {names!r}: print(name, version(name))"
    return _run(PYTHON, "-c", code).splitlines() + ["duckdb " + _pinned("venv-duckdb.txt", "duckdb")]


def _pinned(file, name):
    return re.search(rf"^{name}==(.*)$", _file(f"local/requirements/{file}"), re.M).group(1)


def _node():
    import json

    names = ["aws-lambda-ric", "@aws-sdk/rds-signer", "pg", "mysql2"]
    return [f"{name} {json.loads((NODE_MODULES / name / 'package.json').read_text())['version']}" for name in names]


def _file(path):
    with open(path) as file:
        return file.read()


def _run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
