# The two commands are `make run` and `make test`; both set up what they need.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
OUT    ?= demo

.PHONY: run test check bless bench setup setup-test clean

run: $(VENV)/.run
	@$(BIN)/swarmtap demo --out $(OUT)

test: $(VENV)/.test
	@$(BIN)/pytest -n auto $(ARGS)

# Everything that CI runs, and a little before it: style, types, imports, tests.
check: $(VENV)/.test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/pytest -n auto $(ARGS)

# Renews the golden files after showing how they change.
bless: $(VENV)/.test
	@$(BIN)/python -m tests.golden.bless

bench: $(VENV)/.test
	@SWARMTAP_SURICATA=$$(.ci/newer suricata trixie-backports || true) $(BIN)/python -m tests.bench

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("swarmtap needs Python 3.11 or newer; this is " + sys.version.split()[0] + " (set PYTHON=…)") if sys.version_info < (3, 11) else 0'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --upgrade pip

# The kernels are compiled here once, so that the first run does not wait for it.
$(VENV)/.run: pyproject.toml $(VENV)/bin/python
	@echo "Installing swarmtap into $(VENV) …"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@echo "Compiling the kernels …"
	@$(BIN)/python -m sensor.kernels.warm
	@touch $@

$(VENV)/.test: pyproject.toml $(VENV)/.run
	@echo "Installing the test tools …"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) $(OUT) build dist .mypy_cache .ruff_cache .pytest_cache
