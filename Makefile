# The commands of the project. `make demo` and `make test` need Python 3.11+, make
# and a package index; they make their own virtual environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo dev serve test test-unit long coverage bench check format lock clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY) ## the main job on the local simulator with the sample data
	$(BIN)/python -m imagegen_pipeline.demo

dev: $(READY) ## the Dagster UI with its daemon; IMAGEGEN_SIMULATOR=1 make dev costs nothing
	DAGSTER_HOME=$(CURDIR) DAGSTER_EVENT_BATCH_SIZE=$${DAGSTER_EVENT_BATCH_SIZE:-1000} \
	  MALLOC_ARENA_MAX=$${MALLOC_ARENA_MAX:-2} $(BIN)/dagster dev

serve: $(READY) ## the gallery and the HTTP endpoint; IMAGEGEN_SIMULATOR=1 make serve costs nothing
	$(BIN)/imagegen serve

test: $(READY) ## every test but the long ones
	$(BIN)/python -m pytest -n 3 --dist worksteal

test-unit: $(READY) ## the unit tests: no process, no socket, under a minute
	$(BIN)/python -m pytest imagegen_pipeline_tests/unit

coverage: $(READY) ## branch coverage of every test but the long ones, in htmlcov/
	$(BIN)/python -m pytest -n 3 --dist worksteal --cov --cov-report=term --cov-report=html

long: $(READY) ## what is too slow for every change
	$(BIN)/python -m pytest -m long

bench: $(READY) ## measure every figure, or FIGURES="ledger start_up", into benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks $(FIGURES)

check: $(READY) ## format, lint, types and import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## pin the newest versions that pyproject allows
	rm -rf $(VENV)/lock && $(PYTHON) -m venv $(VENV)/lock
	$(VENV)/lock/bin/python -m pip install --quiet --upgrade '.[dev]' setuptools wheel
	$(VENV)/lock/bin/python -m pip freeze --all --exclude imagegen-pipeline --exclude pip > requirements.lock
	rm -rf $(VENV)/lock build

clean: ## remove what make made; pictures and the ledger stay
	rm -rf $(VENV) htmlcov .coverage* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache *.egg-info
