"""Sandboxes that all log in at once, where the database admits so many logins a second: until the last one has its
answer, beside the ideal, which is what the throttle alone takes."""

import threading
import time

import runtimes
from measurement import Measurement, in_turn
from parts.warm_read import EVENT
from world import World

# Each round takes about ten seconds, by the throttle.
ROUNDS = 3
PATIENCE = {"DB_LOGIN_ATTEMPTS": "100", "PGCONNECT_TIMEOUT": "30"}


def measure():
    for sandboxes in (10, 100, 1_000):
        rate, burst = max(1, sandboxes // 10), max(1, sandboxes // 50)
        ideal = (sandboxes - burst) / rate
        measurement = Measurement("storm", f"storm of {sandboxes:,} sandboxes", "s", {"scheduled-query": [], "the ideal": [ideal]})
        with World("--throttle", str(rate), "--burst", str(burst)) as world:
            world.variables.update(PATIENCE)
            for _ in range(ROUNDS):
                # The throttle has its whole burst again.
                time.sleep(2)
                measurement.add("scheduled-query", storm(world, sandboxes))
        yield measurement


def storm(world, count):
    """The seconds from the first event to the last answer."""
    started = [runtimes.ours("scheduled-query", world) for _ in range(count)]
    failures = []

    def run(sandbox):
        try:
            with sandbox:
                gate.wait()
                sandbox.invoke(EVENT, timeout=120)
        except Exception as failure:
            failures.append(failure)

    gate = threading.Barrier(count + 1)
    threads = [threading.Thread(target=run, args=(sandbox,)) for sandbox in started]
    for sandbox in started:
        sandbox.ready()
    for thread in threads:
        thread.start()
    gate.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    if failures:
        raise failures[0]
    return seconds
