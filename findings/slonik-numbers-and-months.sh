#!/usr/bin/env bash
# Slonik returns numeric as a rounded number, and an interval as seconds of a month that has 31 days.
#
# slonik 47.3.2 (npm) has type parsers of its own over pg: numeric is a JavaScript number, so 12345678901234567.89 loses its
# cents, while bigint is an exact BigInt (count(*) too, which JSON.stringify refuses). An interval is a number of seconds: one month
# is 31 days, one year 365, and PostgreSQL's own EXTRACT(epoch) says 30 and 365.25. '1 mon -1 day' is 31 days as well, and
# '-1 day' is 0: negative days are lost. An infinite timestamp is the number Infinity (null in JSON), an infinite date text.
#
# Why it matters with Lambda and RDS: slonik is chosen for its strict types. The amounts are those of pg's advice turned round
# (pg returns text for this reason), and a grace period that SQL and Node both compute differs by days.
# Cast to text in the query, or pass typeParsers of your own.
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
npm install --silent --no-audit --no-fund slonik@47.3.2
cat >run.mjs <<'END'
import { createPool, sql } from 'slonik';

const show = (value) => (typeof value === 'string' ? JSON.stringify(value) : String(value));
const pool = await createPool(`postgresql://postgres@${encodeURIComponent(process.cwd())}/postgres`);
const { rows } = await pool.query(sql.unsafe`SELECT * FROM (VALUES
  (1, interval '1 mon'), (2, interval '1 year'), (3, interval '2 mon'), (4, interval '1 mon -1 day'), (5, interval '-1 day'))
  v (n, v) CROSS JOIN LATERAL (SELECT v::text AS text, extract(epoch FROM v)::float AS epoch) _ ORDER BY n`);
for (const { v, text, epoch } of rows) console.log(`${text} | slonik: ${v / 86400} days | EXTRACT: ${epoch / 86400} days`);
const row = await pool.one(sql.unsafe`SELECT 12345678901234567.89 AS numeric, 9007199254740993 AS bigint, count(*) AS count,
  timestamptz 'infinity' AS timestamptz, date 'infinity' AS date`);
for (const [name, value] of Object.entries(row)) console.log(`${name} | ${typeof value} ${show(value)}`);
process.exit(0);
END

echo "PostgreSQL $(pg_config --version | cut -d' ' -f2), Node $(node --version), slonik 47.3.2"
node run.mjs | tee seen
diff - seen <<'END'
1 mon | slonik: 31 days | EXTRACT: 30 days
1 year | slonik: 365 days | EXTRACT: 365.25 days
2 mons | slonik: 62 days | EXTRACT: 60 days
1 mon -1 days | slonik: 31 days | EXTRACT: 29 days
-1 days | slonik: 0 days | EXTRACT: -1 days
numeric | number 12345678901234568
bigint | bigint 9007199254740993
count | bigint 1
timestamptz | number Infinity
date | string "infinity"
END
echo "The behaviour is as described."
