# The two commands of the README: `make demo` and `make test`. CI runs the same targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Which engine demo, sim and verify run: paxos or raft.
MODE ?= paxos
INSTALLED := $(VENV)/.installed
# The compiled build lives in a virtual environment of its own and is made again when a source has changed.
COMPILED_VENV ?= .venv-compiled
COMPILED := $(COMPILED_VENV)/.installed
# The Python that .venv has, if there is one, so that the two builds differ in nothing else.
COMPILED_PYTHON = $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON))
WHICH_PYTHON := import sys; print(sys.base_prefix, sys.version)
# An environment that is made over another Python's keeps half of it.
MAKE_VENV = -m venv $(if $(wildcard $(1)/pyvenv.cfg),--clear) $(1)

.PHONY: help install demo test lint types pytest sim verify agreement bench compare can-compile compiled test-compiled clean

help:
	@echo "make install       paxoskv and its tools, into $(VENV); the others do it by themselves"
	@echo "make demo          three nodes on real disks, one killed under load, nothing lost; a report of every call"
	@echo "make test          lint, types and tests, as CI runs them"
	@echo "make sim           2,000 hostile universes in virtual time, on all cores"
	@echo "make verify        a live cluster under all faults for a minute, its history checked"
	@echo "make agreement     the checker against exhaustive search on 200,000 random histories"
	@echo "make bench         micro-benchmarks: engine, wire, storage, checker; AGAINST=COMMIT for the change since then"
	@echo "make compare       us beside etcd, ZooKeeper, Redis, Gryadka and PySyncObj on this machine (QUICK=1: 5 minutes)"
	@echo "make compiled      the engines and the node's data path compiled by mypyc, in $(COMPILED_VENV); takes a C compiler"
	@echo "make test-compiled the compiled build does, byte for byte, what the interpreted one does"
	@echo "    MODE=raft      demo, sim and verify of the Raft baseline, not the leaderless engine"
	@echo "make clean         remove the virtual environment and caches"

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "paxoskv needs Python 3.11 or later; say make PYTHON=python3.11")'
	@$(PYTHON) $(call MAKE_VENV,$(VENV)) || { echo "python3 cannot make virtual environments here; on Debian: apt-get install python3-venv"; exit 1; }
	@echo "installing into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

install: $(INSTALLED)

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

# By the compiled build, if there is one of these sources: the same universes, in half the time. `make compiled` makes one.
sim: $(INSTALLED)
	@if $(MAKE) --question --no-print-directory $(COMPILED) 2>/dev/null; then \
		$(COMPILED_VENV)/bin/paxoskv simulate --mode $(MODE) --seeds 0:2000; \
	else \
		$(BIN)/paxoskv simulate --mode $(MODE) --seeds 0:2000; \
	fi

verify: $(INSTALLED)
	$(BIN)/paxoskv verify --mode $(MODE) --duration 60

agreement: $(INSTALLED)
	cd tests && $(abspath $(BIN))/python -m check.test_agreement 0 200000

bench: $(INSTALLED)
	$(BIN)/python -m bench.run $(if $(AGAINST),--against $(AGAINST))

compare: $(INSTALLED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[compare]'
	$(BIN)/python -m comparison $(if $(QUICK),--quick)

can-compile:
	@command -v $${CC:-cc} >/dev/null && $(COMPILED_PYTHON) -c 'import os, sysconfig; raise SystemExit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' \
		|| { echo "compiling needs a C compiler and Python's headers; on Debian: apt-get install gcc libc6-dev python3-dev"; exit 1; }

# Made again when the Python is another one, too.
compiled:
	@[ "$$($(COMPILED_VENV)/bin/python -c '$(WHICH_PYTHON)' 2>/dev/null)" = "$$($(COMPILED_PYTHON) -c '$(WHICH_PYTHON)')" ] || rm -f $(COMPILED)
	@$(MAKE) --no-print-directory $(COMPILED)

$(COMPILED): pyproject.toml setup.py $(shell find paxoskv -name '*.py')
	@$(MAKE) --no-print-directory can-compile
	@rm -rf build
	@$(COMPILED_PYTHON) $(call MAKE_VENV,$(COMPILED_VENV))
	@echo "compiling into $(COMPILED_VENV), a minute or two ..."
	@$(COMPILED_VENV)/bin/python -m pip install --quiet --disable-pip-version-check 'setuptools>=77' 'mypy==2.4.1' msgspec
	@PAXOSKV_COMPILE=1 $(COMPILED_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation '.[dev]'
	@rm -rf build
	@touch $@
	@$(COMPILED_VENV)/bin/paxoskv --version

# PYTHONSAFEPATH: what is installed is tested, and not what lies in the working directory.
test-compiled: $(INSTALLED) compiled
	PAXOSKV_COMPILED=$(COMPILED_VENV)/bin/python $(BIN)/python -m pytest tests/compiled
	PYTHONSAFEPATH=1 $(COMPILED_VENV)/bin/python -m pytest tests/server tests/wire tests/redis/test_like_redis.py \
		tests/cli/test_ttl_and_scan.py -m "not interpreted"

clean:
	rm -rf $(VENV) $(COMPILED_VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
