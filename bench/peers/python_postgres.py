"""A warm-connection read on PostgreSQL, as one writes it in Python: boto3's token, psycopg 3 in pipeline mode."""

import os

import boto3
import psycopg
from psycopg.rows import dict_row

QUERY = "SELECT customer_id, name, email, age FROM customers WHERE age >= %s ORDER BY age DESC"
connection = None


def connect():
    host, port, user = (os.environ[name] for name in ("PGHOST", "PGPORT", "PGUSER"))
    token = boto3.client("rds").generate_db_auth_token(host, int(port), user)
    fresh = psycopg.connect(password=token, sslmode="verify-full", row_factory=dict_row, autocommit=True)
    fresh.read_only = True
    return fresh


def handler(event, context):
    """In a transaction: BEGIN READ ONLY, the statement and COMMIT travel together."""
    global connection
    if connection is None:
        connection = connect()
    with connection.pipeline(), connection.transaction():
        cursor = connection.execute(QUERY, (event["params"]["min_age"],))
    return answer(cursor)


def autocommit(event, context):
    """One statement, which is a transaction by itself. It may write, unless the user may not."""
    global connection
    if connection is None:
        connection = connect()
    return answer(connection.execute(QUERY, (event["params"]["min_age"],)))


def answer(cursor):
    rows = cursor.fetchall()
    return {"rows": rows, "row_count": len(rows)}
