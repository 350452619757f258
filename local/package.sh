#!/usr/bin/env bash
# Builds the workspace's functions for Lambda and lays one function's package out.
#   local/package.sh FUNCTION FOLDER        called by `sam build`, through the Makefile
# The architecture is $ARCH, else what samconfig.toml sets, else the template's default.
# DEBUG=1 lays out the debug build of this machine instead, for make cloud: quick, and not for Lambda.
set -euo pipefail
cd "$(dirname "$0")/.."
function=$1 package=$2

lay_out() {
  mkdir -p "$package"
  cp "$1" "$package/bootstrap"
  # Another engine's queries are its function's, and no one else's package grows by them.
  mkdir -p "$package/queries"
  case $function in
    neptune-query | mysql-query) cp -R "queries/${function%-query}" "$package/queries/" ;;
    *)
      cp -R queries/. "$package/queries/"
      rm -rf "$package/queries/neptune" "$package/queries/mysql"
      ;;
  esac
  # Roots that are not built in: PGSSLROOTCERT=certificates/FILE.pem, for 4 KB of environment hold no bundle.
  if compgen -G 'certificates/*.pem' >/dev/null; then
    mkdir -p "$package/certificates"
    cp certificates/*.pem "$package/certificates/"
  fi
  # SSL_CERT_FILE of template.yaml: what STS's certificates chain to.
  cat shared/roots/amazon.pem shared/roots/starfield.pem >"$package/aws-roots.pem"
}

if [ -n "${DEBUG:-}" ]; then
  cargo build --quiet --locked --workspace >&2
  lay_out "target/debug/$function"
  exit 0
fi

configured=$(sed -nE 's/.*Architecture=[\\"]*(arm64|x86_64).*/\1/p' samconfig.toml | head -n 1)
arch=${ARCH:-${configured:-arm64}}
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

# All functions at once, so that the second one finds everything compiled; but those of another engine alone,
# because cargo would build their features of the crate into the others too.
packages=()
for manifest in functions/*/Cargo.toml; do
  name=$(basename "$(dirname "$manifest")")
  case "$name $function" in
    *neptune-query* | *mysql-query*) [ "$name" = "$function" ] || continue ;;
  esac
  packages+=(--package "$name")
done
cargo-lambda lambda build --release --locked --features vendored-openssl "$flag" "${packages[@]}" >&2

binary=target/lambda/$function/bootstrap
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
