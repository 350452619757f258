"""From the start of the process to the answer of one query, on each engine."""

import json
import time

import runtimes
from measurement import ROUNDS, Measurement, in_turn
from world import ROOT, World

EVENT = b'{"query": "customers", "params": {"min_age": 26}}'


def measure():
    with World() as world:
        yield from engine("PostgreSQL", world, EVENT, {
            "scheduled-query": lambda: runtimes.ours("scheduled-query", world),
            "the floor": lambda: runtimes.rust("floor", world),
            "AWS's example in Rust": lambda: runtimes.rust("published", world),
            "Python: awslambdaric, boto3, psycopg": lambda: runtimes.python("python_postgres", world),
            "Node: aws-lambda-ric, rds-signer, pg": lambda: runtimes.node("node_postgres", world),
        })
    with World("--engine", "mysql") as world:
        world.variables["QUERIES_DIR"] = str(ROOT / "queries/mysql")
        yield from engine("MySQL", world, EVENT, {
            "mysql-query": lambda: runtimes.ours("mysql-query", world),
            "Python: awslambdaric, boto3, PyMySQL": lambda: runtimes.python("python_mysql", world),
            "Node: aws-lambda-ric, rds-signer, mysql2": lambda: runtimes.node("node_mysql", world),
        })
    with World("--engine", "neptune") as world:
        world.variables["QUERIES_DIR"] = str(ROOT / "queries/neptune")
        yield from engine("Neptune", world, b'{"query": "people"}', {
            "neptune-query": lambda: runtimes.ours("neptune-query", world),
            "Python: awslambdaric, boto3": lambda: runtimes.python("python_neptune", world),
        })


def engine(name, world, event, contestants):
    measurement = Measurement("cold_start", f"cold start, {name}", "ms", {name: [] for name in contestants})
    answers = {}

    def started(contestant, start):
        begin = time.perf_counter()
        with start() as sandbox:
            answers[contestant], _ = sandbox.invoke(event)
            return (time.perf_counter() - begin) * 1000

    contestants = {name: lambda name=name, start=start: started(name, start) for name, start in contestants.items()}
    for contestant, milliseconds in in_turn(ROUNDS, contestants):
        measurement.add(contestant, milliseconds)
    counts = {contestant: json.loads(answer)["row_count"] for contestant, answer in answers.items()}
    assert len(set(counts.values())) == 1, f"they answered differently: {counts}"
    yield measurement
