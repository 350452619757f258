#!/usr/bin/env bash
# node-postgres returns numeric exactly, as text, and numeric[] as rounded numbers.
#
# pg 8.23.1 (npm) gives a numeric column as a string, because a JavaScript number would round it. An array
# of the same values takes another path: each element goes through parseFloat, so 20 digits
# become 17, 1.10 becomes 1.1, and NaN, which is text in the single column, is a number that JSON writes as null.
# bigint[] stays text. postgres.js 3.4.9 gives text for both.
#
# Why it matters with Lambda and RDS: array_agg(amount) is the usual way to fetch a parent with its
# amounts in one round trip. A test with small amounts sees nothing; the answer of the function is
# wrong by cents for large ones, and money, of all columns, is numeric.
# Write array_agg(amount::text).
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
const expressions = [
  '12345678901234567.89::numeric',
  'array_agg(12345678901234567.89::numeric)',
  "array_agg(amount) FROM (VALUES (1.10), ('NaN'::numeric)) t(amount)",
  'array_agg(amount::text) FROM (VALUES (12345678901234567.89)) t(amount)',
  'array_agg(9007199254740993::bigint)',
];
for (const expression of expressions) {
  const statement = `SELECT ${/ FROM /.test(expression) ? expression.replace(' FROM ', ' AS v FROM ') : `${expression} AS v`}`;
  const one = (await client.query(statement)).rows[0].v;
  const other = (await sql.unsafe(statement))[0].v;
  console.log(`${expression} | pg: ${JSON.stringify(one)} | postgres.js: ${JSON.stringify(other)}`);
}
await sql.end();
await client.end();
END

echo "PostgreSQL $(pg_config --version | cut -d' ' -f2), Node $(node --version), pg 8.23.1, postgres 3.4.9"
node run.mjs | tee seen
diff - seen <<'END'
12345678901234567.89::numeric | pg: "12345678901234567.89" | postgres.js: "12345678901234567.89"
array_agg(12345678901234567.89::numeric) | pg: [12345678901234568] | postgres.js: ["12345678901234567.89"]
array_agg(amount) FROM (VALUES (1.10), ('NaN'::numeric)) t(amount) | pg: [1.1,null] | postgres.js: ["1.10","NaN"]
array_agg(amount::text) FROM (VALUES (12345678901234567.89)) t(amount) | pg: ["12345678901234567.89"] | postgres.js: ["12345678901234567.89"]
array_agg(9007199254740993::bigint) | pg: ["9007199254740993"] | postgres.js: ["9007199254740993"]
END
echo "The behaviour is as described."
