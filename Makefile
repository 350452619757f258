# One target for each thing a person does. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

FUNCTION ?= scheduled-query
# scheduled-query is ScheduledQueryFunction in its template.
LOGICAL_ID = $(shell sed -E 's/(^|-)(.)/\U\2/g' <<<"$(FUNCTION)")Function
MATURIN = PATH="$$PWD/target/venv/bin:$$PATH" maturin build --quiet --locked --release --zig \
  --compatibility manylinux_2_28 --features vendored-openssl
EVENT ?= events/$(FUNCTION)/customers.json

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install what is missing: PostgreSQL, MariaDB, a C compiler, the tests' Python helpers
	@local/setup.sh --tests

demo: ## Show the main job: a query over an IAM login, and two refusals
	@echo "make demo: installs what is missing, builds rds-local and scheduled-query (3 minutes, once), runs both"
	@local/setup.sh || { echo "make demo failed at: set-up" >&2; exit 1; }
	@cargo build --locked --package rds-local --package scheduled-query || { echo "make demo failed at: build" >&2; exit 1; }
	@target/debug/rds-local demo

serve: ## Start the database, the IAM gate and STS, until Ctrl-C; options in ARGS="…"
	@local/setup.sh $(findstring --s3,$(ARGS))
	@[ -x target/debug/rds-local ] || echo "make serve: builds rds-local first (3 minutes, once)"
	@cargo build --quiet --locked --package rds-local
	@exec target/debug/rds-local serve $(ARGS)

invoke: ## Run a function against `make serve`: FUNCTION=scheduled-query EVENT=events/…
	@[ -x target/debug/$(FUNCTION) ] || echo "make invoke: builds $(FUNCTION) first (a minute, once)" >&2
	@cargo build --quiet --locked --package rds-local --package $(FUNCTION)
	@target/debug/rds-local invoke $(FUNCTION) --event $(EVENT)

test: ## Run every test, on real parts, and every command of the documents
	@local/tests/run.sh

configure: ## Write a database's values into samconfig.toml: DB=mydb FUNCTION=… PROFILE=… REGION=… ARGS="--dry-run"
	@[ -n "$(DB)" ] || { echo "make configure: name the database: make configure DB=mydb" >&2; exit 2; }
	@[ -x target/debug/rds-doctor ] || echo "make configure: builds rds-doctor first (4 to 5 minutes, once; 2 after make demo)"
	@local/setup.sh
	@cargo build --quiet --locked --package rds-local --package rds-doctor
	@target/debug/rds-doctor configure "$(DB)" $(if $(filter command environment,$(firstword $(origin FUNCTION))),--function $(FUNCTION)) \
	  $(if $(PROFILE),--profile $(PROFILE)) $(if $(REGION),--region $(REGION)) $(ARGS)

check: ## Check formatting, clippy and docs, with warnings denied
	@local/setup.sh
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps

