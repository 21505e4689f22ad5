# `make demo` and `make test` need Python 3.11 or newer and nothing else; the first of them makes .venv and installs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PYTEST := $(BIN)/python -m pytest
# A process for each core, as many as fit into 8 GiB; each computes on its own core.
PARALLEL := OMP_NUM_THREADS=1 $(PYTEST) -n auto --maxprocesses 6
# For every platform, so that hosts of a cluster may differ.
LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --python-version 3.11 --extra dev \
	--constraint constraints.txt pyproject.toml --output-file requirements.lock

.PHONY: demo test quick slow stress cluster check mutants acceptance constraints clean

demo: $(INSTALLED)
	$(BIN)/dermtune search gated

test: $(INSTALLED)
	$(PARALLEL) -m "not slow" --dist worksteal

# Of what has changed since main.
quick: $(INSTALLED)
	$(PARALLEL) -q -m "not slow" $$($(BIN)/python tests/quick.py)

# The hosts of a cluster take the whole machine, so nothing runs beside them.
cluster: $(INSTALLED)
	$(PYTEST) -m slow --timeout 600 --durations 10 tests/cluster

slow: $(INSTALLED)
	$(PYTEST) -m "slow and not long" --timeout 600 -n 2 --dist loadgroup --durations 20 --ignore tests/cluster

# The slow suite N times beside two busy processes, to the first failure.
N ?= 10
stress: $(INSTALLED)
	$(BIN)/python tests/stress.py $(N)

# Small faults put into the code that decides; an hour on two cores.
mutants: $(INSTALLED)
	$(BIN)/python tests/mutation/run.py --page

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

acceptance: $(INSTALLED)
	PYTHONPATH=tests $(BIN)/python tests/acceptance/run.py

# The stamp depends on what is installed, so that a second `make` installs nothing.
$(INSTALLED): pyproject.toml constraints.txt requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(INSTALLED)

# Pins what is installed now, and the hash of every file that PyPI has of it; run it after changing a dependency.
constraints: $(INSTALLED)
	$(LOCK)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement requirements.lock
	$(BIN)/python -m pip freeze --exclude-editable --disable-pip-version-check > constraints.txt

clean:
	rm -rf $(VENV) build *.egg-info
