# Needs Python >= 3.11 with pip, and make. Everything else is installed into .venv.
# `make PYTHON=/path/to/python3.12 dev` picks the interpreter that .venv is made with.

.DEFAULT_GOAL := help
SHELL := /bin/sh

UV_VERSION := 0.13.9
BIN := .venv/bin
SYNCED := .venv/synced
WORKERS ?= 2
UV := .venv/uv/bin/uv
ACTIONLINT_VERSION := v1.7.12
KUSTOMIZE ?= kubectl kustomize
PROMTOOL ?= promtool

.PHONY: help install dev test coverage check words check-actions check-alerts check-kubernetes audit sbom wheel browser test-hostile test-enumeration test-generators fmt mutants fuzz-sql torture torture-long torture-plants restore-drill failover-drill bench bench-quick bench-growth docs docs-serve clean

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
	$(BIN)/python tools/generate_sync_client.py --check
	$(BIN)/pytest -q tests/test_tidy.py tests/ship/test_deployment.py tests/ship/test_workflows.py
	$(BIN)/hadolint Dockerfile
	$(BIN)/shellcheck .ci/run .ci/bootstrap .github/install-servers deploy/compose/initdb/*.sh
	$(BIN)/squawk src/finpay/db/migrations/*.sql
	$(BIN)/yamllint --strict .
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml compose.dev.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/zizmor --offline --quiet --persona pedantic .github
	$(BIN)/caddy validate --adapter caddyfile --config deploy/caddy/Caddyfile \
		2>.venv/caddy.log || { cat .venv/caddy.log; exit 1; }
	git ls-files -co --exclude-standard | xargs ls -d 2>/dev/null | xargs $(BIN)/kingfisher scan \
		--quiet --no-validate --no-update-check --exclude-rule betterleaks.curl-auth-header

words: $(SYNCED) ## Count the banned words that are left (IN="docs src/finpay/gate" lists them)
	@$(BIN)/python -m tests.banned_words $(IN)

# These tools have no wheel.
check-actions: ## Lint the workflows with actionlint (needs Go)
	go run github.com/rhysd/actionlint/cmd/actionlint@$(ACTIONLINT_VERSION)

check-alerts: ## Check the alert rules and play their tests (needs promtool, of Debian's prometheus)
	cd deploy/prometheus && $(PROMTOOL) check rules alerts.yml && $(PROMTOOL) test rules alerts.test.yml

check-kubernetes: $(SYNCED) ## Render and check the Kubernetes manifests (needs kubectl)
	$(KUSTOMIZE) deploy/kubernetes/example | $(BIN)/python -m tests.ship.kubernetes

audit: $(SYNCED) ## Look for known vulnerabilities in the packages of uv.lock (needs the network)
	$(UV) export --quiet --frozen --all-extras --all-groups --no-emit-project \
		--output-file .venv/locked.txt
	$(BIN)/pip-audit --strict --disable-pip --require-hashes --requirement .venv/locked.txt

sbom: $(SYNCED) ## Write the bill of materials of the server: dist/finpay.cdx.json
	mkdir -p dist
	$(UV) export --quiet --frozen --no-dev --extra server --format cyclonedx1.5 \
		--preview-features sbom-export \
		--output-file dist/finpay.cdx.json

wheel: $(SYNCED) ## Build the wheel and the source archive into dist/
	$(UV) build --quiet --out-dir dist

browser: $(SYNCED) ## Test the pages in a real browser (needs Chromium or Chrome)
	$(BIN)/pytest tests/browser $(ARGS)

test-hostile: $(SYNCED) ## Send 10 000 generated hostile requests (HOSTILE_REQUESTS=n HOSTILE_SEED=m)
	HOSTILE_REQUESTS=$(or $(HOSTILE_REQUESTS),10000) $(if $(HOSTILE_SEED),HOSTILE_SEED=$(HOSTILE_SEED)) \
		$(BIN)/pytest tests/hostile/test_generated_requests.py $(ARGS)

test-enumeration: $(SYNCED) ## Time 1 000 logins and forgotten passwords of known and unknown users
	ENUMERATION_SAMPLES=$(or $(SAMPLES),1000) $(BIN)/pytest -rP tests/hostile/test_enumeration.py $(ARGS)

test-generators: $(SYNCED) ## Generate Go and Java clients and send money with them (needs JDK, Maven, Go)
	$(BIN)/pytest tests/hostile/generated_clients.py $(ARGS)

fmt: $(SYNCED) ## Format, and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

mutants: $(SYNCED) ## Plant bugs in a copy of the money code; each must fail a test
	$(BIN)/python -m tests.mutants

fuzz-sql: $(SYNCED) ## Call the SQL functions of the app's role 10 000 times (SEED=1)
	SQL_CALLS=10000 SQL_SEED=$(or $(SEED),0) $(BIN)/pytest tests/hostile/test_sql_functions.py

torture: $(SYNCED) ## Kill and disconnect its own servers under load; nothing may be lost (SEED=n MINUTES=m)
	$(BIN)/python -m torture --minutes $(or $(MINUTES),1) $(if $(SEED),--seed $(SEED)) $(ARGS)

torture-long: $(SYNCED) ## The same with more than 300 kills: about 15 minutes
	$(BIN)/python -m torture --minutes 13 $(if $(SEED),--seed $(SEED)) $(ARGS)

torture-plants: $(SYNCED) ## Plant bugs in a copy of the tree; the harness must find each
	$(BIN)/python -m tests.mutants.torture

restore-drill: $(SYNCED) ## Lose the data, restore it from each kind of backup, prove the ledger
	$(BIN)/python -m tests.drills.restore $(ARGS)

failover-drill: $(SYNCED) ## Kill the primary under load, promote the standby, count what is lost
	$(BIN)/python -m tests.drills.failover $(ARGS)

bench: $(SYNCED) ## Measure everything on this machine (15 minutes; writes docs/performance)
	$(BIN)/python -m benchmarks all

bench-quick: $(SYNCED) ## Measure the main figures, in less than two minutes
	$(BIN)/python -m benchmarks quick --seconds 5

bench-growth: $(SYNCED) ## Measure a ledger of 10 million transactions (an hour, 40 GB)
	$(BIN)/python -m benchmarks.growth

docs: $(SYNCED) ## Generate files from the code, check docs/, build the site
	$(BIN)/python tools/generate_sync_client.py
	$(BIN)/python docs/generate.py
	$(BIN)/pytest -q tests/test_docs.py tests/ship/test_docs_site.py
	$(BIN)/python docs/site.py
	$(BIN)/zensical build --strict --clean -f .zensical.yml
	@echo "The site is in site/: open site/index.html, or run make docs-serve"

docs-serve: $(SYNCED) ## Serve the documentation site at http://127.0.0.1:8000
	$(BIN)/python docs/site.py
	$(BIN)/zensical serve -f .zensical.yml

clean: ## Remove .venv and caches; the data in .finpay stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# One sync per change of the lock file. The bootstrap is a script, so that it can explain a failure.
$(SYNCED): uv.lock pyproject.toml
	@PYTHON="$(PYTHON)" UV_VERSION=$(UV_VERSION) sh .ci/bootstrap
	@touch $@
