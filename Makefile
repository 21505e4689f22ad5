# `make demo` and `make test` need Python 3.11 or newer and nothing else; the first of them makes .venv and installs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PYTEST := $(BIN)/python -m pytest
# Bytecode is kept, as is Python's default: some images turn it off, and then every process of the tests compiles everything again.
export PYTHONDONTWRITEBYTECODE :=
# A process for each core, as many as fit into 8 GiB; each computes on its own core.
PARALLEL := OMP_NUM_THREADS=1 $(PYTEST) -n auto --maxprocesses 6
# For every platform, so that hosts of a cluster may differ.
LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --python-version 3.11 --extra dev \
	--constraint constraints.txt pyproject.toml --output-file requirements.lock

.PHONY: help demo test quick slow stress cluster check mutants acceptance constraints clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## search on synthetic data, ten minutes with the install
	$(BIN)/dermtune search gated

test: $(INSTALLED) ## quick tests, on every core
	$(PARALLEL) -m "not slow" --dist worksteal

# Of what has changed since main.
quick: $(INSTALLED) ## quick tests of what has changed since main
	$(PARALLEL) -q -m "not slow" $$($(BIN)/python tests/quick.py)

# The hosts of a cluster take the whole machine, so nothing runs beside them.
cluster: $(INSTALLED) ## hosts in network namespaces
	$(PYTEST) -m "slow and not long" --timeout 600 --durations 10 tests/cluster

slow: $(INSTALLED) ## searches with Ray, MLflow, browsers and servers
	$(PYTEST) -m "slow and not long" --timeout 600 -n 2 --dist loadgroup --durations 20 --ignore tests/cluster

# The slow suite N times beside two busy processes, to the first failure.
N ?= 10
stress: $(INSTALLED) ## the slow suite N times beside two busy processes, to the first failure
	$(BIN)/python tests/stress.py $(N)

# Small faults put into the code that decides; an hour on two cores.
mutants: $(INSTALLED) ## small faults put into the code that decides
	$(BIN)/python tests/mutation/run.py --page

check: $(INSTALLED) ## ruff, mypy, import-linter, codespell
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

acceptance: $(INSTALLED) ## what continuous integration has no time for; writes docs/acceptance.md
	PYTHONPATH=tests $(BIN)/python tests/acceptance/run.py

# The stamp depends on what is installed, so that a second `make` installs nothing.
$(INSTALLED): pyproject.toml constraints.txt requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(INSTALLED)

# Pins what is installed now, and the hash of every file that PyPI has of it; run it after changing a dependency.
constraints: $(INSTALLED) ## pin what is installed
	$(LOCK)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement requirements.lock
	$(BIN)/python -m pip freeze --exclude-editable --disable-pip-version-check > constraints.txt

clean: ## remove the environment
	rm -rf $(VENV) build *.egg-info
