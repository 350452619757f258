#!/usr/bin/env bash
# Brings the version of rds-iam-lambda that the Makefile names into .toolkit. make runs it.
#   ./toolkit.sh ADDRESS VERSION      a git address, and a tag or commit
#   ./toolkit.sh ADDRESS.zip SHA256   a release's zip, and its checksum
#   ./toolkit.sh FOLDER               a folder of this machine, to which .toolkit becomes a link
# What was built there stays, so that a new version builds only what changed.
set -euo pipefail
cd "$(dirname "$0")"
address=${1:-} version=${2:-}

fail() {
  echo "toolkit: $*" >&2
  exit 1
}

is_toolkit() { [ -x "$1/local/package.sh" ]; }

checksum() { if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d' ' -f1; }

# Everything but what was built before.
unpack() {
  command -v unzip >/dev/null || fail "unzip is missing: install it, or name a git address"
  curl --fail --silent --show-error --location --output .toolkit.zip "$address" || fail "cannot fetch $address"
  [ "$(checksum .toolkit.zip)" = "$version" ] ||
    fail "$address has the SHA-256 $(checksum .toolkit.zip), and not $version: another release, or not the real one"
  rm -rf .toolkit.new
  unzip -q .toolkit.zip -d .toolkit.new
  local roots=(.toolkit.new/*)
  is_toolkit "${roots[0]}" || fail "$address is not a release of rds-iam-lambda"
  [ ! -d .toolkit/target ] || mv .toolkit/target "${roots[0]}/"
  rm -rf .toolkit
  mv "${roots[0]}" .toolkit
  rm -rf .toolkit.new .toolkit.zip
}

check_out() {
  git init --quiet .toolkit
  git -C .toolkit fetch --quiet --depth 1 "$address" "$version" || fail "cannot fetch $version of $address"
  git -C .toolkit checkout --quiet --force --detach FETCH_HEAD
  is_toolkit .toolkit || fail "$version of $address is not a version of rds-iam-lambda that this project can use"
}

[ -n "$address" ] || fail "TOOLKIT is empty: name a version in the Makefile"
if [ -z "$version" ]; then
  is_toolkit "$address" || fail "$address is not a folder of rds-iam-lambda: correct TOOLKIT in the Makefile"
  [ -L .toolkit ] || rm -rf .toolkit
  ln -sfn "$(cd "$address" && pwd)" .toolkit
  exit
fi
[ "$(cat .toolkit/.version 2>/dev/null)" != "$*" ] || exit 0
echo "toolkit: fetching $version"
[ ! -L .toolkit ] || rm .toolkit
case $address in
  *.zip) unpack ;;
  *) check_out ;;
esac
echo "$*" >.toolkit/.version
