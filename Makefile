PYTHON ?= python3
# A build of PyTorch to install first; set TORCH="" to keep the one that the environment already has.
TORCH ?= torch==2.13.0
GOLDEN_DIR ?= ../shared/golden
DATA_DIR ?= ../shared/data

VENV := .venv
PY := $(VENV)/bin/python

.PHONY: help install demo test lint types unit parity count clean

help:
	@echo "make demo     animate a portrait and print where the video is"
	@echo "make test     everything that CI runs: lint, types, tests, parity"
	@echo "make parity   compare with golden tensors (GOLDEN_DIR=$(GOLDEN_DIR))"
	@echo "make count    floating-point operations of one UNet call, as JSON"

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml requirements.txt | $(VENV)/bin/python
	$(if $(TORCH),$(PY) -m pip install --quiet $(TORCH))
	$(PY) -m pip install --quiet --editable ".[dev,mediapipe]"
	touch $@

install: $(VENV)/.installed

test: lint types unit parity count

lint: install
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: install
	$(VENV)/bin/basedpyright

unit: install
	$(PY) -m pytest tests --ignore=tests/parity

parity: install
	GOLDEN_DIR="$(GOLDEN_DIR)" DATA_DIR="$(DATA_DIR)" $(PY) -m pytest tests/parity

count: install
	$(PY) benchmarks/count.py

clean:
	rm -rf $(VENV) build dist *.egg-info
