#!/usr/bin/env bash
# PGlite returns other types than node-postgres for the same PostgreSQL, and the type of a bigint depends on its value.
#
# PGlite 0.5.17 (npm), PostgreSQL 18 in WebAssembly for tests: a bigint is a Number up to 2^53 and a BigInt beyond, so
# count(*) is 1 and not "1" as with pg 8.23.1, and the first large id makes JSON.stringify throw. A date is
# midnight in UTC (pg: in the zone of the process). A date before the year 1 is an Invalid Date (pg: right), infinity
# is the number Infinity in both. An interval is text (pg: an object), numeric[] is exact (pg: rounded). A list
# as a jsonb parameter is stored as a list (pg: refused, or {} when empty).
#
# Why it matters with Lambda and RDS: PGlite is the handy database of unit tests, and pg is what runs against RDS. What the test
# compares, `rows[0].count === 1`, is false in production, and `+ 1` appends a digit there. Run the tests of what the driver
# returns with the driver that you deploy.
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
npm install --silent --no-audit --no-fund @electric-sql/pglite@0.5.17 pg@8.23.1
cat >run.mjs <<'END'
import { PGlite } from '@electric-sql/pglite';
import pg from 'pg';

const lite = new PGlite();
const client = new pg.Client({ host: process.cwd(), user: 'postgres', database: 'postgres' });
await client.connect();
const json = (_, v) => (typeof v === 'bigint' ? `BigInt ${v}` : v);
const show = (v) => {
  if (v instanceof Date) return Number.isNaN(v.getTime()) ? 'Invalid Date' : `Date ${v.toISOString()}`;
  return typeof v === 'object' || typeof v === 'string' ? JSON.stringify(v, json) : `${typeof v} ${v}`;
};
const cases = [
  ['count(*)'], ['9007199254740991::bigint'], ['9007199254740993::bigint'], ["date '2024-03-01'"], ["date '0044-03-15 BC'"],
  ["timestamptz 'infinity'"], ["interval '1 mon 2 days'"], ['ARRAY[12345678901234567.89]'], ["point '(1,2)'"],
  ['$1::jsonb', [[]]], ['$1::jsonb', [[1]]],
];
for (const [expression, values] of cases) {
  const told = [];
  for (const database of [lite, client]) {
    told.push(await database.query(`SELECT ${expression} AS v`, values).then((r) => show(r.rows[0].v), () => 'error'));
  }
  console.log(`${expression}${values ? ` with ${JSON.stringify(values[0])}` : ''} | PGlite: ${told[0]} | pg: ${told[1]}`);
}
await client.end();
END

echo "PostgreSQL $(pg_config --version | cut -d' ' -f2), Node $(node --version), @electric-sql/pglite 0.5.17, pg 8.23.1"
TZ=Asia/Tokyo node run.mjs | tee seen
diff - seen <<'END'
count(*) | PGlite: number 1 | pg: "1"
9007199254740991::bigint | PGlite: number 9007199254740991 | pg: "9007199254740991"
9007199254740993::bigint | PGlite: bigint 9007199254740993 | pg: "9007199254740993"
date '2024-03-01' | PGlite: Date 2024-03-01T00:00:00.000Z | pg: Date 2024-02-29T15:00:00.000Z
date '0044-03-15 BC' | PGlite: Invalid Date | pg: Date -000043-03-14T14:41:01.000Z
timestamptz 'infinity' | PGlite: number Infinity | pg: number Infinity
interval '1 mon 2 days' | PGlite: "1 mon 2 days" | pg: {"months":1,"days":2}
ARRAY[12345678901234567.89] | PGlite: ["12345678901234567.89"] | pg: [12345678901234568]
point '(1,2)' | PGlite: "(1,2)" | pg: {"x":1,"y":2}
$1::jsonb with [] | PGlite: [] | pg: {}
$1::jsonb with [1] | PGlite: [1] | pg: error
END
echo "The behaviour is as described."
