PYTHON ?= python3
# A build of PyTorch to install first; empty keeps the one that .venv already has.
TORCH ?= torch==2.13.0
GOLDEN_DIR ?= ../shared/golden
DATA_DIR ?= ../shared/data
export GOLDEN_DIR DATA_DIR

VENV := .venv
PY := $(VENV)/bin/python

.PHONY: help install dev demo test lint types unit parity count clean

help:
	@echo "make demo     animate a drawn portrait and print where the video is"
	@echo "make test     everything that CI runs: lint, types, unit, parity, count"
	@echo "make unit     the tests that need nothing but this repository"
	@echo "make parity   compare with golden tensors (GOLDEN_DIR=$(GOLDEN_DIR))"
	@echo "make count    floating-point operations of one UNet call, as JSON"

$(PY):
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(PY)
	$(if $(TORCH),$(PY) -m pip install --quiet $(TORCH))
	$(PY) -m pip install --quiet --editable .
	touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.installed
	$(PY) -m pip install --quiet --editable ".[dev,mediapipe,evaluate]"
	touch $@

install: $(VENV)/.installed

dev: $(VENV)/.dev

demo: install
	@$(VENV)/bin/hunyuan-portrait demo

test: lint types unit parity count

lint: dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: dev
	$(VENV)/bin/basedpyright

unit: dev
	$(PY) -m pytest tests --ignore=tests/parity

parity: dev
	$(PY) -m pytest tests/parity

count: install
	@$(PY) benchmarks/count.py

clean:
	rm -rf $(VENV) build dist *.egg-info
