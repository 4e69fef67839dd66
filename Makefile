# Each target sets up all it needs: Python 3.11 and make are enough.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test long lint bench gpu soak audit clean

# The main job on two cores: prepare data, run a study of teachers, weights and starts.
demo: $(VENV)/runtime
	$(BIN)/python jobs/demo.py

# Tests without Ray on both cores, then those that start it: by files, in the order of
# tests/ray/conftest.py.
test: $(VENV)/dev
	tests/install.sh chromium chromium chromium-browser google-chrome google-chrome-stable
	tests/install.sh iproute2 ip
	$(BIN)/pytest -n 2 --dist worksteal -m "not ray and not gpu and not long"
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -v -m "ray and not long" \
		tests/ray tests/cluster

# Before a release: more kills, interrupts and lost machines, and the programs of bench in small.
long: $(VENV)/dev
	$(BIN)/pytest -m long

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/dev $(VENV)/peers/tried
	$(BIN)/python tests/bench/overhead.py
	$(BIN)/python tests/bench/streaming.py
	$(BIN)/python tests/bench/vocabulary.py
	$(BIN)/python tests/bench/frozen.py
	$(BIN)/python tests/bench/machine.py
	$(BIN)/python tests/bench/cache.py
	$(BIN)/python tests/bench/shared_process.py
	$(BIN)/python tests/bench/sweep.py
	$(BIN)/python tests/bench/halving.py
	$(BIN)/python tests/bench/simulated/power.py
	$(BIN)/python tests/bench/simulated/thousand.py
	$(BIN)/python tests/bench/simulated/questions.py
	$(BIN)/python tests/bench/autoscaling.py
	$(BIN)/python tests/bench/durability/checkpoint.py
	$(BIN)/python tests/bench/scaling.py
	$(BIN)/python tests/bench/trainers.py

# Checks and measures one GPU.
gpu: $(VENV)/dev
	$(BIN)/python tests/bench/gpu.py

# One training in an object store that fails, with kills of random processes, for half an hour.
soak: $(VENV)/dev
	$(BIN)/python tests/soak/soak.py --minutes 30

# Known vulnerabilities of the pinned versions. It asks PyPI, so it is no part of the tests; strict:
# a package that cannot be looked up fails it.
audit: $(VENV)/audit
	$</bin/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

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

# The trainers that raykd is measured against, one by one: what does not install is left out, and
# the benchmark says so.
$(VENV)/peers/tried: tests/bench/rivals/peers.txt constraints.txt
	$(PYTHON) -m venv $(VENV)/peers
	-grep -v '^#' tests/bench/rivals/peers.txt | xargs -n 1 \
		$(VENV)/peers/bin/python -m pip install --quiet --constraint constraints.txt
	touch $@

$(VENV)/audit: | $(VENV)/runtime
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install --quiet pip-audit==2.10.1
