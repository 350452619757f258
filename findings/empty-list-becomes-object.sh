#!/usr/bin/env bash
# An empty list given for a jsonb parameter is stored as an empty object, in three drivers.
#
# pg 8.23.1 (npm), psycopg 3.3.9 and pg8000 1.31.6 (PyPI) write a list as an array of PostgreSQL. The empty
# array is the text {}, and that is valid JSON: an empty object. A list with elements is refused
# ("invalid input syntax for type json" or "cannot cast"), so the mistake shows in every test but the
# one with no elements. postgres.js 3.4.9 stores [].
#
# Why it matters with Lambda and RDS: a handler that passes event["items"] on to a jsonb column fails
# loudly for one item and stores {} for none. A reader that loops over the items then meets an object;
# jsonb_array_length and jsonb_array_elements raise an error, far away from the writer.
# Pass the document as text in pg and pg8000 (JSON.stringify, json.dumps), and as Jsonb in psycopg.
set -euo pipefail

work=$(mktemp -d)
cd "$work"
bin=$(pg_config --bindir)
as=()
if [ "$(id -u)" = 0 ]; then # PostgreSQL refuses to run as root.
    as=(runuser -u postgres --)
    chown postgres "$work"
fi
finish() {
    "${as[@]}" "$bin/pg_ctl" -D data -m immediate stop >server.log 2>&1 || true
    rm -rf "$work"
}
trap finish EXIT
"${as[@]}" "$bin/initdb" -D data -U postgres -A trust >server.log
"${as[@]}" "$bin/pg_ctl" -D data -w -l log -o "-k $work -c listen_addresses= -c timezone=UTC" start >server.log
npm install --silent --no-audit --no-fund pg@8.23.1 postgres@3.4.9
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check 'psycopg[binary]==3.3.9' pg8000==1.31.6
cat >run.mjs <<'END'
import pg from 'pg';
import postgres from 'postgres';

const options = { host: process.cwd(), user: 'postgres', database: 'postgres' };
const sql = postgres({ ...options, path: `${options.host}/.s.PGSQL.5432`, max: 1 });
const client = new pg.Client(options);
await client.connect();
await client.query('CREATE TABLE message (items jsonb)');
for (const items of [[], ['a']]) {
  const statement = 'INSERT INTO message VALUES ($1) RETURNING items::text, jsonb_typeof(items)';
  const text = (rows) => Object.values(rows[0]).join(' ');
  const one = await client.query(statement, [items]).then((r) => text(r.rows), (error) => `error ${error.code}`);
  const other = await sql.unsafe(statement, [items]).then(text, (error) => `error ${error.code}`);
  console.log(`${JSON.stringify(items)} | pg: ${one} | postgres.js: ${other}`);
}
await sql.end();
await client.end();
END
cat >run.py <<'END'
import os

import pg8000.dbapi
import psycopg
from psycopg.types.json import Jsonb

one = psycopg.connect(host=os.getcwd(), user="postgres", dbname="postgres", autocommit=True)
other = pg8000.dbapi.connect(unix_sock=os.getcwd() + "/.s.PGSQL.5432", user="postgres", database="postgres")
other.autocommit = True


def insert(connection, items):
    cursor = connection.cursor()
    try:
        cursor.execute("INSERT INTO message VALUES (%s) RETURNING items::text, jsonb_typeof(items)", (items,))
    except (psycopg.Error, pg8000.dbapi.DatabaseError) as error:
        return "error " + (getattr(error, "sqlstate", None) or error.args[0]["C"])
    return " ".join(cursor.fetchone())


for items in ([], ["a"]):
    print(f"{items} | psycopg: {insert(one, items)} | pg8000: {insert(other, items)}")
print("Jsonb([]) | psycopg:", insert(one, Jsonb([])))
one.close()
other.close()
END

echo "PostgreSQL $(pg_config --version | cut -d' ' -f2), Node $(node --version), $(venv/bin/python --version)," \
    "pg 8.23.1, postgres 3.4.9, psycopg 3.3.9, pg8000 1.31.6"
{ node run.mjs && venv/bin/python run.py; } | tee seen
diff - seen <<'END'
[] | pg: {} object | postgres.js: [] array
["a"] | pg: error 22P02 | postgres.js: ["a"] array
[] | psycopg: {} object | pg8000: {} object
['a'] | psycopg: error 22P02 | pg8000: error 22P02
Jsonb([]) | psycopg: [] array
END
echo "The behaviour is as described."
