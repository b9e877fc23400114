# Everything from a fresh checkout: each target sets up .venv first, once. Needs make and Python 3.11 or newer.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The first that runs; `make PYTHON=/path/to/python3.12` names another.
PYTHON ?= $(or $(shell for each in python3.11 python3; do $$each -c '' 2>/dev/null && echo $$each && break; done),python3)
LOWEST := .venv-lowest
WHEEL := .venv-wheel
# As many processes as there are cores; each has one thread (tests/conftest.py), so that results do not depend on them.
PARALLEL := -n logical --maxprocesses 8 --dist worksteal
BENCHMARKS := $(patsubst benchmarks/%.py,%,$(shell grep -l __main__ benchmarks/*.py))

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-lowest test-wheel check bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## create .venv and install what is needed (the other targets do it by themselves)

demo: $(READY) ## teacher, augmentation, student and report on made-up reviews, into demo-run/
	$(BIN)/python -m demo --output-dir demo-run

test: $(READY) ## all tests; those on real data are skipped where there is none
	$(BIN)/python -m pytest $(PARALLEL)

test-lowest: $(LOWEST)/.ready ## all tests with the lowest versions that pyproject.toml allows, in .venv-lowest
	$(LOWEST)/bin/python -m pytest $(PARALLEL)

test-wheel: $(READY) ## build a wheel and run it outside the repository, with the pinned and with the lowest versions
	rm -rf build $(WHEEL)
	$(BIN)/python -m pip wheel --disable-pip-version-check --no-deps -w $(WHEEL)/dist .
	set -e; for pins in requirements requirements-lowest; do \
	    $(PYTHON) -m venv --clear $(WHEEL)/$$pins; \
	    $(WHEEL)/$$pins/bin/python -m pip install --disable-pip-version-check -r $$pins.txt $(WHEEL)/dist/*.whl; \
	    mkdir -p $(WHEEL)/outside/$$pins; \
	    cp -r demo $(WHEEL)/outside/$$pins/; \
	    (cd $(WHEEL)/outside/$$pins && ../../$$pins/bin/python -m demo --quick); \
	done

check: $(READY) ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(READY) ## run each of benchmarks/; most need real data and models in ../shared
	@for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python -m benchmarks.$$name || exit; done

clean: ## remove caches, builds and the demo's output; .venv and .venv-lowest stay
	rm -rf build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis demo-run
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

# Made anew when what is to be installed changes; touched last, so that an interrupted installation is taken up again.
$(READY): requirements.txt requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo 'error: Python 3.11 or newer is needed, and $(PYTHON) is not; install it, or name one: make PYTHON=/path/to/python3.11' >&2; \
	    exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo 'error: $(PYTHON) has no venv module; on Debian and Ubuntu: apt-get install python3.11-venv (or python3-venv)' >&2; \
	    exit 1; }
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements-dev.txt
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps -e .
	@touch $@

# Not installed itself: the tests run from the repository, beside the tools of requirements-dev.txt that they need.
$(LOWEST)/.ready: requirements-lowest.txt requirements-dev.txt | $(READY)
	test -x $(LOWEST)/bin/pip || $(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --disable-pip-version-check -r requirements-lowest.txt \
	    $$(grep -E '^(hypothesis|pytest|setuptools)' requirements-dev.txt)
	@touch $@
