# Everything happens in .venv, which `make setup` builds from the package registry.
#   make demo    a story from an emulated board        make lint    ruff, mypy, spelling, prose
#   make test    the fast tests                        make slow    the long ones
#   make page-test  the tests of the page in the browser, with what they measure
#   make bench   the figures in README.md and docs/speed.md, and drawings, anew (docs/speed.md says how)
#   make docs    the site of these pages, in site/      make docs-serve  the same, while you write
#   make mpy     packages for mpremote mip, one for each architecture of boards, with its .mpy files
#   make clean   remove whatever make made
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# Not --quiet: a person sees what is fetched, with pip's bars, and that it goes on.
PIP = $(BIN)/python -m pip install --disable-pip-version-check --progress-bar on
# The tests start many a Python, which would compile all that it imports anew.
export PYTHONDONTWRITEBYTECODE :=
# Extra arguments for pytest: make test ARGS="-k emulator"
ARGS ?=
# For make bench: llama2.c's stories260K.bin, its run to compare with, and the firmware of
# MicroPython's port to QEMU for VIRT_RV32 (or nothing).
CHECKPOINT ?= stories260K.bin
LLAMA2C ?=
RISCV ?=
# What is held to be spelled right; of models, what people read of them.
SPELLED = $(wildcard *.md models/*/README.md) docs host device tools tests web

.PHONY: setup demo test page-test slow lint docs docs-serve bench mpy clean

setup: $(VENV)/.stamp-setup

# Stamps: installed once, and again when the dependencies may have changed.
$(VENV)/.stamp-setup: pyproject.toml
	@echo "once, about a minute: picoformer, what it needs and an emulated board, into $(VENV)"
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[emulator]'
	@touch $@

$(VENV)/.stamp-test: $(VENV)/.stamp-setup
	$(PIP) -e '.[test]'
	@touch $@

$(VENV)/.stamp-lint: $(VENV)/.stamp-test
	$(PIP) -e '.[dev]'
	@touch $@

demo: setup
	$(BIN)/picoformer demo

test: $(VENV)/.stamp-test
	$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

$(VENV)/.stamp-page: $(VENV)/.stamp-test
	$(PIP) -e '.[page]'
	@touch $@

# -rs says why, where there is no browser or no node.
page-test: $(VENV)/.stamp-page
	$(BIN)/python -m pytest tests/page -v -s -rs $(ARGS)

slow: $(VENV)/.stamp-test
	$(BIN)/python -m pytest -m slow $(ARGS)

lint: $(VENV)/.stamp-lint
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/codespell $(SPELLED)
	$(BIN)/python -m tools.prose

$(VENV)/.stamp-docs: $(VENV)/.stamp-setup
	$(PIP) -e '.[docs]'
	@touch $@

docs: $(VENV)/.stamp-docs
	$(BIN)/python -m tools.site

docs-serve: $(VENV)/.stamp-docs
	$(BIN)/python -m tools.site --serve

$(VENV)/.stamp-bench: $(VENV)/.stamp-setup
	$(PIP) -e '.[plot]'
	@touch $@

bench: $(VENV)/.stamp-bench
	$(BIN)/python -m tools.benchmarks.documents --measure $(CHECKPOINT) \
		$(if $(LLAMA2C),--llama2c $(LLAMA2C)) $(if $(RISCV),--riscv $(RISCV))
	$(BIN)/python -m tools.pictures $(CHECKPOINT)

mpy: setup
	$(BIN)/python -m tools.mip

clean:
	rm -rf $(VENV) site mpy package-*.json build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -path ./.git -prune -o -name __pycache__ -type d -exec rm -rf {} +
