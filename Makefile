PYTHON ?= python3
# A build of PyTorch to install first; empty keeps the one that .venv already has.
TORCH ?= torch==2.13.0
GOLDEN_DIR ?= ../shared/golden
DATA_DIR ?= ../shared/data
export GOLDEN_DIR DATA_DIR

VENV := .venv
PY := $(VENV)/bin/python

PORT ?= 8188
COMFYUI := build/comfyui

.PHONY: help install dev demo evaluate test lint types unit parity count bench test-comfyui test-nodes test-server comfyui clean

help:
	@echo "make demo     a real animation by the small model: prints its figures and where the video is (SEED=n)"
	@echo "make evaluate the small model on 200 held-out pairs, as one JSON object (SEED=$(or $(SEED),0))"
	@echo "make test     everything that CI runs: lint, types, unit, parity, bench, test-comfyui"
	@echo "make unit     the tests that need nothing but this repository"
	@echo "make parity   compare with golden tensors (GOLDEN_DIR=$(GOLDEN_DIR))"
	@echo "make test-comfyui  the pack in a real ComfyUI, over HTTP and in a browser; leaves pictures in $(COMFYUI)"
	@echo "make comfyui  start that ComfyUI with this pack, for trying by hand (PORT=$(PORT))"
	@echo "make bench    every benchmark that this machine can run, one JSON object a line"
	@echo "make count    floating-point operations of one UNet call, as JSON"

$(PY):
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(PY)
	$(if $(TORCH),$(PY) -m pip install --quiet $(TORCH))
	$(PY) -m pip install --quiet --editable ".[onnx]"
	touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.installed
	$(PY) -m pip install --quiet --editable ".[dev,mediapipe,evaluate,train]"
	touch $@

install: $(VENV)/.installed

dev: $(VENV)/.dev

demo: install
	@$(VENV)/bin/hunyuan-portrait demo $(if $(SEED),--seed $(SEED))

# What an installation says must not join the JSON on standard output.
evaluate:
	@$(MAKE) --no-print-directory install >&2
	@$(VENV)/bin/hunyuan-portrait evaluate-toy $(or $(SEED),0)

test: lint types unit parity bench test-comfyui

lint: dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: dev
	$(VENV)/bin/basedpyright

unit: dev
	$(PY) -m pytest tests --ignore=tests/parity --ignore=tests/nodes --ignore=tests/comfyui

parity: dev
	$(PY) -m pytest tests/parity

count: install
	@$(PY) benchmarks/bench.py count

bench: dev
	@$(PY) benchmarks/bench.py

test-comfyui: dev
	$(PY) tests/comfyui/install.py
	@$(MAKE) --no-print-directory -j2 --output-sync=target test-nodes test-server

# One core each: small networks gain nothing from two.
test-nodes:
	OMP_NUM_THREADS=1 $(COMFYUI)/env/bin/pytest tests/nodes

test-server:
	OMP_NUM_THREADS=1 $(PY) -m pytest tests/comfyui

comfyui: dev
	$(PY) tests/comfyui/install.py --base $(COMFYUI)
	@echo "Models go to $(COMFYUI)/models/hunyuan_portrait; tests/support/tiny_models.py writes untrained ones there."
	$(COMFYUI)/env/bin/python $${COMFYUI_PATH:-$(COMFYUI)/ComfyUI}/main.py --cpu --port $(PORT) \
		--base-directory $(CURDIR)/$(COMFYUI) --database-url sqlite:///$(CURDIR)/$(COMFYUI)/user/comfyui.db

# Models that somebody put there for trying by hand stay: they are gigabytes.
clean:
	rm -rf $(VENV) dist *.egg-info
	find build -mindepth 1 -maxdepth 1 ! -name comfyui -exec rm -rf {} + 2>/dev/null || true
	find $(COMFYUI) -mindepth 1 -maxdepth 1 ! -name models -exec rm -rf {} + 2>/dev/null || true
