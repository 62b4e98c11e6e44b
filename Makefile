# Everything is set up by itself in .venv, from nothing but Python (>= 3.11) and make.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
OLDEST_PIP := .venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check \
	--constraint constraints-oldest.txt

# Waiting threads that spin fight over the cores of a shared machine.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test test-slow test-oldest lint types check builtin clean

demo: .venv/runtime  ## name what is heard in a recording: make demo AUDIO=my.wav
	@$(BIN)/python scripts/demo.py $(if $(AUDIO),"$(AUDIO)")

test: check  ## lint, types and the tests that every commit passes
	$(BIN)/python -m pytest

test-slow: .venv/development  ## the tests that take longer
	$(BIN)/python -m pytest -m "slow and not gpu"

test-oldest: .venv-oldest/installed  ## what needs no extra, with the oldest packages that are allowed
	.venv-oldest/bin/python -m pytest tests/audio tests/features tests/models tests/inference \
		tests/test_checkpoint.py --ignore tests/inference/test_plot.py

check: lint types

lint: .venv/development
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/development
	$(BIN)/mypy

builtin: .venv/development  ## train the shipped models anew (hours): docs/results/builtin.md
	bash scripts/train_builtin.sh

# torch first: what requires it must find it, and not fetch another build.
.venv/runtime: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) torch
	$(PIP) --editable .
	@touch $@

.venv/development: .venv/runtime
	$(PIP) --editable '.[dev]'
	@touch $@

.venv-oldest/installed: pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv .venv-oldest
	$(OLDEST_PIP) torch
	$(OLDEST_PIP) --editable . pytest
	@touch $@

clean:
	rm -rf .venv .venv-oldest
