#!/usr/bin/env bash
# Runs every ```sh block of the documents, against its own server on the default folder.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --quiet --locked --workspace
target/debug/rds-local serve --s3 2>target/docs-serve.log &
server=$!
# What the blocks make and the repository does not hold.
made=(queries/adults.sql target/{adults,add-customer,remove-customer,job-runs,export}.json target/customers.{parquet,csv})
outside=$(mktemp -d)
trap 'rm -rf "$outside"; rm -f "${made[@]}"; kill -INT $server 2>/dev/null; wait $server || true' EXIT
for _ in $(seq 600); do
  [ -e target/rds-local/env ] && break
  kill -0 $server 2>/dev/null || { cat target/docs-serve.log >&2; exit 1; }
  sleep 0.1
done

export PATH="$PWD/target/venv/bin:$PATH"
count=0
for document in README.md CONTRIBUTING.md docs/*.md; do
  block=
  inside=false
  # The blocks of docs/start.md are one session, in a folder outside of the repository.
  session=
  while IFS= read -r line; do
    if ! $inside && [ "$line" = '```sh' ]; then
      inside=true block=
    elif $inside && [ "$line" = '```' ]; then
      inside=false count=$((count + 1))
      echo "$document: running"
      sed 's/^/    /' <<<"$block"
      if [ "$document" = docs/start.md ]; then
        session+=$block
      else
        bash -euo pipefail -c "$block" </dev/null
      fi
    elif $inside; then
      block+="$line"$'\n'
    fi
  done <"$document"
  [ -z "$session" ] || (cd "$outside" && PATH="$OLDPWD/target/debug:$PATH" bash -euo pipefail -c "$session" </dev/null)
done
[ "$count" -ge 5 ] || { echo "only $count commands were found in the documents" >&2; exit 1; }
echo "$count blocks of the documents ran"
