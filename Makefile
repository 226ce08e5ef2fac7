# PromptLab's commands. `make run` and `make test` do all the set-up; both are safe to repeat.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Tests of one xdist_group share an engine host, a browser or a server, and so a process.
SIDE_BY_SIDE := -n logical --maxprocesses 4 --dist loadgroup
COMPILE := $(BIN)/pip-compile --quiet --generate-hashes --strip-extras --unsafe-package torch --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options -c requirements-torch-cpu.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Bytecode is kept whatever the shell says: else every process that is started compiles the project, and pytest every test, anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test test-all bench bench-pages check lock clean

help: ## Show the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(VENV)/.worker ## Start PromptLab with the demonstration on this machine
	@$(BIN)/python manage.py start

test: $(VENV)/.dev ## The fast suite: no server, no browser, no network
	@# Tables straight from the models, in a tenth of the time; every other suite applies the migrations.
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) --no-migrations $(PYTEST_FLAGS)

test-all: $(VENV)/.dev ## Every suite, with the grid of families; needs PostgreSQL, Redis and Chromium (see .ci/run)
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not dspy and not gpu"

bench: $(VENV)/.dev ## The engine against its peers, on an idle machine; QUICK=1 for a first look, BENCH_ONLY=a1,b for some
	$(BIN)/python -m workers.bench

bench-pages: $(VENV)/.dev ## Queries and server time of the heaviest pages, with 50 runs and 150,000 predictions
	$(BIN)/python -m tests.page_times

check: $(VENV)/.dev ## Lint, types, import law, templates, migrations
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/djlint templates --lint --quiet
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/mypy .

lock: $(VENV)/.dev ## Pin every dependency anew, with hashes
	$(COMPILE) --extra s3 -o requirements-web.lock pyproject.toml
	$(COMPILE) --extra worker --extra s3 -c requirements-web.lock -o requirements-worker.lock pyproject.toml
	$(COMPILE) --extra worker --extra s3 --extra dev -c requirements-worker.lock -o requirements-dev.lock pyproject.toml
	$(COMPILE) --extra dspy -c requirements-worker.lock -o requirements-dspy.lock pyproject.toml
	@# torch is left out on purpose; pip-compile's warning about it does not belong in the files.
	@sed -i '/^# WARNING: The following packages were not pinned/,$$d' requirements-*.lock

clean: ## Remove the environment; data in var/ stays
	rm -rf $(VENV)

# The environment is made once and brought up to date when a lock changes.
$(VENV)/bin/python:
	@$(PYTHON) promptlab/preflight.py
	$(PYTHON) -m venv $(VENV)

$(VENV)/.worker: requirements-worker.lock requirements-torch-cpu.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -r requirements-torch-cpu.txt
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements-worker.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.worker | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements-dev.lock
	@touch $@
