# Every target sets itself up: all it needs is make and Python 3.11 or newer.
#
#   make demo        train the digits classifier and run the other examples
#   make test        the test suite
#   make test-slow   the long runs: thousands of random programs, full sweeps of the math library
#   make bench       every benchmark, into docs/performance.md (a quarter of an hour)
#   make lint        ruff (rules and format) and mypy --strict
#   make clean       remove what the targets above created

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow bench lint format clean
.DELETE_ON_ERROR:

# The first interpreter on the path that is new enough; `make PYTHON=/path/to/python3` overrides.
PYTHON ?= $(shell for p in python3 python python3.14 python3.13 python3.12 python3.11; do \
    "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
    && { echo "$$p"; break; }; done)
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=
BENCH_ARGS ?=

help:
	@sed -n 's/^#   //p' Makefile

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "tdsl needs Python 3.11 or newer (none found)" >&2; exit 1; }
	"$(PYTHON)" -m venv "$(VENV)"

# One stamp per set of extras: renewed when pyproject.toml changes.
$(VENV)/.installed-run: pyproject.toml | $(BIN)/python
	"$(BIN)/python" -m pip install --quiet --disable-pip-version-check -e '.[test,examples]'
	@touch "$@"

$(VENV)/.installed-lint: pyproject.toml | $(BIN)/python
	"$(BIN)/python" -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch "$@"

$(VENV)/.installed-bench: pyproject.toml | $(BIN)/python
	"$(BIN)/python" -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	@touch "$@"

demo: $(VENV)/.installed-run
	"$(BIN)/python" examples/digits.py
	"$(BIN)/python" examples/logistic.py
	"$(BIN)/python" examples/black_scholes.py
	"$(BIN)/python" examples/lennard_jones.py
	"$(BIN)/python" examples/sharpen.py
	"$(BIN)/python" examples/kernel_regression.py
	"$(BIN)/python" examples/eager_mlp.py

test: $(VENV)/.installed-run
	"$(BIN)/python" -m pytest -q -n 2 -m "not slow and not cuda" $(PYTEST_ARGS)

test-slow: $(VENV)/.installed-run
	"$(BIN)/python" -m pytest -q -m "slow and not cuda" $(PYTEST_ARGS)

bench: $(VENV)/.installed-bench
	"$(BIN)/python" benchmarks $(BENCH_ARGS)

# mypy knows a package by its folder's name, and this folder may have any: hence the link.
lint: $(VENV)/.installed-lint
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	@mkdir -p "$(VENV)/mypy" && ln -sfn "$(CURDIR)" "$(VENV)/mypy/tdsl"
	MYPYPATH="$(VENV)/mypy" "$(BIN)/mypy" --strict -m tdsl -m tdsl.__main__ \
	    -p tdsl.compiler -p tdsl.dsl -p tdsl.runtime

format: $(VENV)/.installed-lint
	"$(BIN)/ruff" check --fix .
	"$(BIN)/ruff" format .

clean:
	rm -rf "$(VENV)" tdsl.egg-info build examples/out .pytest_cache .mypy_cache .ruff_cache .hypothesis
