# Every target makes or reuses .venv by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt

.PHONY: audit test lint bench clean

$(VENV)/core: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) --editable .
	touch $@

$(VENV)/dev: $(VENV)/core
	$(PIP) --editable ".[dev]"
	touch $@

audit: $(VENV)/core
	$(BIN)/posthoc audit base swapped-sft-pool --task arith/pool --task arith/fresh

test: $(VENV)/dev
	$(BIN)/python -m pytest --numprocesses 2

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(VENV)/core
	$(BIN)/python -m tests.benchmarks

clean:
	rm -rf $(VENV) runs
