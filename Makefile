# Every target sets up .venv first, if need be. PYTHON names the interpreter to make it from;
# 3.11 comes first because the locked versions are tested with it.
CANDIDATES = python3.11 python3.12 python3.13 python3
USABLE = import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in $(CANDIDATES); do $$p -c '$(USABLE)' >/dev/null 2>&1 && echo $$p && break; done)

BIN = .venv/bin
READY = .venv/ready

.DELETE_ON_ERROR:
.PHONY: help run test lint format bench docs fuzz set-up clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## */: /'

run: $(READY)  ## CCT-R and CPS with 1, 3 and 7 labelled cases of the phantom data set, then the leaderboard (resumes)
	$(BIN)/python -m benchmark run --methods cctr,cps --labels 1,3,7

test: lint  ## lint, check types, run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

lint: $(READY)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)  ## rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)  ## time the hot paths
	$(BIN)/python -m pytest tests/benchmarks

docs: $(READY)  ## write docs/methods.md from the classes
	$(BIN)/python -c "from benchmark.documentation import methods_page; print(methods_page(), end='')" > docs/methods.md

fuzz: $(READY)  ## damage files of every layout for FUZZ_SECONDS (300) and read them
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/fuzz

set-up: $(READY)  ## make .venv, with everything in it

# The stamp is written last: an interrupted set-up is taken up again, a finished one is not repeated.
$(READY): pyproject.toml requirements.lock tools/install.py
	@$(or $(PYTHON),false) -c '$(USABLE)' 2>/dev/null || \
	  { echo "make: no Python 3.11 or newer with its venv module was found; install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python tools/install.py
	@touch $@

clean:  ## delete .venv and caches; runs/ stays
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
