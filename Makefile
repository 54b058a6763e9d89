# Everything is set up on the first use of any target: a virtual environment with pinned packages.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: setup demo learn dev test test-engine test-rest lint bench toolscale

setup: $(STAMP)

# --no-deps: the constraints name every package there is to install, so nothing else can come in. torch first and by
# its own name, so that an index of processor builds (or a wheel on disk) can provide it.
$(STAMP): constraints.txt pyproject.toml
	@echo "Setting up .venv with pinned packages (about 2 GB; some minutes) ..."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -qq --disable-pip-version-check "$$(grep '^torch==' constraints.txt)" --no-deps
	$(BIN)/pip install -qq --disable-pip-version-check --no-deps -r constraints.txt
	$(BIN)/pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable ".[all]"
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/envloom demo $(if $(LIVE),--live) $(if $(AGAIN),--again)

learn: $(STAMP)
	$(BIN)/envloom train learn --total 6 $(if $(SEED),--seed $(SEED))

dev: $(STAMP)
	$(BIN)/envloom dev

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Side by side: what needs a vLLM server waits for it much of the time. The rest has one thread each, and idle threads
# sleep: processes whose threads spin for one another are many times slower on two cores.
test: lint
	$(MAKE) --jobs=2 --output-sync=target test-engine test-rest

test-engine: $(STAMP)
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -m vllm

test-rest: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not vllm"

toolscale: $(STAMP)
	$(BIN)/envloom toolscale

bench: $(STAMP)
	$(BIN)/python bench/run_all.py
