#!/usr/bin/env bash
# Checks the crate with every set of features that makes sense, signs a published test vector with the smallest one,
# and compares the numbers of packages with docs/reference.md.
set -euo pipefail
cd "$(dirname "$0")/.."

wrong=0
# name in docs/reference.md, and features
while read -r name features; do
  [ "$features" != - ] || features=
  # The crate alone: beside other members, cargo would unite their features.
  cargo clippy --quiet --locked --package rds-iam --lib --no-default-features --features "$features" -- -D warnings
  packages=$(cargo tree --locked --package rds-iam --no-default-features --features "$features" \
    --edges normal --prefix none | sed 's/ (\*)$//' | sort -u | wc -l)
  echo "features $name: checked, $packages packages"
  grep -qF "| $name | $packages |" docs/reference.md || {
    echo "docs/reference.md has another number of packages than $packages for: $name" >&2
    wrong=1
  }
done <<'END'
none -
`role` role
`query` query
`lambda` lambda
`mysql` mysql
`postgres` postgres
`role`,`postgres` role,postgres
`postgres`,`lambda` postgres,lambda
`role`,`postgres`,`lambda` role,postgres,lambda
`neptune`,`lambda` neptune,lambda
END

# A program outside the workspace, as a user's is.
program=target/features
mkdir -p "$program/src"
cat >"$program/src/main.rs" <<'END'
use aws_credential_types::Credentials;
use rds_iam::token::TokenSigner;
use std::time::{Duration, SystemTime};

fn main() {
    let signer = TokenSigner {
        host: "prod-instance.us-east-1.rds.amazonaws.com".into(),
        port: 3306,
        region: "us-east-1".into(),
        user: "peccy".into(),
    };
    let credentials = Credentials::new("akid", "secret", None, None, "test");
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_724_709_600);
    let token = signer.sign(&credentials, now).expect("it signs");
    let expected = "dd0cba843009474347af724090233265628ace491ea17ce3eb3da098b983ad89";
    assert!(token.as_str().ends_with(expected), "another signature");
}
END
cat >"$program/Cargo.toml" <<'END'
[package]
name = "features"
edition = "2024"

[workspace]

[dependencies]
aws-credential-types = "1"
rds-iam = { path = "../../shared", default-features = false }
END
cp Cargo.lock "$program/Cargo.lock"
CARGO_PROFILE_DEV_DEBUG=false cargo run --quiet --manifest-path "$program/Cargo.toml" --target-dir "$program/target"
echo "none: built outside of the workspace, signed a test vector"
exit $wrong
