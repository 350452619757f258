#!/usr/bin/env bash
# What `make test` runs: every step in order, with the time that each one took, and the step that failed.
# Installs the other implementations that the tests compare with while cargo builds.
set -uo pipefail
cd "$(dirname "$0")/../.."
names=() seconds=()

report() {
  printf '\n%-44s %7s\n' "make test" seconds
  for i in "${!names[@]}"; do printf '%-44s %7s\n' "${names[$i]}" "${seconds[$i]}"; done
}

# step NAME USUAL-TIME COMMAND…
step() {
  local name=$1 usual=$2 start=$SECONDS
  shift 2
  printf '\n== %s (usually %s)\n' "$name" "$usual"
  "$@"
  local code=$?
  names+=("$name") seconds+=("$((SECONDS - start))")
  [ $code = 0 ] && return
  report
  printf '\nmake test failed at: %s\n' "$name" >&2
  exit 1
}

log=target/setup.log
mkdir -p target
setup=
trap '[ -z "$setup" ] || kill "$setup" 2>/dev/null' EXIT

wait_for_setup() {
  local code=0
  wait "$setup" || code=$?
  setup=
  cat "$log"
  return $code
}

step "a compiler and the servers" "a minute, once" local/setup.sh
local/setup.sh --tests >"$log" 2>&1 &
setup=$!
step "build" "6 minutes, once" cargo test --locked --workspace --no-run
step "rest of the set-up, begun before the build" "seconds" wait_for_setup
step "each dependency is built once" "seconds" local/tests/built-once.sh
step "tests" "8 minutes" local/tests/binaries.sh
step "doc tests" "10 seconds" cargo test --locked --workspace --quiet --doc
step "sets of features" "3 minutes, once" shared/features.sh
step "templates" "2 minutes" local/tests/template/run.sh
step "table of clients" "20 seconds" local/tests/clients/run.py
step "commands of the documents" "a minute" docs/check.sh
step "projects that rds-local new makes" "20 seconds" local/tests/new.sh
step "wheel" "20 seconds" local/tests/wheel.sh
report
