# The two commands of the README, and the checks one by one. Every target makes the environment first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
MIN := $(VENV)-min
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

.PHONY: install install-min demo test lint types rooms unit properties docs min-versions clean
.DEFAULT_GOAL := test

WEB := src/ecumene/viewer/web
VENDOR := $(WEB)/vendor/versions.json

# torch first: with the constraint it stays a version that torchvision matches.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "ecumene needs Python 3.11 or newer"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt torch
	$(PIP) install -c constraints.txt -e '.[all,dev,docs]'
	touch $(STAMP)

# The browser libraries of the web map. Everything but `ecumene view` works without them, so npm may be missing.
$(VENDOR): $(WEB)/package-lock.json $(WEB)/vendor.mjs
	@if command -v npm >/dev/null; then cd $(WEB) && npm ci --no-audit --no-fund --loglevel=error && npm run --silent vendor; \
	else echo "npm was not found: ecumene view will not work until Node.js is installed and make install has run again"; fi

install: $(STAMP) $(VENDOR)

demo: install
	$(BIN)/ecumene demo --out demo

test: lint types rooms unit

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

rooms: install
	$(BIN)/lint-imports

# One thread a process: two processes with two threads each wait for each other most of the time on two cores.
unit: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

# Property tests with fresh random examples; a failure prints the line that repeats it.
properties: install
	HYPOTHESIS_PROFILE=random $(BIN)/pytest -n 2 $$(grep -rlE '^from hypothesis|^import hypothesis' tests --include='test_*.py')

# The quick tests with the oldest versions that pyproject.toml admits.
$(MIN)/.installed: pyproject.toml constraints-min.txt
	test -x $(MIN)/bin/python || $(PYTHON) -m venv $(MIN)
	$(MIN)/bin/python -m pip --disable-pip-version-check -q install -c constraints-min.txt torch
	$(MIN)/bin/python -m pip --disable-pip-version-check -q install -c constraints-min.txt -e '.[all,test]'
	touch $@

install-min: $(MIN)/.installed

# Compiled kernels are kept apart: two versions of numba that write one cache at once read each other's files.
min-versions: install-min
	NUMBA_CACHE_DIR=$(CURDIR)/$(MIN)/kernels OMP_NUM_THREADS=1 $(MIN)/bin/python -m pytest -n 2 -m "not slow" tests/core tests/scenes tests/samples tests/models tests/mapping tests/workflows

docs: install
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) $(MIN) $(WEB)/node_modules $(WEB)/vendor demo site build dist
