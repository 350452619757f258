#!/usr/bin/env bash
# MySQL's zero date reads as NULL, as text, as an invalid date, or as 30 November 1899: it depends on the call.
#
# A column of MySQL or MariaDB may hold '0000-00-00', and '2024-00-00' for "some day of 2024" (an empty or old
# sql_mode lets them in; today's mode only refuses new ones). What the drivers make of them:
# - mysql2 3.24.6 (npm): query() gives the real-looking date 1899-11-30, execute() an Invalid Date; for
#   a DATETIME 2024-00-00 it is the other way round, and the real-looking one is 2023-11-30;
# - mariadb 3.5.4 (npm): null for the zero date, and for the DATETIME as mysql2;
# - PyMySQL 1.2.4: the text; a str among the dates;
# - mysql-connector-python 26.10.0: None, but a ValueError for the DATETIME with a prepared cursor.
#
# Why it matters with Lambda and RDS: the choice between query() and execute() looks like one of speed, and it
# decides whether old rows of an Aurora MySQL database say "never" or "1899". The JSON of a Lambda answer
# shows an Invalid Date as null, so nothing raises. Select NULLIF(CAST(shipped AS CHAR), '0000-00-00'), or
# set dateStrings in mysql2, which gives the text in both calls.
set -euo pipefail

work=$(mktemp -d)
cd "$work"
export PATH=$PATH:/usr/sbin TMPDIR=$work
user=()
if [ "$(id -u)" = 0 ]; then # MariaDB refuses to run as root.
    user=(--user=mysql)
    chown mysql "$work"
fi
server=
finish() {
    if [ -n "$server" ]; then kill "$server" && wait "$server" || true; fi
    rm -rf "$work"
}
trap finish EXIT
mariadb-install-db --no-defaults "${user[@]}" --datadir="$work/data" \
    --auth-root-authentication-method=normal --skip-test-db >server.log 2>&1 || { cat server.log >&2; exit 1; }
mariadbd --no-defaults "${user[@]}" --datadir="$work/data" --socket="$work/socket" \
    --skip-networking --pid-file="$work/pid" >>server.log 2>&1 &
server=$!
for _ in $(seq 120); do
    if mariadb --no-defaults -u root -S socket -e "SELECT 1" >/dev/null 2>&1; then break; fi
    sleep 0.5
done
npm install --silent --no-audit --no-fund mysql2@3.24.6 mariadb@3.5.4
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check PyMySQL==1.2.4 mysql-connector-python==26.10.0
mariadb --no-defaults -u root -S socket <<'END'
CREATE DATABASE shop;
SET sql_mode = '';
CREATE TABLE shop.orders (shipped date, billed datetime);
INSERT INTO shop.orders VALUES ('0000-00-00', '2024-00-00');
END
cat >run.mjs <<'END'
import mysql from 'mysql2/promise';
import mariadb from 'mariadb';

const options = { socketPath: `${process.cwd()}/socket`, user: 'root', database: 'shop' };
const one = await mysql.createConnection(options);
const other = await mariadb.createConnection(options);
const statement = 'SELECT shipped, billed FROM orders';
const text = (v) => (v instanceof Date && !Number.isNaN(v.getTime()) ? v.toISOString() : String(v));
const show = (row) => `${text(row.shipped)}, ${text(row.billed)}`;
console.log(`mysql2 query(): ${show((await one.query(statement))[0][0])}`);
console.log(`mysql2 execute(): ${show((await one.execute(statement))[0][0])}`);
console.log(`mariadb query(): ${show((await other.query(statement))[0])}`);
console.log(`mariadb execute(): ${show((await other.execute(statement))[0])}`);
await one.end();
await other.end();
END
cat >run.py <<'END'
import os

import mysql.connector
import pymysql

options = {"unix_socket": os.path.join(os.getcwd(), "socket"), "user": "root", "database": "shop"}


def read(connection, column, **kind):
    cursor = connection.cursor(**kind)
    try:
        cursor.execute(f"SELECT {column} FROM orders")
        return repr(cursor.fetchall()[0][0])
    except ValueError as error:
        return f"ValueError: {error}"


def row(make, **kind):
    return ", ".join(read(make(), column, **kind) for column in ("shipped", "billed"))


def connect():
    return mysql.connector.connect(use_pure=True, **options)


print("PyMySQL:", row(lambda: pymysql.connect(**options)))
print("mysql-connector-python:", row(connect))
print("mysql-connector-python, prepared:", row(connect, prepared=True))
END

mariadbd --version
echo "Node $(node --version), $(venv/bin/python --version), mysql2 3.24.6, mariadb 3.5.4," \
    "PyMySQL 1.2.4, mysql-connector-python 26.10.0"
{ TZ=UTC node run.mjs && venv/bin/python run.py; } | tee seen
diff - seen <<'END'
mysql2 query(): 1899-11-30T00:00:00.000Z, Invalid Date
mysql2 execute(): Invalid Date, 2023-11-30T00:00:00.000Z
mariadb query(): null, Invalid Date
mariadb execute(): null, 2023-11-30T00:00:00.000Z
PyMySQL: '0000-00-00', '2024-00-00 00:00:00'
mysql-connector-python: None, None
mysql-connector-python, prepared: None, ValueError: month must be in 1..12
END
echo "The behaviour is as described."
