"""A batch of SQS messages, each written effectively once: Powertools' batch utility and psycopg 3.

A message that was recorded before violates the ledger's key. In `pipelined`, a transaction's statements travel
together, as psycopg documents it. In `one_statement`, the ledger's row and the order are one statement, and so one
transaction without BEGIN and COMMIT.
"""

import os

import boto3
import psycopg
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from psycopg.errors import UniqueViolation

ENTRY = "INSERT INTO message_ledger (query, message_id) VALUES ('record_order', %(id)s)"
ORDER = "INSERT INTO orders (order_id, total, received_at) VALUES (%(order)s, %(total)s, now())"
processor = BatchProcessor(event_type=EventType.SQS)
connection = None


def connect():
    host, port, user = (os.environ[name] for name in ("PGHOST", "PGPORT", "PGUSER"))
    token = boto3.client("rds").generate_db_auth_token(host, int(port), user)
    return psycopg.connect(password=token, sslmode="verify-full", autocommit=True)


def values(record):
    order = record.json_body
    return {"id": record.message_id, "order": order["orderId"], "total": order["total"]}


def in_a_pipeline(record):
    try:
        with connection.pipeline(), connection.transaction():
            connection.execute(ENTRY, values(record))
            connection.execute(ORDER, values(record))
    except UniqueViolation:
        pass


def in_one_statement(record):
    try:
        connection.execute(f"WITH entry AS ({ENTRY}) {ORDER}", values(record))
    except UniqueViolation:
        pass


def processed(event, context, record_handler):
    global connection
    if connection is None:
        connection = connect()
    return process_partial_response(event=event, record_handler=record_handler, processor=processor, context=context)


def pipelined(event, context):
    return processed(event, context, in_a_pipeline)


def one_statement(event, context):
    return processed(event, context, in_one_statement)
