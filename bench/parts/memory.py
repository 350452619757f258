"""The most memory that a function has held after 1,000 invocations."""

import runtimes
from measurement import Measurement
from parts.batch_of_writes import batch
from parts.warm_read import EVENT
from world import World

INVOCATIONS = 1_000


def measure():
    with World() as world:
        read = Measurement("memory", "peak of memory after 1,000 reads", "MiB")
        for name, start in {
            "scheduled-query": lambda: runtimes.ours("scheduled-query", world),
            "the floor": lambda: runtimes.rust("floor", world),
            "Python: awslambdaric, boto3, psycopg": lambda: runtimes.python("python_postgres", world),
            "Node: aws-lambda-ric, rds-signer, pg": lambda: runtimes.node("node_postgres", world),
        }.items():
            read.add(name, peak(start, lambda: EVENT, INVOCATIONS))
        yield read
    with World("--user", "iam_rw_user") as world:
        world.variables["QUERY"] = "record_order"
        write = Measurement("memory", "peak of memory after 100 batches of 100 writes", "MiB")
        write.add("event-query", peak(lambda: runtimes.ours("event-query", world), batch, 100))
        write.add("Python: Powertools, psycopg", peak(lambda: runtimes.python("powertools", world, "pipelined"), batch, 100))
        yield write


def peak(start, event, invocations):
    with start() as sandbox:
        for _ in range(invocations):
            sandbox.invoke(event())
        return sandbox.peak()
