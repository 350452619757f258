#!/usr/bin/env bash
# Makes projects with rds-local new, and does with them what their README says: the test, the package, a template that
# AWS's linters and checkov take, and a version of the toolkit from git and from a zip. What is built already is built
# once.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1
cargo build --quiet --locked --workspace
cd "$work"
new() { "$root/target/debug/rds-local" new "$@" >"$work/told-$1"; }

fail() {
  echo "new: $*" >&2
  exit 1
}

# Every function alone and together. A name that is 48 long is the longest.
all=event-query,batch-job,export-query
longest=a$(printf -- '-abcde%.0s' {1..7})-abcd
new "$longest"
for functions in event-query batch-job export-query "$all"; do new "with-${functions//,/-}" --with "$functions"; done
new own --crate
templates=(*/template.yaml)
"$root/target/venv-sam/bin/cfn-lint" "${templates[@]}"
echo "new: cfn-lint finds nothing in ${#templates[@]} templates"
"$root/target/venv-checkov/bin/checkov" --file own/template.yaml --file "with-${all//,/-}/template.yaml" \
  --config-file "$root/local/tests/template/checkov.yaml" 2>/dev/null || fail "checkov finds fault with a template"
for template in own "$longest" "with-${all//,/-}"; do
  (cd "$template" && "$root/target/venv-sam/bin/sam" validate >/dev/null) || fail "sam validate refuses $template"
done

project=$work/with-${all//,/-}
cd "$project"
echo "new: make test in a project with $all"
make --silent test >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "its test failed"; }
grep -c ': ok$' "$work/log"
# The test can fail.
sed -i.old 's/Alice/Eve/' tests/data.sql
! make --silent test >"$work/log" 2>&1 || fail "its test passes with other data"
grep -q 'orders_by_customer.json: wrong' "$work/log" || { cat "$work/log" >&2; fail "its test names no event"; }
mv tests/data.sql.old tests/data.sql
mv queries/purge_orders.sql purge_orders.old
! make --silent test >"$work/log" 2>&1 || fail "its test passes without a query that is scheduled"
grep -q 'template.yaml runs the query purge_orders: ' "$work/log" || { cat "$work/log" >&2; fail "no word of the query"; }
mv purge_orders.old queries/purge_orders.sql

echo "new: sam build packages its own queries"
DEBUG=1 make --silent build >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "its build failed"; }
for function in ScheduledQueryFunction EventQueryFunction BatchJobFunction ExportQueryFunction; do
  package=.aws-sam/build/$function
  [ -x "$package/bootstrap" ] && [ -s "$package/aws-roots.pem" ] || fail "$package is no package"
  diff -r queries "$package/queries" || fail "$package has other queries than the project"
done

# What git keeps of it, in a clone: nothing that was built, and everything that the test needs.
git init --quiet && git add . && git -c user.name=a -c user.email=a@example.com commit --quiet --message first
[ "$(git ls-files | wc -l)" = "$(grep -c '^  [^ ]*$' "$work/told-${project##*/}")" ] || fail "git would keep more than was made"

# A version from git and from a zip: fetched once, and what was built stays.
git clone --quiet --depth 1 "file://$root" "$work/origin"
commit=$(git -C "$work/origin" rev-parse HEAD)
./toolkit.sh "file://$work/origin" "$commit" >/dev/null
mkdir -p .toolkit/target && touch .toolkit/target/built
[ -z "$(./toolkit.sh "file://$work/origin" "$commit")" ] || fail "the same version is fetched again"
git -C "$work/origin" archive --format zip --prefix rds-iam-lambda-1/ --output "$work/1.zip" HEAD
sum=$(sha256sum "$work/1.zip" | cut -d' ' -f1)
./toolkit.sh "file://$work/1.zip" "$sum" >/dev/null
[ -x .toolkit/local/package.sh ] && [ -e .toolkit/target/built ] || fail "a zip does not replace a version"
if said=$(./toolkit.sh "file://$work/1.zip" "${sum/[0-9]/a}a" 2>&1); then fail "a zip with another checksum is taken"; fi
[[ $said == *"has the SHA-256 $sum"* ]] || fail "$said"
if said=$(make --silent test TOOLKIT=/no/such/folder 2>&1); then fail "a missing toolkit is taken"; fi
[[ $said == *"/no/such/folder is not a folder of rds-iam-lambda: correct TOOLKIT in the Makefile"* ]] || fail "$said"
echo "new: versions of the toolkit from git, from a zip and from a folder"

# A function of one's own, outside of the workspace. With the workspace's features and folder, its dependencies are built
# already.
cd "$work/own"
sed -i.old '/^\[dependencies\]$/a\
workspace-hack = { path = ".toolkit/local/workspace-hack" }
' Cargo.toml
export CARGO_TARGET_DIR=$root/target
echo "new: make test in a project with a function of its own"
start=$SECONDS
make --silent test >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "its test failed"; }
grep -q '^test result: ok. 1 passed' "$work/log" || { cat "$work/log" >&2; fail "it has no test"; }
sed -i.old 's/Alice/Eve/' tests/data.sql
! make --silent test >"$work/log" 2>&1 || fail "its test passes with other data"
grep -q 'Orders.None' "$work/log" || { cat "$work/log" >&2; fail "its test does not show the function's error"; }
DEBUG=1 make --silent build >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "its build failed"; }
[ -x .aws-sam/build/Function/bootstrap ] || fail "its package has no function"
rm ./*.old tests/*.old
git init --quiet && git add .
[ "$(git ls-files | wc -l)" = "$(($(grep -c '^  [^ ]*$' "$work/told-own") + 1))" ] || fail "git would keep more than was made and Cargo.lock"
echo "new: tested and packaged in $((SECONDS - start)) s"
