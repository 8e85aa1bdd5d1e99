# One door: everything that a person or CI does here goes through `make`.
# Needs Python 3.11 or newer and make; the rest is installed into .venv at the first call.

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: help setup demo test campaign soak lint format golden bench clean

help:
	@echo "make demo    plan, apply, change, drift and destroy on the built-in sandbox (no credentials)"
	@echo "make test    run the tests"
	@echo "make campaign 500 runs of the fault campaign, in minutes"
	@echo "make soak    the long fault campaign: RUNS=5000 SEED=1"
	@echo "make lint    ruff and mypy --strict"
	@echo "make golden  write the golden files anew (then read the diff)"
	@echo "make bench   measure speed and memory against the floors"

$(STAMP): requirements-dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 or newer is needed; set PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "setting up .venv, once" >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $(STAMP)

setup: $(STAMP)

demo: $(STAMP)
	@$(BIN)/python examples/demo.py $(BIN)/reconciler

test: $(STAMP)
	$(BIN)/python -m pytest -n auto

campaign: $(STAMP)
	$(BIN)/python -m pytest -n 2 -m campaign tests/crash

RUNS ?= 5000
SEED ?= 1
soak: $(STAMP)
	$(BIN)/python -m tests.crash.campaign --runs $(RUNS) --seed $(SEED)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

golden: $(STAMP)
	$(BIN)/python -m pytest tests/golden --golden-update
	git diff --stat -- tests/golden

bench: $(STAMP)
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf .venv .hypothesis .mypy_cache .ruff_cache build dist
