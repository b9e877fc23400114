# Everything from a fresh checkout: each target sets up .venv first, once. Needs make and Python 3.11 or newer.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The first that runs; `make PYTHON=/path/to/python3.12` names another.
PYTHON ?= $(or $(shell for each in python3.11 python3; do $$each -c '' 2>/dev/null && echo $$each && break; done),python3)
BENCHMARKS := $(patsubst benchmarks/%.py,%,$(shell grep -l __main__ benchmarks/*.py))

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## create .venv and install what is needed (the other targets do it by themselves)

demo: $(READY) ## teacher, augmentation, student and report on made-up reviews, into demo-run/
	$(BIN)/python -m demo --output-dir demo-run

test: $(READY) ## all tests; those on real data are skipped where there is none
	$(BIN)/python -m pytest

check: $(READY) ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(READY) ## run each of benchmarks/; most need real data and models in ../shared
	@for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python -m benchmarks.$$name || exit; done

clean: ## remove caches, builds and the demo's output; .venv stays
	rm -rf build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis demo-run
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

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
