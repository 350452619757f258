#!/usr/bin/env bash
# Rows per second of batch-job beside a psql loop of the same statement, over the same gate, in one run,
# for two sizes of a chunk: 10,000 rows take about 30 ms here, 100,000 about 0.3 s. Each number is the
# median of the rounds; the two take turns at going first. Fails below 0.95 with the larger chunks. Then the
# purge itself, beside forms that people write: local/bench-purge.sh.
#   local/bench-jobs.sh         after cargo build --profile bench; `make bench` runs it
set -euo pipefail
cd "$(dirname "$0")/.."
rows=${ROWS:-2000000} rounds=${ROUNDS:-3}
dir=$(mktemp -d)
cat >"$dir/schema.sql" <<'SQL'
CREATE TABLE items (n int, filler text) WITH (autovacuum_enabled = false);
CREATE INDEX ON items (n);
GRANT SELECT, INSERT, DELETE, TRUNCATE ON items TO iam_rw_user;
SQL
target/release/rds-local serve --dir "$dir/server" --init "$dir/schema.sql" --user iam_rw_user >/dev/null 2>&1 &
server=$!
trap 'kill -INT $server 2>/dev/null; wait $server || true; rm -rf "$dir"' EXIT
for _ in $(seq 600); do [ -e "$dir/server/env" ] && break; sleep 0.1; done
. "$dir/server/env"
# From an empty file: otherwise each purge would also scan the rows that the one before left dead.
fill() {
  psql -qX -c "TRUNCATE items" -c "INSERT INTO items SELECT n, repeat('x', 50) FROM generate_series(1, $rows) n"
}
ms() { echo $(($(date +%s%N) / 1000000)); }
# Both print how long they took, in milliseconds, their start included.
psql_loop() {
  local start; start=$(ms)
  psql -qX -f "$dir/loop.sql"
  echo $(($(ms) - start))
}
batch_job() {
  local start; start=$(ms)
  target/release/rds-local invoke batch-job --dir "$dir/server" --event "$dir/event.json" --timeout 300 \
    --env QUERIES_DIR="$dir" >"$dir/answer.json" 2>/dev/null
  echo $(($(ms) - start))
  grep -q "\"done\":true.*\"rows\":$rows" "$dir/answer.json"
}

for chunk in 10000 100000; do
  # As queries/purge_orders.sql does it.
  statement="WITH due AS MATERIALIZED (SELECT tableoid AS o, ctid AS c, n AS r FROM items ORDER BY n LIMIT $chunk)
    DELETE FROM items WHERE (tableoid, ctid) IN (SELECT o, c FROM due)
      AND n BETWEEN (SELECT min(r) FROM due) AND (SELECT max(r) FROM due)"
  printf '/*+++\nmode = "write"\nresult = "affected"\nrepeat = "until-no-rows"\n+++*/\n%s\n' "$statement" >"$dir/purge.sql"
  # The loop that people write: each statement commits by itself, until one affects no rows.
  for _ in $(seq $((rows / chunk + 1))); do echo "$statement;"; done >"$dir/loop.sql"
  : >"$dir/times"
  for round in $(seq "$rounds"); do
    echo "{\"query\": \"purge\", \"run\": \"$chunk-$round\"}" >"$dir/event.json"
    # A token lasts 15 minutes.
    export PGPASSWORD="$(target/release/rds-local token)"
    first=psql_loop second=batch_job
    [ $((round % 2)) = 1 ] || first=batch_job second=psql_loop
    fill; one=$($first)
    fill; two=$($second)
    [ $first = psql_loop ] && echo "$one $two" >>"$dir/times" || echo "$two $one" >>"$dir/times"
  done
  median() { cut -d' ' -f"$1" "$dir/times" | sort -n | sed -n "$(((rounds + 1) / 2))p"; }
  awk -v psql="$(median 1)" -v job="$(median 2)" -v rows="$rows" -v chunk="$chunk" 'BEGIN {
    printf "chunks of %d rows: batch-job %d rows/s, psql loop %d rows/s, ratio %.2f; %.1f ms more for each chunk\n",
      chunk, rows * 1000 / job, rows * 1000 / psql, psql / job, (job - psql) * chunk / rows
    exit chunk == 100000 && psql < 0.95 * job }'
done
local/bench-purge.sh
