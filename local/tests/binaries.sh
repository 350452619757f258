#!/usr/bin/env bash
# Runs every test binary of the workspace, several at once: each of them waits more than it computes. Prints a line
# for each, and the whole output of one that fails; the outputs stay in target/test-output.
set -euo pipefail
cd "$(dirname "$0")/../.."
cores=$(getconf _NPROCESSORS_ONLN)
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((cores * 2))}
output=$PWD/target/test-output
rm -rf "$output"
mkdir -p "$output"
export output

# one FOLDER NAME BINARY
one() {
  local log="$output/$2.log" start=$SECONDS code=0
  (cd "$1" && exec "$3") >"$log" 2>&1 </dev/null || code=$?
  printf '%-30s %4d s  %s\n' "$2" "$((SECONDS - start))" "$(grep '^test result: ' "$log" | cut -d';' -f1,2 || echo "ended with $code")"
  [ $code = 0 ] || { cat "$log" >&2; return 1; }
}
export -f one

# The longest first: integration tests, by the size of their binary.
cargo test --locked --workspace --no-run --quiet --message-format=json |
  jq -r 'select(.profile.test and .executable) |
    [(.manifest_path | sub("/Cargo.toml$"; "")), .target.kind[0], .target.name, .executable] | @tsv' |
  while IFS=$'\t' read -r folder kind name binary; do
    crate=${folder##*/}
    printf '%s\t%s\t%s\t%s\t%s\n' "$kind" "$(stat -c %s "$binary" 2>/dev/null || stat -f %z "$binary")" "$folder" \
      "$crate-$kind-$name" "$binary"
  done | sort -t $'\t' -k1,1r -k2,2nr | cut -f 3- >"$output/binaries"

code=0
tr '\t' '\n' <"$output/binaries" | xargs -P "$((cores + 1))" -n 3 bash -c 'one "$@"' one || code=1
cat "$output"/*.log | awk '/^test result: / { passed += $4; failed += $6; ignored += $8 }
  END { printf "%d tests passed, %d failed, %d ignored\n", passed, failed, ignored }'
[ $code = 0 ] || grep -h '^test .*FAILED$' "$output"/*.log >&2
exit $code
