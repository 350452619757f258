#!/usr/bin/env bash
# Runs every function in the official flow, `sam build` and `sam local`, against rds-local: scheduled-query, event-query
# and db-check on every event file, held to the tables in events/*/README.md, and each other function on one event.
# It needs Docker. As root on Debian it installs and starts one if there is none; elsewhere, without
# one, it says so and is skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
export SAM_CLI_TELEMETRY=0 AWS_PAGER=
sam=$PWD/target/venv-sam/bin/sam
dir=target/sam-test
arch=$(uname -m | sed s/aarch64/arm64/)

skip() {
  printf '%s\n' '**********' "SKIPPED: make test-sam did not run: $*" '**********' >&2
  exit 0
}

dockerd= servers=() lambda=
cleanup() {
  for process in $lambda "${servers[@]}" $dockerd; do kill -TERM "$process" 2>/dev/null || true; done
  wait
}
trap cleanup EXIT

if ! docker info >/dev/null 2>&1; then
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
    skip "no Docker engine answers, and installing one takes root on Debian"
  if ! command -v dockerd >/dev/null; then
    echo "test-sam: installing docker.io"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq docker.io >/dev/null
  fi
  mkdir -p target
  dockerd >target/dockerd.log 2>&1 &
  dockerd=$!
  for _ in $(seq 60); do docker info >/dev/null 2>&1 && break; sleep 0.5; done
  docker info >/dev/null 2>&1 || skip "dockerd does not start here; see target/dockerd.log"
fi

# AWS's base image, or a stand-in with the same entry point where it cannot be pulled.
image=public.ecr.aws/lambda/provided:al2023-$arch
if ! docker image inspect "$image" >/dev/null 2>&1 && ! docker pull -q "$image" 2>/dev/null; then
  echo "test-sam: AWS's base image cannot be pulled; making a stand-in with debootstrap"
  command -v debootstrap >/dev/null ||
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq debootstrap >/dev/null ||
    skip "no base image, and no debootstrap to make one"
  root=$(mktemp -d)
  debootstrap --variant=minbase bookworm "$root" >target/debootstrap.log
  mkdir -p "$root/var/runtime" "$root/var/task"
  printf '#!/bin/sh\nexec /var/task/bootstrap\n' >"$root/var/runtime/bootstrap"
  chmod 755 "$root" "$root/var/runtime/bootstrap"
  tar -C "$root" -c . | docker import - "$image" >/dev/null
  rm -rf "$root"
fi

for folder in functions/*/; do
  make --no-print-directory build ARCH="$arch" FUNCTION="$(basename "$folder")"
done
cargo build --quiet --locked --workspace

# serve ENGINE: containers reach it by the host's address. Its variables are in $dir/ENGINE/env and env.json.
serve() {
  mkdir -p "$dir/$1"
  rm -f "$dir/$1/env"
  target/debug/rds-local serve --engine "$1" --dir "$dir/$1" --listen 0.0.0.0 --public 2>"$dir/$1.log" &
  servers+=($!)
  for _ in $(seq 600); do
    [ ! -e "$dir/$1/env" ] || return 0
    kill -0 $! 2>/dev/null || break
    sleep 0.1
  done
  cat "$dir/$1.log" >&2
  exit 1
}
for engine in postgres mysql neptune; do serve $engine; done
options=(--skip-pull-image --add-host host.docker.internal:host-gateway)

# What an answer says: rows, chunks, an error type, or which records failed.
outcome() {
  python3 -c 'import json, sys
answer = json.load(sys.stdin)
if "errorType" in answer:
    print(answer["errorType"])
elif answer.get("statusCode", 200) != 200:
    print("status %d" % answer["statusCode"])
elif "chunks" in answer:
    print("%d chunks, %d rows" % (answer["chunks"], answer["rows"]))
elif sys.argv[1] != "event-query" and "row_count" in answer:
    print("%d rows" % answer["row_count"])
else:
    failed = [f["itemIdentifier"][-2:] for f in answer.get("batchItemFailures", [])]
    print("failed " + " ".join(failed) if failed else "ok")' "$1"
}

failed=0
row() { printf '%-16s %-28s %-20s %s\n' "$@"; }

# try FUNCTION ENGINE EVENT EXPECTED [NAME=VALUE…]: one invocation in a container, with the server's variables and these.
try() {
  local function=$1 engine=$2 event=events/$1/$3 expected=$4 got logical
  shift 4
  logical=$(sed -E 's/(^|-)(.)/\U\2/g' <<<"$function")Function
  python3 -c 'import json, sys
variables = json.load(open(sys.argv[1]))
variables["Parameters"].update(pair.split("=", 1) for pair in sys.argv[3:])
json.dump(variables, open(sys.argv[2], "w"))' "$dir/$engine/env.json" "$dir/case.json" "$@"
  chmod 600 "$dir/case.json"
  # The shell's variables come before the file's, for sam.
  got=$(. "$dir/$engine/env"; env "$@" "$sam" local invoke "$logical" --template-file ".aws-sam/$function/template.yaml" \
    --event "$event" --env-vars "$dir/case.json" "${options[@]}" 2>"$dir/invoke.log" | tail -n 1 | outcome "$function") || got=none
  row "$function" "$(basename "$event")" "$got" "$expected"
  [ "$got" = "$expected" ] || { failed=1; cat "$dir/invoke.log" >&2; }
}

row function event outcome expected
for function in scheduled-query event-query db-check; do
  while IFS='|' read -r _ file second third _; do
    file=$(xargs <<<"$file") variables=(QUERY=customers) expected=$(xargs <<<"$second")
    if [ "$function" = event-query ]; then
      variables=(QUERY="$expected" PGUSER=iam_rw_user EVENT_ENVELOPES=sns,s3,eventbridge) expected=$(xargs <<<"$third")
    fi
    if python3 -m json.tool "events/$function/$file" >/dev/null 2>&1; then
      try "$function" postgres "$file" "$expected" "${variables[@]}"
    else
      row "$function" "$file" "-" "not JSON: sam and AWS refuse it before the function"
    fi
  done < <(grep -E '^\| [a-z0-9-]+\.json ' "events/$function/README.md")
done
try batch-job postgres refresh.json "1 chunks, 0 rows" PGUSER=iam_rw_user
try mysql-query mysql customers.json "2 rows"
try neptune-query neptune default.json "1 rows" QUERY=record_person
# The S3 of rds-local is on the loopback interface, which no container reaches: this one fails before it writes.
try export-query postgres unknown-format.json Event.Invalid EXPORT_PREFIX=s3://exports/

. "$dir/postgres/env"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$sam" local start-lambda --template-file .aws-sam/scheduled-query/template.yaml --port "$port" --env-vars "$dir/postgres/env.json" "${options[@]}" 2>"$dir/start-lambda.log" &
lambda=$!
for _ in $(seq 100); do
  (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
  sleep 0.2
done
target/venv/bin/aws lambda invoke --endpoint-url "http://127.0.0.1:$port" --cli-read-timeout 60 \
  --function-name ScheduledQueryFunction --payload fileb://events/scheduled-query/customers.json \
  "$dir/answer.json" >/dev/null
got=$(outcome scheduled-query <"$dir/answer.json")
row scheduled-query "aws lambda invoke" "$got" "3 rows"
[ "$got" = "3 rows" ] || failed=1
[ "$failed" = 0 ] && echo "every outcome is as documented"
exit $failed
