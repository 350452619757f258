"""How long rds-doctor takes where all is well, beside one login of psql through the same gate."""

import subprocess
import time

from measurement import ROUNDS, Measurement, in_turn
from world import RELEASE, World


def measure():
    measurement = Measurement("doctor", "rds-doctor on a healthy database", "ms", {"rds-doctor": [], "psql, one login": []})
    with World() as world:
        environment = world.client(PGPASSWORD=world.token())

        def run(*command):
            start = time.perf_counter()
            subprocess.run(command, env=environment, check=True, capture_output=True)
            return (time.perf_counter() - start) * 1000

        turns = {
            "rds-doctor": lambda: run(RELEASE / "rds-doctor", "--json"),
            "psql, one login": lambda: run("psql", "-XAtc", "SELECT 1"),
        }
        for name, milliseconds in in_turn(ROUNDS, turns):
            measurement.add(name, milliseconds)
    yield measurement
