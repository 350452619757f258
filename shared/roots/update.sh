#!/usr/bin/env bash
# Rebuilds rds.pem (one section a region) from AWS's bundle, without what has expired.
#   shared/roots/update.sh [BUNDLE.pem ...]     default: fetched from AWS
# GovCloud and China publish their own bundles: download those and name them too.
set -euo pipefail
bundle_url=https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ $# -eq 0 ]; then
  echo "fetching $bundle_url"
  curl --fail --silent --show-error --max-time 60 --output "$work/bundle.pem" "$bundle_url" || {
    echo "cannot fetch AWS's bundle; download it elsewhere and run: make roots BUNDLE=global-bundle.pem" >&2
    exit 1
  }
  set -- "$work/bundle.pem"
fi

mkdir "$work/certs"
cat -- "$@" | awk -v dir="$work/certs" '
  /-----BEGIN CERTIFICATE-----/ { n++; file = sprintf("%s/%04d.pem", dir, n) }
  file { print > file }
  /-----END CERTIFICATE-----/ { close(file); file = "" }'

for cert in "$work"/certs/*.pem; do
  name=$(openssl x509 -in "$cert" -noout -subject -nameopt multiline | sed -n 's/^ *commonName *= //p')
  # "Amazon RDS eu-west-1 Root CA RSA2048 G1"; Beta and Preview are other services.
  region=$(sed -nE 's/^Amazon RDS ([a-z]{2}(-[a-z]+)+-[0-9]+) .*/\1/p' <<<"$name")
  [ -n "$region" ] || { echo "left out: $name"; continue; }
  openssl x509 -in "$cert" -noout -checkend 0 >/dev/null || { echo "expired: $name"; continue; }
  { echo "## $name"; openssl x509 -in "$cert"; } >>"$work/$region.section"
done

ls "$work"/*.section >/dev/null 2>&1 || { echo "no RDS root in $*" >&2; exit 1; }
for section in "$work"/*.section; do
  echo "# $(basename "$section" .section)"
  cat "$section"
done >"$work/rds.pem"
mv "$work/rds.pem" "$here/rds.pem"
chmod 644 "$here/rds.pem"
echo "$here/rds.pem: $(grep -c '^# ' "$here/rds.pem") regions, $(grep -c BEGIN "$here/rds.pem") roots"
