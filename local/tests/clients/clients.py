"""Python's clients: `clients.py CLIENT MODE` logs in and runs `SELECT 'mine'`.

MODE `full` connects with what the client needs, twice, and prints as JSON its version, the options beside host, port,
user, database and password, and how many tokens it asked for. `bare` connects once, without the options of TLS."""

import sys

client, mode = sys.argv[1:]
if client == "mysql-connector-c":
    # It loads only before anything else has loaded the system's older OpenSSL.
    import _mysql_connector

import asyncio
import json
import os
import ssl
from importlib.metadata import version

import boto3

env = os.environ
mysql = "MYSQL_HOST" in env
rds_host, port, user, database = (
    env[name]
    for name in (
        ["MYSQL_HOST", "MYSQL_TCP_PORT", "MYSQL_USER", "MYSQL_DATABASE"]
        if mysql
        else ["PGHOST", "PGPORT", "PGUSER", "PGDATABASE"]
    )
)
port = int(port)
roots = env["ROOTS"]
tokens = 0


def token():
    global tokens
    tokens += 1
    return boto3.client("rds").generate_db_auth_token(rds_host, port, user)


def context():
    # Dialled as localhost, which the certificate names too.
    return ssl.create_default_context(cafile=roots)


where = {"host": "localhost", "port": port, "user": user}
STATEMENT = "SELECT 'mine'"


def blocking(connect):
    """For a driver of the DB-API: one connection, one statement."""

    def run(options):
        connection = connect(**options)
        cursor = connection.cursor()
        cursor.execute(STATEMENT)
        assert cursor.fetchall()[0][0] == "mine"
        connection.close()

    return run


def psycopg_client():
    import psycopg

    return ("psycopg", {"sslmode": "verify-full", "sslrootcert": roots}, {},
            lambda o: blocking(psycopg.connect)({**where, "dbname": database, "password": token(), **o}))


def asyncpg_client():
    import asyncpg

    async def run(options):
        connection = await asyncpg.connect(**where, database=database, password=token, **options)
        assert await connection.fetchval(STATEMENT) == "mine"
        await connection.close()

    return "asyncpg", {"ssl": context()}, {}, lambda o: asyncio.run(run(o))


def pg8000_client():
    import pg8000.dbapi

    return ("pg8000", {"ssl_context": context()}, {},
            lambda o: blocking(pg8000.dbapi.connect)({**where, "database": database, "password": token(), **o}))


def sqlalchemy_client():
    import sqlalchemy

    def run(options):
        url = sqlalchemy.URL.create("postgresql+psycopg", host="localhost", port=port, username=user, database=database)
        engine = sqlalchemy.create_engine(url, connect_args=options)

        @sqlalchemy.event.listens_for(engine, "do_connect")
        def sign(dialect, record, arguments, parameters):
            parameters["password"] = token()

        with engine.connect() as connection:
            assert connection.scalar(sqlalchemy.text(STATEMENT)) == "mine"
        engine.dispose()

    return "SQLAlchemy", {"sslmode": "verify-full", "sslrootcert": roots}, {}, run


def wrapper(connect, database_name, tls, always):
    def client():
        from aws_advanced_python_wrapper import AwsWrapperConnection

        fixed = {"plugins": "iam", "iam_host": rds_host, "iam_default_port": port, "iam_region": "us-east-1", **always}

        def run(options):
            blocking(lambda **o: AwsWrapperConnection.connect(connect(), **o))(
                {**where, database_name: database, **fixed, **options}
            )

        return "aws-advanced-python-wrapper", tls, fixed, run

    return client


def psycopg_connect():
    import psycopg

    return psycopg.Connection.connect


def mysql_connect():
    import mysql.connector

    return mysql.connector.connect


def pymysql_client():
    import pymysql

    return ("PyMySQL", {"ssl": context()}, {},
            lambda o: blocking(pymysql.connect)({**where, "database": database, "password": token(), **o}))


def asynchronous(module):
    async def run(options):
        connection = await module.connect(**where, db=database, password=token(), **options)
        async with connection.cursor() as cursor:
            await cursor.execute(STATEMENT)
            assert (await cursor.fetchone())[0] == "mine"
        connection.close()

    return lambda o: asyncio.run(run(o))


def aiomysql_client():
    import aiomysql

    return "aiomysql", {"ssl": context()}, {}, asynchronous(aiomysql)


def asyncmy_client():
    import asyncmy

    return "asyncmy", {"ssl": context()}, {}, asynchronous(asyncmy)


def connector(fixed):
    def client():
        return ("mysql-connector-python", {"ssl_ca": roots, "ssl_verify_identity": True}, fixed,
                lambda o: blocking(mysql_connect())(
                    {**where, "database": database, "password": token(), **fixed, **o}))

    return client


CLIENTS = {
    "psycopg": psycopg_client,
    "asyncpg": asyncpg_client,
    "pg8000": pg8000_client,
    "sqlalchemy": sqlalchemy_client,
    "wrapper-psycopg": wrapper(psycopg_connect, "dbname", {"sslmode": "verify-full", "sslrootcert": roots}, {}),
    "pymysql": pymysql_client,
    "aiomysql": aiomysql_client,
    "asyncmy": asyncmy_client,
    "mysql-connector-pure": connector({"use_pure": True}),
    "mysql-connector-c": connector({"use_pure": False, "auth_plugin": "mysql_clear_password"}),
    "wrapper-mysql-connector": wrapper(
        mysql_connect, "database", {"ssl_ca": roots, "ssl_verify_identity": True}, {"use_pure": True}),
}

distribution, tls, fixed, run = CLIENTS[client]()
if mode == "bare":
    run({})
else:
    run(tls)
    run(tls)
    print(json.dumps({"version": version(distribution), "needs": [*fixed, *tls], "tokens": tokens}))
sys.stdout.flush()
# The wrapper's threads live on.
os._exit(0)
