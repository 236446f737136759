# The two commands of the README: `make demo` and `make test`. CI runs the same targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Which engine demo, sim and verify run: paxos or raft.
MODE ?= paxos
INSTALLED := $(VENV)/.installed

.PHONY: help demo test lint types pytest sim verify agreement bench compare clean

help:
	@echo "make demo          three nodes on real disks, one killed under load, nothing lost; a report of every call"
	@echo "make test          lint, types and tests, as CI runs them"
	@echo "make sim           2,000 hostile universes in virtual time, on all cores"
	@echo "make verify        a live cluster under all faults for a minute, its history checked"
	@echo "make agreement     the checker against exhaustive search on 200,000 random histories"
	@echo "make bench         micro-benchmarks: engine, wire, storage, checker; AGAINST=COMMIT for the change since then"
	@echo "make compare       us beside etcd, ZooKeeper, Redis, Gryadka and PySyncObj on this machine (QUICK=1: 5 minutes)"
	@echo "    MODE=raft      demo, sim and verify of the Raft baseline, not the leaderless engine"
	@echo "make clean         remove the virtual environment and caches"

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "paxoskv needs Python 3.11 or later; say make PYTHON=python3.11")'
	@$(PYTHON) -m venv $(VENV) || { echo "python3 cannot make virtual environments here; on Debian: apt-get install python3-venv"; exit 1; }
	@echo "installing into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(INSTALLED)
	@$(BIN)/paxoskv demo --mode $(MODE)

test: lint types pytest

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

pytest: $(INSTALLED)
	$(BIN)/python -m pytest

sim: $(INSTALLED)
	$(BIN)/paxoskv simulate --mode $(MODE) --seeds 0:2000

verify: $(INSTALLED)
	$(BIN)/paxoskv verify --mode $(MODE) --duration 60

agreement: $(INSTALLED)
	cd tests && $(abspath $(BIN))/python -m check.test_agreement 0 200000

bench: $(INSTALLED)
	$(BIN)/python -m bench.run $(if $(AGAINST),--against $(AGAINST))

compare: $(INSTALLED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[compare]'
	$(BIN)/python -m comparison $(if $(QUICK),--quick)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
