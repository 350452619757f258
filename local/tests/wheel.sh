#!/usr/bin/env bash
# Builds the wheel from the development build, installs it into a fresh virtual environment, and runs
# the pytest fixture and the Node test of docs/testing.md, as they stand there, with that rds-local.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The one block of this language.
block() {
  awk -v begin="\`\`\`$1" '$0 == "```" { on = 0 } on; $0 == begin { on = 1; blocks++ }
    END { exit blocks != 1 }' docs/testing.md
}
block python >"$work/test_login.py"
block js >"$work/login.test.js"

# `make wheel` builds for release, which takes minutes. The development build is there already: maturin packs
# the program of its own crate, and beside it what lies in the folder of scripts.
cargo build --quiet --locked --package rds-local --package rds-doctor
mkdir -p target/rds_local.data/scripts
cp target/debug/rds-doctor target/rds_local.data/scripts/
PATH="$root/target/venv/bin:$PATH" maturin build --quiet --locked --profile dev --compatibility linux \
  --auditwheel skip --strip false --manifest-path local/Cargo.toml --out "$work"
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-index "$work"/rds_local-*.whl

cd "$work"
export PATH="$work/venv/bin:$PATH"
[ "$(command -v rds-local)" = "$work/venv/bin/rds-local" ]
rds-local --version
rds-local doctor --version
# Without any AWS configuration of the person who runs this.
export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null
unset AWS_PROFILE
"$root/target/venv/bin/python" -m pytest --quiet -p no:cacheprovider test_login.py
NODE_PATH="$root/target/node/node_modules" node --test login.test.js
# Both stopped what they had started.
for process in /proc/[0-9]*/cmdline; do
  if { tr '\0' ' ' <"$process"; } 2>/dev/null | grep -qF "$work/venv/bin/rds-local"; then
    echo "wheel: rds-local is still running" >&2
    exit 1
  fi
done
