# Two commands for a newcomer: `make demo` (ARGS="--seconds 30" are passed on) and `make test`. Both set up what they need.
PY ?= python3
BIN := .venv/bin
.PHONY: fuzz demo test check format lint types contracts bench detection cases faults faults-quick attacks clean

demo: .venv/ready
	@$(BIN)/qingliu demo $(ARGS)

test: .venv/ready
	@$(BIN)/pytest $(ARGS)

check: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest
	$(BIN)/qingliu bench --gate

bench: .venv/ready
	@$(BIN)/qingliu bench $(ARGS)

detection: .venv/ready
	@$(BIN)/python bench/detection.py $(ARGS)

cases: .venv/ready
	@$(BIN)/python bench/cases.py $(ARGS)

faults: .venv/ready
	@$(BIN)/python -m bench.faults $(ARGS)

faults-quick: .venv/ready
	@$(BIN)/python -m bench.faults --quick $(ARGS)

attacks: .venv/ready
	@$(BIN)/python -m bench.attacks $(ARGS)

format: .venv/ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

contracts: .venv/ready
	$(BIN)/qingliu schema --write docs/contracts
	$(BIN)/qingliu schema --rules --write rules/schema

# uv installs exactly what uv.lock names; it comes from the package index like everything else.
.venv/ready: pyproject.toml uv.lock
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "qingliu needs Python 3.11 or later: make PY=/path/to/python3.11")'
	@$(PY) -m venv .venv || { echo "python3 has no venv module: install it (Debian: apt-get install python3-venv)"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	@$(BIN)/uv sync --quiet --frozen --inexact --all-extras --python $(BIN)/python
	@touch $@

# Atheris has wheels for Linux only: it is no part of the locked environment.
fuzz: .venv/ready
	@$(BIN)/uv pip install --quiet --python $(BIN)/python atheris==3.0.0
	@$(BIN)/python -m bench.fuzz $(ARGS)

clean:
	rm -rf .venv
