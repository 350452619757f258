#!/usr/bin/env bash
# Checks the templates: AWS's linters, a security linter, and the tests beside this file.
set -euo pipefail
cd "$(dirname "$0")/../../.."
export PYTHONDONTWRITEBYTECODE=1 SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1

local/template/generate.py --check
templates=(template.yaml functions/*/template.yaml examples/*/template.yaml)
target/venv-sam/bin/cfn-lint "${templates[@]}"
echo "cfn-lint: clean"
target/venv-sam/bin/actionlint
echo "actionlint: clean"
printf '%s\n' template.yaml functions/*/template.yaml |
  xargs -P 4 -n 1 target/venv-sam/bin/sam validate --lint --template-file
files=()
for template in "${templates[@]}"; do files+=(--file "$template"); done
target/venv-checkov/bin/checkov "${files[@]}" --config-file local/tests/template/checkov.yaml 2>/dev/null ||
  { echo "checkov finds fault with a template" >&2; exit 1; }
target/venv-sam/bin/pytest -q -rP --show-capture=stdout -p no:cacheprovider local/tests/template 2>&1 | grep -vE '^(---|___|_ test|Starting a new|===.*(PASSES|warnings))'
