"""A warm-connection read on Aurora MySQL in Python: boto3's token and PyMySQL."""

import os

import boto3
import pymysql

QUERY = "SELECT customer_id, name, email, age FROM customers WHERE age >= %s ORDER BY age DESC"
connection = None


def connect():
    host, port, user = os.environ["MYSQL_HOST"], int(os.environ["MYSQL_TCP_PORT"]), os.environ["MYSQL_USER"]
    token = boto3.client("rds").generate_db_auth_token(host, port, user)
    # PyMySQL has no second address: the certificate names localhost, too.
    return pymysql.connect(
        host="localhost", port=port, user=user, password=token, database=os.environ["MYSQL_DATABASE"],
        ssl_ca=os.environ["MYSQL_SSL_CA"], ssl_verify_cert=True, ssl_verify_identity=True,
        cursorclass=pymysql.cursors.DictCursor,
    )


def handler(event, context):
    global connection
    if connection is None:
        connection = connect()
    with connection.cursor() as cursor:
        cursor.execute("START TRANSACTION READ ONLY")
        cursor.execute(QUERY, (event["params"]["min_age"],))
        rows = cursor.fetchall()
        cursor.execute("COMMIT")
    return {"rows": rows, "row_count": len(rows)}
