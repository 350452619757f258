# One target for each thing a person does. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

FUNCTION ?= scheduled-query
EVENT ?= events/$(FUNCTION)/customers.json

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install what is missing: PostgreSQL, a C compiler, the tests' Python helpers
	@local/setup.sh --tests

demo: ## Show the main job: a query over an IAM login, and two refusals
	@local/setup.sh
	@cargo build --locked --workspace
	@target/debug/rds-local demo

serve: ## Start PostgreSQL, the IAM gate and STS, until Ctrl-C; options in ARGS="…"
	@local/setup.sh
	@cargo build --quiet --locked --workspace
	@exec target/debug/rds-local serve $(ARGS)

invoke: ## Run a function against `make serve`: FUNCTION=scheduled-query EVENT=events/…
	@cargo build --quiet --locked --workspace
	@target/debug/rds-local invoke $(FUNCTION) --event $(EVENT)

test: setup ## Run every test, on real parts, and every command of the documents
	cargo test --locked --workspace
	docs/check.sh

check: ## Formatting, clippy and docs, with warnings denied
	@local/setup.sh
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps

roots: ## Renew the built-in RDS roots from AWS, or from BUNDLE=file.pem
	@shared/roots/update.sh $(BUNDLE)

clean: ## Remove everything that was built
	cargo clean

.PHONY: help setup demo serve invoke test check roots clean
