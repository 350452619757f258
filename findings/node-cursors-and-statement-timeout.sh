#!/usr/bin/env bash
# With Node's cursors, statement_timeout counts the time that your own code needs between two batches.
#
# pg-cursor 2.22.1 (pg-query-stream is built on it) and .cursor() of postgres.js 3.4.9 (npm) ask for the next
# rows without ending the exchange with a Sync, so for PostgreSQL it is one statement that is still
# running while Node works on the rows. A query that costs the server milliseconds ends with
# 57014, "canceling statement due to statement timeout", after the rows already delivered. asyncpg 0.32.0
# and psycopg 3.3.9 (PyPI) end the exchange at each batch: the same rows, pauses and limit raise nothing,
# and neither does FETCH by hand in Node.
#
# Why it matters with Lambda and RDS: streaming a table to S3 or SQS in batches is what these cursors are for,
# and a low statement_timeout is what keeps a function from blocking a database. With both, an export
# fails when S3 is slow, half done, and the message blames the statement. Take DECLARE and FETCH, or set
# the limit for that transaction to the function's own.
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

npm install --silent --no-audit --no-fund pg@8.23.1 pg-cursor@2.22.1 postgres@3.4.9
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check asyncpg==0.32.0 'psycopg[binary]==3.3.9'
cat >run.mjs <<'END'
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import Cursor from 'pg-cursor';
import postgres from 'postgres';

const options = { host: process.cwd(), user: 'postgres', database: 'postgres' };
const statement = 'SELECT n FROM generate_series(1, 50) n';

async function report(name, batches) {
  let seen = 0;
  try {
    for await (const rows of batches) {
      seen += rows.length;
      await sleep(400);
    }
    console.log(`${name}: all ${seen} rows`);
  } catch (error) {
    console.log(`${name}: ${seen < 50 ? 'some' : 'all'} rows, then ${error.code}`);
  }
}

async function* byCursor(client) {
  const cursor = client.query(new Cursor(statement));
  for (let rows; (rows = await cursor.read(10)).length > 0; ) yield rows;
}

async function* byFetch(client) {
  await client.query('BEGIN');
  await client.query(`DECLARE numbers CURSOR FOR ${statement}`);
  for (let rows; ({ rows } = await client.query('FETCH 10 FROM numbers')).rows.length > 0; ) yield rows;
  await client.query('COMMIT');
}

const client = new pg.Client({ ...options, statement_timeout: 1000 });
await client.connect();
await report('FETCH by pg', byFetch(client));
await report('pg-cursor', byCursor(client));
await client.end();
const sql = postgres({ ...options, path: `${options.host}/.s.PGSQL.5432`, max: 1, connection: { statement_timeout: 1000 } });
await report('postgres.js cursor', sql.unsafe(statement).cursor(10));
await sql.end();
END
cat >run.py <<'END'
import asyncio
import os
import time

import asyncpg
import psycopg

STATEMENT = "SELECT n FROM generate_series(1, 50) n"


async def main():
    client = await asyncpg.connect(
        host=os.getcwd(), user="postgres", database="postgres", server_settings={"statement_timeout": "1000"}
    )
    seen = 0
    async with client.transaction():
        async for _ in client.cursor(STATEMENT, prefetch=10):
            seen += 1
            if seen % 10 == 0:
                await asyncio.sleep(0.4)
    print(f"asyncpg cursor: all {seen} rows")
    await client.close()


asyncio.run(main())
with psycopg.connect(
    host=os.getcwd(), user="postgres", dbname="postgres", options="-c statement_timeout=1000"
) as connection:
    cursor = connection.cursor("numbers")
    cursor.itersize = 10
    for seen, _ in enumerate(cursor.execute(STATEMENT), start=1):
        if seen % 10 == 0:
            time.sleep(0.4)
    print(f"psycopg server-side cursor: all {seen} rows")
END

echo "PostgreSQL $(pg_config --version | cut -d' ' -f2), Node $(node --version), $(venv/bin/python --version)," \
    "pg 8.23.1, pg-cursor 2.22.1, postgres 3.4.9, asyncpg 0.32.0, psycopg 3.3.9"
{ node run.mjs && venv/bin/python run.py; } | tee seen
diff - seen <<'END'
FETCH by pg: all 50 rows
pg-cursor: some rows, then 57014
postgres.js cursor: some rows, then 57014
asyncpg cursor: all 50 rows
psycopg server-side cursor: all 50 rows
END
echo "The behaviour is as described."
