#!/usr/bin/env bash
# A comment beside an INSERT decides whether executemany is one statement or one for each row.
#
# executemany() of PyMySQL 1.2.4 and of mysql-connector-python 26.10.0 joins the rows of
# `INSERT ... VALUES (%s, %s)` into one statement, but finds the place by a pattern on the text:
# - PyMySQL sends one statement for each row if a comment stands in front of INSERT or at the end,
#   mysql-connector-python if a line with `-- note` stands in front. With autocommit, a duplicate in row
#   three then leaves rows one and two in the table; without the comment it leaves none.
# - A RETURNING clause (MariaDB) does the same in PyMySQL, and only the last row's answer can be fetched.
# - mysql-connector-python takes `values (` inside a text literal for the place, and refuses a
#   valid statement: "Not all parameters were used".
# A comment after the word INSERT changes nothing in either.
#
# Why it matters with Lambda and RDS: tools that trace queries write a comment in front of a statement or
# behind it. From that day the function needs a round trip for each row, and its failed batch, which left
# nothing behind before, leaves rows that the retry then meets as duplicates. Put the comment after
# INSERT, and open a transaction.
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
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check PyMySQL==1.2.4 mysql-connector-python==26.10.0
mariadb --no-defaults -u root -S socket -e 'CREATE DATABASE shop'
cat >run.py <<'END'
import os

import mysql.connector
import pymysql

options = {"unix_socket": os.path.join(os.getcwd(), "socket"), "user": "root", "database": "shop", "autocommit": True}
ROWS = [(1, "x"), (2, "y"), (2, "again"), (3, "z")]
STATEMENTS = {
    "INSERT INTO item VALUES (%s, %s)": ROWS,
    "INSERT /* note */ INTO item VALUES (%s, %s)": ROWS,
    "/* note */ INSERT INTO item VALUES (%s, %s)": ROWS,
    "-- note\nINSERT INTO item VALUES (%s, %s)": ROWS,
    "INSERT INTO item VALUES (%s, %s) /* note */": ROWS,
    "INSERT INTO item VALUES (%s, %s) RETURNING id": ROWS[:2],
    "INSERT INTO item VALUES (%s, 'values (1)')": [(1,), (2,)],
}


def run(connection, statement, rows):
    cursor = connection.cursor()
    cursor.execute("CREATE OR REPLACE TABLE item (id int PRIMARY KEY, name varchar(40))")
    cursor.execute("FLUSH STATUS")
    answer = ""
    try:
        cursor.executemany(statement, rows)
        if "RETURNING" in statement:
            answer = f", answer {list(cursor.fetchall())}"
    except (pymysql.IntegrityError, mysql.connector.IntegrityError):
        answer = ", duplicate refused"
    except mysql.connector.ProgrammingError as error:
        answer = f", {error.msg}"
    cursor.execute("SHOW SESSION STATUS LIKE 'Com_insert'")
    sent = cursor.fetchall()[0][1]
    cursor.execute("SELECT count(*) FROM item")
    left = cursor.fetchall()[0][0]
    connection.close()
    return f"{sent} sent, {left} rows left{answer}"


for statement, rows in STATEMENTS.items():
    print(repr(statement))
    print("    PyMySQL:", run(pymysql.connect(**options), statement, rows))
    print("    mysql-connector-python:", run(mysql.connector.connect(use_pure=True, **options), statement, rows))
END

mariadbd --version
echo "$(venv/bin/python --version), PyMySQL 1.2.4, mysql-connector-python 26.10.0"
venv/bin/python run.py | tee seen
diff - seen <<'END'
'INSERT INTO item VALUES (%s, %s)'
    PyMySQL: 1 sent, 0 rows left, duplicate refused
    mysql-connector-python: 1 sent, 0 rows left, duplicate refused
'INSERT /* note */ INTO item VALUES (%s, %s)'
    PyMySQL: 1 sent, 0 rows left, duplicate refused
    mysql-connector-python: 1 sent, 0 rows left, duplicate refused
'/* note */ INSERT INTO item VALUES (%s, %s)'
    PyMySQL: 3 sent, 2 rows left, duplicate refused
    mysql-connector-python: 1 sent, 0 rows left, duplicate refused
'-- note\nINSERT INTO item VALUES (%s, %s)'
    PyMySQL: 3 sent, 2 rows left, duplicate refused
    mysql-connector-python: 3 sent, 2 rows left, duplicate refused
'INSERT INTO item VALUES (%s, %s) /* note */'
    PyMySQL: 3 sent, 2 rows left, duplicate refused
    mysql-connector-python: 1 sent, 0 rows left, duplicate refused
'INSERT INTO item VALUES (%s, %s) RETURNING id'
    PyMySQL: 2 sent, 2 rows left, answer [(2,)]
    mysql-connector-python: 1 sent, 2 rows left, answer [(1,), (2,)]
"INSERT INTO item VALUES (%s, 'values (1)')"
    PyMySQL: 2 sent, 2 rows left
    mysql-connector-python: 0 sent, 0 rows left, Not all parameters were used in the SQL statement
END
echo "The behaviour is as described."
