"""A read on a warm connection, 10,000 invocations: latency, and the CPU of function and backend. And what it adds to
release what a query may leave behind in the session: it calls a function of the user's, or leaves a setting."""

import contextlib
import json
import os

import runtimes
from measurement import ROUNDS, Measurement, in_turn
from world import World

EVENT = b'{"query": "customers", "params": {"min_age": 26}}'
INVOCATIONS = int(os.environ.get("WARM_INVOCATIONS", 10_000))
# Until connections are open, statements are prepared and Node has compiled what is hot.
WARM_UP = 500
FIELDS = {"latency": "ms", "function's CPU": "ms", "backend's CPU": "ms"}
SCHEMA = """CREATE TABLE customers AS SELECT 'name ' || n AS name, 25 + n AS age FROM generate_series(1, 3) n;
CREATE FUNCTION own(n int) RETURNS int LANGUAGE sql AS 'SELECT n';"""
LEAVING = {
    "with a function of the user's": "SELECT own(age) AS age, name FROM customers WHERE age >= 26 ORDER BY age DESC",
    "leaving a setting": "SELECT set_config('TimeZone', 'Asia/Tokyo', false) AS zone, name FROM customers",
    "plain": "SELECT age, name FROM customers WHERE age >= 26 ORDER BY age DESC",
}


def measure():
    with World() as world:
        starts = {
            "scheduled-query": runtimes.ours("scheduled-query", world),
            "Python: awslambdaric, psycopg in pipeline mode": runtimes.python("python_postgres", world),
            "Python: awslambdaric, psycopg, autocommit": runtimes.python("python_postgres", world, "autocommit"),
            "Node: aws-lambda-ric, pg": runtimes.node("node_postgres", world),
            "the floor": runtimes.rust("floor", world),
        }
        yield from beside_peers(world, starts)
    with World(schema=SCHEMA) as world:
        yield from leaving(world)


def beside_peers(world, starts):
    measurements = {field: Measurement("warm_read", f"warm read: {field}", unit) for field, unit in FIELDS.items()}
    turns = {}
    with contextlib.ExitStack() as stack:
        for name, sandbox in starts.items():
            stack.enter_context(sandbox)
            for measurement in measurements.values():
                measurement.values[name] = []
            for _ in range(WARM_UP):
                sandbox.invoke(EVENT)
            turns[name] = lambda sandbox=sandbox: many(world, sandbox)
        for name, values in in_turn(ROUNDS, turns):
            for measurement, value in zip(measurements.values(), values):
                measurement.add(name, value * 1000)
    yield from measurements.values()


def many(world, sandbox):
    """The median latency, and the CPU of one invocation: function's and backend's."""
    before, database = sandbox.cpu(), world.backend_cpu()
    count = INVOCATIONS // ROUNDS
    times = sorted(sandbox.invoke(EVENT)[1] for _ in range(count))
    return times[count // 2], (sandbox.cpu() - before) / count, (world.backend_cpu() - database) / count


def leaving(world):
    names = {name: name.replace(" ", "_").replace("'", "") for name in LEAVING}
    world.queries(**{names[name]: text for name, text in LEAVING.items()})
    with runtimes.ours("scheduled-query", world) as sandbox:
        def run(name):
            event = json.dumps({"query": names[name]}).encode()
            times = sorted(sandbox.invoke(event)[1] for _ in range(INVOCATIONS // 10))
            return times[len(times) // 2] * 1000

        rounds = list(in_turn(ROUNDS, {name: lambda name=name: run(name) for name in LEAVING}))
    for name in list(LEAVING)[:-1]:
        measurement = Measurement("warm_read", f"warm read {name}", "ms", {"scheduled-query": [], "a plain one": []})
        for told, value in rounds:
            if told in (name, "plain"):
                measurement.add("a plain one" if told == "plain" else "scheduled-query", value)
        yield measurement
