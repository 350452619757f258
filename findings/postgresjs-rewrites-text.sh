#!/usr/bin/env bash
# postgres.js reads a parameter that you pass as text, and sends another value.
#
# postgres 3.4.9 (npm) asks the server for the type of each parameter and then runs the value
# through JavaScript, even when it is already text that PostgreSQL reads by itself:
# - for timestamp and timestamptz it goes through Date: microseconds become milliseconds, and text without
#   a zone is shifted by the zone of the Node process;
# - for date the same: 00:30 in Tokyo is the day before, and 30 February becomes 1 March instead of an
#   error;
# - for boolean everything but `true` itself is false: the texts 'true' and 't' and the number 1;
# - for json and jsonb the text of a document becomes one JSON string.
# PostgreSQL gets the text as it is from node-postgres (pg 8.23.1).
#
# Why it matters with Lambda and RDS: an event brings its values as text (query strings, message
# attributes, JSON without a type for time), and so does the last key of a page of rows
# ("updated_at > $1"). With the microseconds cut off, the last row of a page comes again on
# the next page. The zone does not show on Lambda, which runs in UTC, but it does on a laptop.
# Give the parameter the type text in the statement: `$1::text::timestamptz`.
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
npm install --silent --no-audit --no-fund postgres@3.4.9 pg@8.23.1
cat >run.mjs <<'END'
import pg from 'pg';
import postgres from 'postgres';

const options = { host: process.cwd(), user: 'postgres', database: 'postgres' };
const sql = postgres({ ...options, path: `${options.host}/.s.PGSQL.5432`, max: 1 });
const client = new pg.Client(options);
await client.connect();
const values = [
  ['2024-03-01 00:30:00.123456+00', '::timestamptz'],
  ['2024-03-01 00:30:00.123456+00', '::text::timestamptz'],
  ['2024-03-01 00:30:00', '::timestamp'],
  ['2024-03-01 00:30:00', '::date'],
  ['2024-02-30', '::date'],
  ['infinity', '::timestamptz'],
  ['true', '::boolean'],
  ['t', '::boolean'],
  [1, '::boolean'],
  ['{"a": 1}', '::jsonb'],
];
for (const [value, cast] of values) {
  const statement = `SELECT ($1${cast})::text AS v`;
  const one = await sql.unsafe(statement, [value]).then((rows) => rows[0].v, (error) => `error: ${error.message}`);
  const other = await client.query(statement, [value]).then((r) => r.rows[0].v, (error) => `error: ${error.message}`);
  console.log(`${JSON.stringify(value)}${cast} | postgres.js: ${one} | pg: ${other}`);
}
await sql.end();
await client.end();
END

echo "PostgreSQL $(pg_config --version | cut -d' ' -f2), Node $(node --version), postgres 3.4.9, pg 8.23.1"
TZ=Asia/Tokyo node run.mjs | tee seen
diff - seen <<'END'
"2024-03-01 00:30:00.123456+00"::timestamptz | postgres.js: 2024-03-01 00:30:00.123+00 | pg: 2024-03-01 00:30:00.123456+00
"2024-03-01 00:30:00.123456+00"::text::timestamptz | postgres.js: 2024-03-01 00:30:00.123456+00 | pg: 2024-03-01 00:30:00.123456+00
"2024-03-01 00:30:00"::timestamp | postgres.js: 2024-02-29 15:30:00 | pg: 2024-03-01 00:30:00
"2024-03-01 00:30:00"::date | postgres.js: 2024-02-29 | pg: 2024-03-01
"2024-02-30"::date | postgres.js: 2024-03-01 | pg: error: date/time field value out of range: "2024-02-30"
"infinity"::timestamptz | postgres.js: error: Invalid time value | pg: infinity
"true"::boolean | postgres.js: false | pg: true
"t"::boolean | postgres.js: false | pg: true
1::boolean | postgres.js: false | pg: true
"{\"a\": 1}"::jsonb | postgres.js: "{\"a\": 1}" | pg: {"a": 1}
END
echo "The behaviour is as described."
