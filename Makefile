# Everything is set up on the first use of any target: a virtual environment with pinned packages.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: setup demo dev test lint bench toolscale

setup: $(STAMP)

# --no-deps: the constraints name every package there is to install, so nothing else can come in. torch first and by
# its own name, so that an index of processor builds (or a wheel on disk) can provide it.
$(STAMP): constraints.txt pyproject.toml
	@echo "Setting up .venv with pinned packages (about 2 GB; some minutes) ..."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -qq --disable-pip-version-check "$$(grep '^torch==' constraints.txt)" --no-deps
	$(BIN)/pip install -qq --disable-pip-version-check --no-deps -r constraints.txt
	$(BIN)/pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/envloom demo $(if $(LIVE),--live) $(if $(AGAIN),--again)

dev: $(STAMP)
	$(BIN)/envloom dev

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What needs a vLLM server has the processor to itself; the rest runs in two processes, a file in one of them.
test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not vllm"
	$(BIN)/python -m pytest -m vllm

toolscale: $(STAMP)
	$(BIN)/envloom toolscale

bench: $(STAMP)
	$(BIN)/python bench/run_all.py
