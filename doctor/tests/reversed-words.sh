#!/usr/bin/env bash
# Runs the doctor's tests with every message of the crate rds-iam in reverse word order: a diagnosis that changes
# was read out of a message instead of a typed fact.
set -euo pipefail
cd "$(dirname "$0")/../.."
RDS_IAM_REVERSED_WORDS=1 cargo test --locked --quiet --package rds-doctor --test it
