#!/usr/bin/env bash
# A bigint of MySQL is rounded by one driver of Node, and cannot become JSON in the other.
#
# mysql2 3.24.6 (npm) returns 9007199254740993 as the Number 9007199254740992, with query() and execute() alike. mariadb 3.5.4 (npm) returns
# a BigInt, also for count(*) = 2, row_number() and the insertId of every INSERT, and JSON.stringify throws on it. But
# CAST(5 AS SIGNED) is a Number in both, and sum() is text in both, of whole numbers too.
#
# Why it matters with Lambda and RDS: Lambda makes JSON of what a handler returns. With mariadb, `return rows` fails on the first
# count(*), and the INSERT that went before is committed; with mysql2, an id beyond 2^53 becomes its neighbour's, which may exist. Set
# supportBigNumbers and bigNumberStrings in mysql2, and bigIntAsNumber or insertIdAsNumber in mariadb.
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
cat >run.mjs <<'END'
import mysql from 'mysql2/promise';
import mariadb from 'mariadb';

const options = { socketPath: `${process.cwd()}/socket`, user: 'root', database: 'shop' };
const one = await mysql.createConnection(options);
const other = await mariadb.createConnection(options);
const show = (value) => {
  try {
    return `${typeof value} ${JSON.stringify(value)}`;
  } catch (error) {
    return `${typeof value} ${value}, ${error.name} as JSON`;
  }
};
for (const expression of ['CAST(9007199254740993 AS SIGNED)', 'count(*)', 'sum(1)', 'row_number() OVER ()', 'CAST(5 AS SIGNED)']) {
  const statement = `SELECT ${expression} AS v FROM orders`;
  const told = [
    `query() ${show((await one.query(statement))[0][0].v)}`, `execute() ${show((await one.execute(statement))[0][0].v)}`,
  ];
  console.log(`${expression} | mysql2: ${told.join(', ')} | mariadb: ${show((await other.query(statement))[0].v)}`);
}
const insert = "INSERT INTO orders (note) VALUES ('x')";
console.log(`insertId | mysql2: ${show((await one.query(insert))[0].insertId)} | mariadb: ${show((await other.query(insert)).insertId)}`);
await one.end();
await other.end();
END
cat >schema.sql <<'END'
CREATE DATABASE shop;
CREATE TABLE shop.orders (id bigint AUTO_INCREMENT PRIMARY KEY, note text);
INSERT INTO shop.orders (note) VALUES ('a');
END

echo "$(mariadbd --version | cut -d' ' -f4), Node $(node --version), mysql2 3.24.6, mariadb 3.5.4"
{ mariadb --no-defaults -u root -S socket <schema.sql && node run.mjs; } | tee seen
diff - seen <<'END'
CAST(9007199254740993 AS SIGNED) | mysql2: query() number 9007199254740992, execute() number 9007199254740992 | mariadb: bigint 9007199254740993, TypeError as JSON
count(*) | mysql2: query() number 1, execute() number 1 | mariadb: bigint 1, TypeError as JSON
sum(1) | mysql2: query() string "1", execute() string "1" | mariadb: string "1"
row_number() OVER () | mysql2: query() number 1, execute() number 1 | mariadb: bigint 1, TypeError as JSON
CAST(5 AS SIGNED) | mysql2: query() number 5, execute() number 5 | mariadb: number 5
insertId | mysql2: number 2 | mariadb: bigint 3, TypeError as JSON
END
echo "The behaviour is as described."
