#!/usr/bin/env bash
# Holds local/workspace-hack to its purpose: what the tests use of the registry is built with the features that the
# demo's build used, so nothing is compiled twice. Needs both builds; reads what cargo says of them.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# One after another, into files: builds wait for one another, and a pipe that nobody reads yet holds up its build.
list() { cargo "${@:2}" --locked --quiet --message-format=json >"$folder/$1"; }
list 1 build --package rds-local --package scheduled-query
list 2 build --workspace
list 3 test --workspace --no-run
python3 - "$folder"/[123] <<'END'
import json, sys

# Package, target and files of each artifact that is not of this workspace, with its features.
def artifacts(path):
    for line in open(path):
        message = json.loads(line)
        if message["reason"] == "compiler-artifact" and not message["package_id"].startswith("path+"):
            name = message["package_id"].rsplit("/", 1)[-1]
            yield name, message["target"]["name"], tuple(message["filenames"]), frozenset(message["features"])

built = {}
wrong = set()
for path in sys.argv[1:]:
    before = {key: dict(variants) for key, variants in built.items()}
    for package, target, files, features in artifacts(path):
        variants = before.get((package, target))
        if variants is not None and files not in variants:
            known = frozenset.union(*variants.values())
            wrong.add(f"{package} ({target}): {', '.join(sorted(features ^ known)) or 'a dependency'}")
        built.setdefault((package, target), {})[files] = features
if wrong:
    sys.exit("Built twice, for other features; ask for them in local/workspace-hack/Cargo.toml:\n" + "\n".join(sorted(wrong)))
print(f"{len(built)} targets of dependencies, each built once")
END
