#!/usr/bin/env bash
# postgres.js inserts the columns that the first row has, and leaves out what only later rows have.
#
# sql`INSERT INTO t ${sql(rows)}` of postgres 3.4.9 (npm) takes the column names from rows[0]. A value that the first object
# does not have is not inserted, without an error: the column is NULL or the default. kysely 0.28.19 takes the columns of
# all rows and writes DEFAULT where one is missing.
#
# Why it matters with Lambda and RDS: a batch of SQS or Kinesis is a list of JSON objects whose optional keys come and go.
# Whether a note is stored depends on its neighbour in the batch, and a test with one message always passes.
# Give every object every key, null where it has none.
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
npm install --silent --no-audit --no-fund postgres@3.4.9 kysely@0.28.19 pg@8.23.1
cat >run.mjs <<'END'
import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import postgres from 'postgres';

const options = { host: process.cwd(), user: 'postgres', database: 'postgres' };
const sql = postgres({ ...options, path: `${options.host}/.s.PGSQL.5432`, max: 1 });
const kysely = new Kysely({ dialect: new PostgresDialect({ pool: new pg.Pool(options) }) });
await sql`CREATE TABLE message (id int, note text DEFAULT 'none')`;
const short = { id: 1 };
const long = { id: 2, note: 'urgent' };
const ways = {
  'postgres.js': (rows) => sql`INSERT INTO message ${sql(rows)} RETURNING *`,
  kysely: (rows) => kysely.insertInto('message').values(rows).returningAll().execute(),
};
for (const [name, insert] of Object.entries(ways)) {
  for (const rows of [[short, long], [{ ...short, note: null }, long]]) {
    console.log(`${name} | ${JSON.stringify(rows)} | ${JSON.stringify([...(await insert(rows))])}`);
  }
}
await sql.end();
await kysely.destroy();
END

echo "PostgreSQL $(pg_config --version | cut -d' ' -f2), Node $(node --version), postgres 3.4.9, kysely 0.28.19, pg 8.23.1"
node run.mjs | tee seen
diff - seen <<'END'
postgres.js | [{"id":1},{"id":2,"note":"urgent"}] | [{"id":1,"note":"none"},{"id":2,"note":"none"}]
postgres.js | [{"id":1,"note":null},{"id":2,"note":"urgent"}] | [{"id":1,"note":null},{"id":2,"note":"urgent"}]
kysely | [{"id":1},{"id":2,"note":"urgent"}] | [{"id":1,"note":"none"},{"id":2,"note":"urgent"}]
kysely | [{"id":1,"note":null},{"id":2,"note":"urgent"}] | [{"id":1,"note":null},{"id":2,"note":"urgent"}]
END
echo "The behaviour is as described."
