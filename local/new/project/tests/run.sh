#!/usr/bin/env bash
# What make test runs: starts a database with tests/data.sql behind IAM authentication, checks every query on it, and
# compares what the functions answer.
set -euo pipefail
cd "$(dirname "$0")/.."

# What is deployed runs queries that exist.
for query in $(grep -oE '("query": *"|QUERY: )[A-Za-z0-9_-]+' template.yaml | grep -oE '[A-Za-z0-9_-]+$'); do
  [ -f "queries/$query.sql" ] || { echo "template.yaml runs the query $query: there is no queries/$query.sql" >&2; exit 1; }
done

dir=$(mktemp -d)
# shellcheck disable=SC2086 # Several words, or none.
rds-local serve --dir "$dir" --init tests/data.sql --schemas "$SCHEMAS" ${SERVE:-} >"$dir/ready" 2>"$dir/log" &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" || true; rm -rf "$dir"' EXIT
until [ -s "$dir/ready" ]; do
  kill -0 "$server" 2>/dev/null || { cat "$dir/log" >&2; exit 1; }
  sleep 0.1
done
. "$dir/env"
# What it left out of the schema, and the schemas whose tables nobody may read.
grep '^rds-local: ' "$dir/log" >&2 || true

rds-local check --database

# expect FUNCTION EVENT TEXT: the answer to events/FUNCTION/EVENT.json holds the text.
expect() {
  local event=events/$1/$2.json answer
  answer=$(make --silent --no-print-directory answer EVENT="$event" 2>"$dir/function.log") || true
  if [[ $answer == *"$3"* ]]; then
    echo "$event: ok"
    return
  fi
  printf '%s: wrong\n  expected … %s …\n  answer   %s\n' "$event" "$3" "$answer" >&2
  cat "$dir/function.log" >&2
  return 1
}

expect scheduled-query orders_by_customer '[{"customer":"Alice","orders":2,"total":30.00},{"customer":"Bob","orders":1,"total":5.50}]'
expect scheduled-query orders_without_total '"violations":0'
expect scheduled-query orders_below_six '"errorType":"Check.Violations"'
# @if export-query
expect export-query all_orders '"rows":4'
# @end
# @if batch-job
expect batch-job purge_orders '"rows":1}'
# @end
# @if event-query
# Twice, as SQS may deliver it: the second time changes nothing.
expect event-query order_placed '{"batchItemFailures":[]}'
expect event-query order_placed '{"batchItemFailures":[]}'
expect scheduled-query orders_by_customer '{"customer":"Dora","orders":1,"total":12.50}'
# @end
