# Every target sets up .venv first, if need be. PYTHON names the interpreter to make it from;
# 3.11 comes first because the locked versions are tested with it.
CANDIDATES = python3.11 python3.12 python3.13 python3
USABLE = import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in $(CANDIDATES); do $$p -c '$(USABLE)' >/dev/null 2>&1 && echo $$p && break; done)

BIN = .venv/bin
READY = .venv/ready
PYTEST = PYTHONUTF8=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

.DELETE_ON_ERROR:
.PHONY: help run test test-all lint audit format bench performance docs docs-site pictures results statistics fuzz chaos test-clusters node-kit gpu-test gpu-ablation set-up clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## */: /'

run: $(READY)  ## CCT-R and CPS with 1, 3 and 7 labelled cases of the phantom data set, then the leaderboard (resumes)
	$(BIN)/python -m benchmark run --methods cctr,cps --labels 1,3,7

test: lint  ## lint, check types, run the tests but those marked slow
	$(PYTEST) -m "not slow"

test-all: lint  ## lint, check types, run all tests
	$(PYTEST)

lint: audit  ## ruff, mypy, the laws of who may import whom, and known vulnerabilities of the locked versions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

audit: $(READY)  ## look the locked versions up among known vulnerabilities, where a registry answers
	$(BIN)/python tools/audit.py

format: $(READY)  ## rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)  ## measure what everything costs, as ratios within one run, and print them
	$(BIN)/python -m pip install --quiet -c requirements.lock -e '.[bench]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --timeout 1800 tests/benchmarks $(BENCH)

performance: BENCH = --write-performance
performance: bench  ## as bench, and write docs/performance.md and the ratios that `make test` compares with

docs: $(READY)  ## write docs/methods.md, docs/commands.md and docs/records.md from the code
	$(BIN)/python -c "from benchmark.documentation import methods_page; print(methods_page(), end='')" > docs/methods.md
	$(BIN)/python -c "from benchmark.reference import commands_page; print(commands_page(), end='')" > docs/commands.md
	$(BIN)/python -c "from benchmark.reference import records_page; print(records_page(), end='')" > docs/records.md

pictures: $(READY)  ## run CCT-R, CPS and supervised-only twice on the phantom (half an hour) and draw the README's pictures from it
	$(BIN)/python -m benchmark run --methods supervised,cps,cctr --labels 1,3,7 --runs 2 --store runs/pictures --tracking none
	$(BIN)/python tools/pictures.py runs/pictures

results: $(READY)  ## write what pages quote of the results, and the reports in docs/results, from the records there
	$(BIN)/python tools/results.py

docs-site: docs  ## build the documentation's pages in site/ with mkdocs-material; broken links are errors
	$(BIN)/python -m pip install --quiet -c requirements.lock -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

statistics: $(READY)  ## simulate how often the report is right (verdicts, intervals, flips, labels) and write docs/statistics.md
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.reports.simulated_worlds > docs/statistics.md

fuzz: $(READY)  ## for FUZZ_SECONDS (300): damaged files of every layout and store, words and files of options that mean nothing
	FUZZ_SECONDS=$${FUZZ_SECONDS:-300} OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/fuzz

chaos: $(READY)  ## inflict CHAOS_FAULTS (300) faults on two commands: kills, pauses, damage of every kind, full and read-only disks
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/chaos

test-clusters: $(READY)  ## run cells on SLURM's own daemons and on a Ray cluster, both on this machine
	$(BIN)/python -m pip install --quiet -c requirements.lock -e '.[cluster]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/cluster

# On a compute node: no set-up, for there is no network; the Python that has torch and monai is .venv's or the one on the path.
NODE_PYTHON ?= $(or $(wildcard $(BIN)/python),python3)
LIMIT ?= 8h

# What such a Python lacks goes along as wheels: `make node-kit` here, then there `python3 -m pip install --no-index --no-deps runs/kit/*.whl`.
KIT ?= monai pydantic pydantic-core annotated-types typing-inspection
NODE_VERSION ?= 3.12

node-kit: $(READY)  ## wheels for a compute node without a network, in runs/kit (KIT: which; NODE_VERSION: of its Python)
	$(BIN)/python -m pip download --quiet --no-deps --only-binary=:all: --python-version $(NODE_VERSION) \
	  --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
	  -c requirements.lock -d runs/kit $(KIT)

gpu-test:  ## what must hold on a GPU, with seconds and memory of every method; tables go to runs/gpu_test
	$(NODE_PYTHON) -m pytest tests/gpu -m gpu

gpu-ablation:  ## RSL x REPS and what they are compared with on ACDC, 4,000 steps a cell, until LIMIT (8h); the next call goes on
	timeout --foreground --signal=INT --kill-after=5m $(LIMIT) \
	  $(NODE_PYTHON) -m benchmark run --config experiments/acdc_gpu.yaml --protocol paper-short || [ $$? -eq 124 ]

set-up: $(READY)  ## make .venv, with everything in it

# The stamp is written last: an interrupted set-up is taken up again, a finished one is not repeated.
$(READY): pyproject.toml requirements.lock tools/install.py
	@$(or $(PYTHON),false) -c '$(USABLE)' 2>/dev/null || \
	  { echo "make: no Python 3.11 or newer with its venv module was found; install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python tools/install.py
	@touch $@

clean:  ## delete .venv and caches; runs/ stays
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
