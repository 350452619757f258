#!/usr/bin/env bash
# Rows per second of batch-job beside a psql loop of the same statement, over the same gate, in one run.
#   local/bench-jobs.sh         after cargo build --profile bench; `make bench` runs it
set -euo pipefail
cd "$(dirname "$0")/.."
rows=${ROWS:-1000000} chunk=${CHUNK:-10000}
dir=$(mktemp -d)
cat >"$dir/schema.sql" <<'SQL'
CREATE TABLE items (n int, filler text);
GRANT SELECT, INSERT, DELETE ON items TO iam_rw_user;
SQL
statement="DELETE FROM items WHERE ctid = ANY (ARRAY(SELECT ctid FROM items LIMIT $chunk))"
printf '/*+++\nmode = "write"\nresult = "affected"\nrepeat = "until-no-rows"\n+++*/\n%s\n' "$statement" >"$dir/purge.sql"
target/release/rds-local serve --dir "$dir/server" --init "$dir/schema.sql" --user iam_rw_user >/dev/null 2>&1 &
server=$!
trap 'kill -INT $server 2>/dev/null; wait $server || true; rm -rf "$dir"' EXIT
for _ in $(seq 600); do [ -e "$dir/server/env" ] && break; sleep 0.1; done
. "$dir/server/env"
export PGPASSWORD="$(target/release/rds-local token)"
fill() { psql -qX -c "INSERT INTO items SELECT n, repeat('x', 50) FROM generate_series(1, $rows) n"; }
# The loop that people write: each statement commits by itself, until one affects no rows.
for _ in $(seq $((rows / chunk + 1))); do echo "$statement;"; done >"$dir/loop.sql"
ms() { echo $(($(date +%s%N) / 1000000)); }
best_psql=0 best_job=0
for round in 1 2 3 4 5; do
  fill
  start=$(ms); psql -qX -f "$dir/loop.sql"; took=$(($(ms) - start))
  rate=$((rows * 1000 / took)); [ $rate -le $best_psql ] || best_psql=$rate
  fill
  echo "{\"query\": \"purge\", \"run\": \"$round\"}" >"$dir/event.json"
  start=$(ms)
  target/release/rds-local invoke batch-job --dir "$dir/server" --event "$dir/event.json" --timeout 300 \
    --env QUERIES_DIR="$dir" >"$dir/answer.json" 2>/dev/null
  took=$(($(ms) - start))
  grep -q "\"done\":true.*\"rows\":$rows" "$dir/answer.json"
  rate=$((rows * 1000 / took)); [ $rate -le $best_job ] || best_job=$rate
done
awk -v job=$best_job -v psql=$best_psql 'BEGIN {
  printf "batch-job %d rows/s, psql loop %d rows/s, ratio %.2f (at least 0.95 on an idle machine)\n", job, psql, job / psql
  exit job < 0.95 * psql }'