build: ## Build a function for Lambda, with sam build: FUNCTION=scheduled-query ARCH=arm64 or x86_64
	@local/setup.sh --deploy
	@ARCH=$(ARCH) target/venv-sam/bin/python local/build.py $(FUNCTION)
	@du -h .aws-sam/$(FUNCTION)/*/bootstrap

wheel: ## Build a Python wheel that carries rds-local and rds-doctor, for test suites in any language
	@local/setup.sh --deploy
	@# maturin packs one crate's programs; what lies in the folder of scripts goes along.
	@rm -rf target/rds_local.data target/wheels/doctor
	@$(MATURIN) --bindings bin --manifest-path doctor/Cargo.toml --out target/wheels/doctor
	@python3 -m zipfile -e target/wheels/doctor/*.whl target/wheels/doctor
	@mkdir -p target/rds_local.data
	@mv target/wheels/doctor/*.data/scripts target/rds_local.data/
	@chmod +x target/rds_local.data/scripts/rds-doctor
	@$(MATURIN) --manifest-path local/Cargo.toml --out target/wheels
	@ls target/wheels/*.whl

# Called by sam build, for the function of the template.
build-%Function:
	@local/package.sh "$$(sed -E 's/([a-z])([A-Z])/\1-\2/g' <<<"$*" | tr A-Z a-z)" "$(ARTIFACTS_DIR)"

template: ## Write what every function's template has, from local/template/
	@local/template/generate.py

cloud: ## Deploy a stack of every function into a local cloud, without Docker, and run them there
	@local/setup.sh --cloud
	@cargo build --quiet --locked --workspace
	@target/venv-sam/bin/python local/cloud.py

sam-local: build ## Run a function with sam local invoke, against make serve ARGS="--listen 0.0.0.0 --public": FUNCTION=… EVENT=…
	@. target/rds-local/env; SAM_CLI_TELEMETRY=0 target/venv-sam/bin/sam local invoke $(LOGICAL_ID) \
	  --template-file .aws-sam/$(FUNCTION)/template.yaml --event $(EVENT) \
	  --env-vars target/rds-local/env.json --add-host host.docker.internal:host-gateway

test-sam: ## Run every function under sam local; needs Docker
	@local/setup.sh --deploy
	@local/test-sam.sh

bench: ## Measure the functions beside their peers and write bench/RESULTS.md, or ONLY=export and print that part
	@local/setup.sh --bench
	@cargo build --quiet --locked --profile bench --workspace
	@bench/run.py $(if $(ONLY),--only $(ONLY))

soak: setup ## Run the long tests: simultaneous logins, time-outs, invocations, messages, fuzzing
	doctor/tests/reversed-words.sh
	cargo build --locked --profile bench --workspace --examples
	ulimit -n $$(ulimit -Hn); STORM=1000 cargo test --locked --profile bench --package rds-iam --test it storm:: -- --nocapture --test-threads 1
	TIMEOUTS=200 cargo test --locked --profile bench --package rds-iam --test it timeouts:: -- --nocapture
	SOAK=200000 cargo test --locked --profile bench --package scheduled-query --test it soak:: -- --nocapture
	HOSTILE=100000 cargo test --locked --profile bench --package rds-iam --test it hostile:: -- --nocapture
	HOSTILE=10000 cargo test --locked --profile bench --package neptune-query --test it hostile -- --nocapture
	MESSAGES=10000 cargo test --locked --profile bench --package event-query --test it deliveries:: -- --nocapture
	MODEL=1000 cargo test --locked --profile bench --package event-query --test it model:: -- --nocapture
	MODEL=2500 cargo test --locked --profile bench --package rds-iam --lib no_schedule -- --nocapture
	ROWS=1000000 FAULTS=60 cargo test --locked --profile bench --package batch-job --test it kills:: -- --nocapture
	EXPORT_FAULTS=200 cargo test --locked --profile bench --package export-query --test it faults::random -- --nocapture
	TEXTS=200000 cargo test --locked --profile bench --package export-query --test it texts:: -- --nocapture
	EXPORT_MB=1000 cargo test --locked --profile bench --package export-query --test it events::memory -- --nocapture
	FUZZ_EXECUTIONS=5000000 cargo test --locked --profile bench --package event-query fuzz -- --nocapture
	FUZZ_EXECUTIONS=10000000 cargo test --locked --profile bench --package rds-local --test it fuzz_tokens:: -- --nocapture
	FUZZ_EXECUTIONS=1000000 cargo test --locked --profile bench --package rds-local --test it fuzz_policies:: -- --nocapture

roots: ## Renew the built-in RDS roots from AWS, or from BUNDLE=file.pem
	@shared/roots/update.sh $(BUNDLE)

clean: ## Remove everything that was built
	cargo clean

.PHONY: help setup demo serve invoke test check configure build template cloud wheel sam-local test-sam bench soak roots clean
