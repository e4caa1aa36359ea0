# People and CI use the same targets, which need make and Python 3.11 or newer: `make test PYTHON=python3.13`.
PYTHON ?= python3

# `stale`, if .venv must be made anew: its Python is gone, too old, or not the one that was given as PYTHON.
STALE := $(shell .ci/venv stale $(if $(filter-out file,$(origin PYTHON)),$(PYTHON)))

.PHONY: help install run test check format nemesis journal restart stalled bench conformance contract fuzz examples stale

help: ## Print these targets
	@sed -n 's/^\([a-z]*\): .*## /make \1	/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18

install: .venv/check.installed ## Install everything for development into .venv

run: .venv/dev.installed ## Serve here, OpenAI and DynamoDB simulated: PORT=5002, DATA=quotas.json keeps the quotas
	@.venv/bin/gptdock dev $(if $(DATA),--data '$(DATA)')

test: .venv/test.installed .venv/bin/promtool .venv/axe ## Run all tests, or only T=tests/ledger
	.venv/bin/pytest -n auto --dist worksteal $(T)

check: .venv/check.installed ## Check lint, formatting and types, as CI does
	.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy gptdock tests

format: .venv/check.installed ## Sort imports and format
	.venv/bin/ruff check --fix . && .venv/bin/ruff format .

nemesis: .venv/test.installed ## Run real processes through SEEDS=500 seeds of kills, pauses and lost answers
	.venv/bin/python -m tests.long.nemesis 0 $(or $(SEEDS),500)

journal: .venv/test.installed ## Compare REQUESTS=2000 random requests on all routes with what OpenAI generated
	.venv/bin/python -m tests.long.journal $(or $(REQUESTS),2000)

restart: .venv/test.installed ## Restart both processes while CALLERS=50 ask for 30 s; with FROM=REV upgrade, and go back
	.venv/bin/python -m tests.long.restart $(or $(CALLERS),50) 30 $(FROM)

stalled: .venv/test.installed ## Measure what 500 callers who stop reading cost 50 good ones
	.venv/bin/python -m tests.long.stalled 500 50

bench: .venv/test.installed ## Measure what GPTDock costs beside a bare relay: ROWS=json,event RUNS=3 COMPARE=REV
	.venv/bin/python -m tests.long.bench $(if $(ROWS),--rows $(ROWS)) $(if $(RUNS),--runs $(RUNS)) $(if $(COMPARE),--compare $(COMPARE)) $(if $(JSON),--json $(JSON))

conformance: .venv/test.installed .venv/ministack/bin/ministack ## Run the DynamoDB tests on a second implementation
	.venv/bin/python -m tests.long.conformance .venv/ministack/bin/ministack

contract: .venv/test.installed ## Compare the service with its OpenAPI document, EXAMPLES=200 for each route
	EXAMPLES=$(or $(EXAMPLES),200) .venv/bin/pytest tests/http/test_openapi.py -s

fuzz: .venv/test.installed .venv/fuzz.installed ## Fuzz the parsers for SECONDS=60 seconds
	.venv/bin/python -m tests.long.fuzz $(or $(SECONDS),60)

examples: .venv/test.installed ## Try the programs and packages in JavaScript; needs node and npm
	.venv/bin/python -m tests.long.javascript

release: .venv/bin/pip ## Build the wheel into dist/, and check it in an environment of its own
	rm -rf build dist .venv/release
	$(PYTHON) -m venv .venv/release
	.venv/release/bin/pip install -q --require-hashes -r supervisor/requirements.txt
	.venv/release/bin/pip wheel -q --no-deps --no-build-isolation -w dist .
	.venv/release/bin/pip install -q --no-deps --no-index dist/gptdock-*.whl
	cd .venv/release && bin/python -c 'import pkgutil, gptdock; names = [each.name for each in pkgutil.walk_packages(gptdock.__path__, "gptdock.") if ".dev" not in each.name]; [__import__(name) for name in names]; print(len(names), "modules of", gptdock.__path__[0])' && bin/gptdock --help > /dev/null && ls ../../dist

# One stamp for each extra of setup.cfg, so that `make run` installs no more than it needs.
.venv/%.installed: setup.cfg pyproject.toml $(STALE) | .venv/bin/pip
	@echo "Installing into .venv, about $(if $(filter dev,$*),30,60) s..."
	@.venv/bin/pip install -qq --disable-pip-version-check -e '.[$*]' && touch $@

.venv/bin/pip: $(STALE)
	@.ci/venv make $(PYTHON)

# Debian's, unpacked and not installed, so that no service starts.
.venv/bin/promtool: | .venv/bin/pip
	.ci/promtool $@

# Only its file axe.min.js is used: axe-core judges the page in the browser of the test.
.venv/axe: | .venv/bin/pip
	.venv/bin/pip install -qq --disable-pip-version-check --no-deps --target $@ axe-playwright-python==0.1.8

.venv/ministack/bin/ministack: | .venv/bin/pip
	$(PYTHON) -m venv .venv/ministack && .venv/ministack/bin/pip install 'ministack>=1.5,<2'
