"""A batch of 100 SQS messages on a warm connection, each written effectively once."""

import contextlib
import json

import runtimes
from measurement import ROUNDS, Measurement, in_turn
from world import World

MESSAGES = 100
count = 0


def batch():
    """An event of new messages."""
    global count
    count += 1
    return json.dumps({"Records": [
        {
            "messageId": f"{count:08}-0000-4000-8000-{n:012}",
            "receiptHandle": "handle",
            "body": json.dumps({"orderId": f"{count}-{n}", "total": 99.5}),
            "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1795435200000"},
            "messageAttributes": {},
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:orders",
            "awsRegion": "us-east-1",
        }
        for n in range(MESSAGES)
    ]}).encode()


def sandboxes(world):
    """Ours and the peers."""
    return {
        "event-query": runtimes.ours("event-query", world),
        "Python: Powertools, psycopg in pipeline mode": runtimes.python("powertools", world, "pipelined"),
        "Python: Powertools, psycopg, one statement": runtimes.python("powertools", world, "one_statement"),
    }


def measure():
    measurement = Measurement("batch_of_writes", "batch of 100 writes, effectively once", "ms")
    with World("--user", "iam_rw_user") as world, contextlib.ExitStack() as stack:
        world.variables["QUERY"] = "record_order"
        turns = {}
        for name, sandbox in sandboxes(world).items():
            stack.enter_context(sandbox)
            measurement.values[name] = []
            written(sandbox)
            turns[name] = lambda sandbox=sandbox: written(sandbox)
        for name, seconds in in_turn(ROUNDS, turns):
            measurement.add(name, seconds * 1000)
        orders, wanted = int(world.psql("SELECT count(*) FROM orders")), count * MESSAGES
        assert orders >= wanted, f"{orders} orders were written instead of {wanted}"
    yield measurement


def written(sandbox):
    """The median of five batches, for one takes milliseconds."""
    times = []
    for _ in range(5):
        answer, seconds = sandbox.invoke(batch())
        assert json.loads(answer) == {"batchItemFailures": []}, answer
        times.append(seconds)
    return sorted(times)[2]
