# Needs Python >= 3.11 with pip, and make. Everything else goes into .venv.
# `make PYTHON=/path/to/python3.12 dev` picks the interpreter that .venv is made with.

.DEFAULT_GOAL := help
SHELL := /bin/sh

UV_VERSION := 0.13.9
BIN := .venv/bin
SYNCED := .venv/synced
WORKERS ?= 2

.PHONY: help install dev test coverage check fmt mutants bench docs clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(SYNCED) ## Install what is missing into .venv

dev: $(SYNCED) ## Start PostgreSQL, Valkey and the API; Ctrl-C stops them
	@exec $(BIN)/finpay dev

test: $(SYNCED) ## Run all tests (ARGS="tests/sql -k verify" for some)
	$(BIN)/pytest -n $(WORKERS) $(ARGS)

coverage: $(SYNCED) ## Run all tests and show which lines of the money code they miss
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n $(WORKERS) $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under 95 \
		--include 'src/finpay/ledger/*,src/finpay/gate/*,src/finpay/identity/*'

check: $(SYNCED) ## Formatting, lint, types, arrows, tidiness
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/test_tidy.py

fmt: $(SYNCED) ## Format, and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

mutants: $(SYNCED) ## Plant bugs in a copy of the money code; each must fail a test
	$(BIN)/python -m tests.mutants

bench: $(SYNCED) ## Measure transfers per second on this machine
	$(BIN)/python -m benchmarks

docs: $(SYNCED) ## Write the pages that come from the code, and check all of docs/
	$(BIN)/python docs/generate.py
	$(BIN)/pytest -q tests/test_docs.py

clean: ## Remove .venv and caches; the data in .finpay stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# One sync per change of the lock file. The bootstrap is a script so that it can say what is wrong.
$(SYNCED): uv.lock pyproject.toml
	@PYTHON="$(PYTHON)" UV_VERSION=$(UV_VERSION) sh .ci/bootstrap
	@touch $@
