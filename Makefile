# Everything a developer does, in one word each. Needs Python >= 3.10, make and PyPI, no more:
# the tools are installed into .venv, again when setup.cfg has changed.

PYTHON ?= python3
# For pytest: make test ARGS="-k release -x"
ARGS ?=
# For bench too: make bench ARGS="--only free_cycle --rounds 50"
# For chaos: how long faults come
SECONDS ?= 60

# Tests that start many workers each; the other tests take about eight minutes.
SCENARIOS := tests/benchmarks tests/docs/guides $(addprefix tests/stories/,batch beat ends monitors observing pending publishing topology)

VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help test scenarios slow ends chaos demo bench docs docs-serve lint types contracts check wheel-check ci clean

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

test: $(VENV)/.installed-dev ## run the tests, on Redis servers of their own
	@$(BIN)/python -m pytest -n 3 --dist loadfile $(SCENARIOS:%=--ignore=%) $(ARGS)

scenarios: $(VENV)/.installed-dev ## the tests with many workers: ends of runs, beats, batches, guides, Sentinel, Cluster
	@$(BIN)/python -m pytest -n 3 --dist loadfile $(SCENARIOS) $(ARGS)

slow: $(VENV)/.installed-dev ## what the tests do once or twice, twenty times and more: an hour
	@$(BIN)/python -m pytest -m slow --ignore=tests/house/test_packaging.py tests $(ARGS)

ends: $(VENV)/.installed-dev ## end runs in every way, many times, in every pool, over both brokers
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m 'slow or not slow' tests/stories/ends $(ARGS)

chaos: $(VENV)/.installed-dev ## kill, stop and cut off workers at random, and judge: make chaos SECONDS=1800
	@$(BIN)/python -m tests.chaos --seconds $(SECONDS)

demo: $(VENV)/.installed-demo ## watch real workers share a lock
	@$(BIN)/python -m example_project.demo

bench: $(VENV)/.installed-bench ## measure against other locks: make bench ARGS=--quick
	@$(BIN)/python -m benchmarks $(ARGS)

docs: $(VENV)/.installed-docs ## build the site into docs/_build/html; a warning fails
	@$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html

docs-serve: $(VENV)/.installed-docs ## show the site at http://127.0.0.1:8000, built anew when a page changes
	@$(BIN)/sphinx-autobuild -q --port 8000 docs docs/_build/html

lint: $(VENV)/.installed-dev ## check style and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev ## check the types of the package, strictly
	@$(BIN)/mypy

contracts: $(VENV)/.installed-dev ## check that imports point one way
	@$(BIN)/lint-imports --no-logo --no-cache

check: lint types contracts ## lint, types and contracts

wheel-check: $(VENV)/.installed-dev ## build the wheel and use it in an empty environment
	@$(BIN)/python -m pytest -m slow tests/house/test_packaging.py

ci: ## everything, as a fresh machine runs it
	@.ci/run

clean: ## remove what tests and builds leave behind (.venv stays)
	@rm -rf build dist demo-output docs/_build *.egg-info .*_cache .hypothesis .coverage celerybeat-schedule*
	@find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

$(VENV)/.installed-%: setup.cfg pyproject.toml
	@echo "Installing celery_redislock[$*] into $(VENV) (a minute, once) ..."
	@$(PYTHON) -c 'import sys; sys.exit("Python >= 3.10 is needed: make PYTHON=/path/to/it" if sys.version_info < (3, 10) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv --upgrade-deps $(VENV)
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable '.[$*]'
	@touch $@
