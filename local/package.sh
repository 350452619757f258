#!/usr/bin/env bash
# Builds a function for Lambda and lays its package out.
#   local/package.sh FUNCTION FOLDER        called by `sam build`, through the Makefile
# The architecture is $ARCH, else what local/build.py finds.
# PROJECT=FOLDER, of a project that rds-local new made, packages its queries and certificates instead, and its own
# function if it is a crate.
# DEBUG=1 lays out the debug build of this machine instead, for make cloud: quick, and not for Lambda.
set -euo pipefail
cd "$(dirname "$0")/.."
function=$1 package=$2 project=${PROJECT:-$PWD}
crate=$PWD
[ ! -f "$project/Cargo.toml" ] || crate=$project
built=${CARGO_TARGET_DIR:-$crate/target}

lay_out() {
  mkdir -p "$package"
  cp "$1" "$package/bootstrap"
  # Another engine's queries are its function's, and no one else's package grows by them.
  mkdir -p "$package/queries"
  case $function in
    neptune-query | mysql-query) cp -R "$project/queries/${function%-query}" "$package/queries/" ;;
    *)
      cp -R "$project/queries/." "$package/queries/"
      rm -rf "$package/queries/neptune" "$package/queries/mysql"
      ;;
  esac
  # Roots that are not built in: PGSSLROOTCERT=certificates/FILE.pem, for 4 KB of environment hold no bundle.
  if compgen -G "$project/certificates/*.pem" >/dev/null; then
    mkdir -p "$package/certificates"
    cp "$project"/certificates/*.pem "$package/certificates/"
  fi
  # SSL_CERT_FILE of the templates: what STS's certificates chain to.
  cat shared/roots/amazon.pem shared/roots/starfield.pem >"$package/aws-roots.pem"
}

if [ -n "${DEBUG:-}" ]; then
  (cd "$crate" && cargo build --quiet --locked --workspace >&2)
  lay_out "$built/debug/$function"
  exit 0
fi

python=target/venv-sam/bin/python
[ -x "$python" ] || python=python3
arch=${ARCH:-$("$python" local/build.py "$function" --architecture)}
case $arch in
  arm64) target=aarch64-unknown-linux-gnu flag=--arm64 ;;
  x86_64) target=x86_64-unknown-linux-gnu flag=--x86-64 ;;
  *) echo "package: ARCH is arm64 or x86_64, not $arch" >&2; exit 1 ;;
esac

PATH="$PWD/target/venv/bin:$PATH"
command -v cargo-lambda >/dev/null || {
  echo "package: cargo-lambda is missing: run make setup, or pip install cargo-lambda" >&2
  exit 1
}

(cd "$crate" && cargo-lambda lambda build --release --locked --features vendored-openssl "$flag" --package "$function" >&2)

binary=$built/lambda/$function/bootstrap
machine=$(od -An -tu2 -j18 -N2 "$binary" | tr -d ' ')
case $target:$machine in
  aarch64*:183 | x86_64*:62) ;;
  *) echo "package: $binary was not built for $arch" >&2; exit 1 ;;
esac
# Amazon Linux 2023 has glibc 2.34.
newest=$(grep -aoE 'GLIBC_2\.[0-9]+' "$binary" | sort -uV | tail -n 1)
if [ "$(printf '%s\nGLIBC_2.34\n' "$newest" | sort -V | tail -n 1)" != GLIBC_2.34 ]; then
  echo "package: $binary needs $newest, and Amazon Linux 2023 has GLIBC_2.34" >&2
  exit 1
fi

lay_out "$binary"
echo "$function for $arch: $(du -h "$package/bootstrap" | cut -f1) binary, newest symbol $newest" >&2
