# Each target sets up all it needs: Python 3.11 and make are enough.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint bench clean

# The main job on two cores: prepare data, run a study of teachers, weights and starts.
demo: $(VENV)/runtime
	$(BIN)/python jobs/demo.py

# Unit tests on both cores, then those that take longer, then those that start Ray. The programs of
# bench that start Ray have slow tests of their own: pytest -m "ray and slow".
test: $(VENV)/dev
	$(BIN)/pytest -n 2
	tests/browser/install_chromium.sh
	$(BIN)/pytest -n 2 -m "slow and not ray"
	$(BIN)/pytest -m "ray and not slow"

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/dev
	$(BIN)/python tests/bench/overhead.py
	$(BIN)/python tests/bench/streaming.py
	$(BIN)/python tests/bench/sweep.py
	$(BIN)/python tests/bench/halving.py
	$(BIN)/python tests/bench/thousand.py

clean:
	rm -rf $(VENV) data runs sweeps

$(VENV)/runtime: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/dev: $(VENV)/runtime
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev
	touch $@
