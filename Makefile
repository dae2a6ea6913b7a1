# Everything from a bare machine with python3, python3-venv and make. Another interpreter: make test PYTHON=python3.12;
# with GPUs: make run EXTRAS=gpu.

PYTHON ?= python3
EXTRAS ?=
VENV := .venv
PY := $(VENV)/bin/python

comma := ,
run_extras := $(if $(EXTRAS),[$(EXTRAS)])
test_extras := [test$(if $(EXTRAS),$(comma)$(EXTRAS))]
extras_key := $(subst $(comma),-,$(EXTRAS))

# An environment belongs to one interpreter and one place: made by or for another, it is made anew.
key := $(shell $(PYTHON) -c 'import os, sys, zlib; print("%08x" % zlib.crc32(repr((sys.version, sys.base_prefix, os.getcwd())).encode()))')
made := $(VENV)/made-$(key)
for_run := $(made)-run$(extras_key)
for_test := $(made)-test$(extras_key)

.PHONY: run test check format clean

## A product from data made on the fly, planned, computed, checked.
run: $(for_run)
	$(VENV)/bin/overspill run workflows/matmul.py --set n=4096 --out runs/matmul-$$(date +%Y%m%d-%H%M%S)

test: $(for_test)
	$(PY) -m pytest

## What continuous integration runs: two files of tests at a time, or one where GPUs are to be tested.
check: $(for_test)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m pytest $(if $(EXTRAS),,-n 2 --dist loadfile --no-loadscope-reorder)

format: $(for_test)
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache

$(made):
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "overspill needs Python 3.11 or later, this is %d.%d: make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv --clear $(VENV)
	touch $@

$(for_run): pyproject.toml | $(made)
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.$(run_extras)'
	touch $@

$(for_test): pyproject.toml | $(made)
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.$(test_extras)'
	touch $@ $(for_run)
