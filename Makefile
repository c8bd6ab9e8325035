# Each target sets itself up: it makes .venv and installs into it.
#   make serve   run the server          make test   run the tests
# ARGS goes to the command behind a target: make serve ARGS="--port 9000"

VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# Of fuzzing, for each target.
SECONDS ?= 60
# Of a long run.
MINUTES ?= 30
NODE_PEER := benchmarks/peers/node
NODE_EXAMPLES := examples/javascript
NODE_INTEROP := tests/interop/node
SOURCES := pyproject.toml setup.py trio_ws/protocol/_speedups.c

# The first Python on this machine that is new enough.
FIND_PYTHON = for p in python3 python3.13 python3.12 python3.11; do \
	  if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$p; exit; fi; \
	done

.PHONY: help serve test test-all lint format conformance instructions fuzz soak packages bench examples interop docs clean

help:
	@echo "make serve        run the echo server on ws://127.0.0.1:8765"
	@echo "make test         run the tests, with coverage"
	@echo "make test-all     run the tests on every Python from 3.11 on that is there"
	@echo "make lint         ruff, mypy, licences, and what is known against dependencies"
	@echo "make format       rewrite the code in the house's format"
	@echo "make conformance  run Autobahn's cases against server and client (needs Python 2.7)"
	@echo "make bench        compare the speed with other libraries (ARGS=--quick for a look)"
	@echo "make instructions count instructions per message, to find what got slower (needs valgrind)"
	@echo "make fuzz         look for bytes that break the parsers (SECONDS=60 for each)"
	@echo "make soak         hundreds of clients over a bad network, watched for growth (MINUTES=30)"
	@echo "make examples     run the examples' tests, with everything that they can talk to"
	@echo "make interop      talk to other people's software, and print who was tried in what"
	@echo "make docs         build the manual: build/docs/index.html"
	@echo "make packages     build the source distribution and both wheels: dist/"
	@echo "make clean        remove what the other targets made"

$(VENV)/.python:
	@python=$$($(FIND_PYTHON)); \
	if [ -z "$$python" ]; then echo "trio-ws needs Python 3.11 or newer: none was found" >&2; exit 1; fi; \
	"$$python" -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.python $(SOURCES)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.python $(SOURCES)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-bench: $(VENV)/.python $(SOURCES)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,bench]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-dev

$(VENV)/.installed-docs: $(VENV)/.python $(SOURCES)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-fuzz: $(VENV)/.python $(SOURCES)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,fuzz]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-dev

$(VENV)/.installed-soak: $(VENV)/.python $(SOURCES)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,soak]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-dev

$(VENV)/.installed-interop: $(VENV)/.python $(SOURCES)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,interop]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-dev

# What runs on Node. Where there is none, or no way to npm, it is left out.
%/node_modules/.installed: %/package.json
	@if ! command -v npm >/dev/null; then echo "npm is not here: what $< names is left out" >&2; \
	elif (cd $* && npm install --silent --no-audit --no-fund --no-package-lock); then touch $@; \
	else echo "npm could not install what $< names: it is left out" >&2; fi

serve: $(VENV)/.installed
	@exec $(BIN)/trio-ws serve $(ARGS)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto --cov --cov-report=term $(ARGS)

test-all: $(VENV)/.installed-dev
	$(BIN)/python -m tests.every_python $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tests.audit

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

conformance: $(VENV)/.installed-dev
	$(BIN)/python -m tests.conformance.run $(ARGS)

instructions: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.instructions $(ARGS)

fuzz: $(VENV)/.installed-fuzz
	$(BIN)/python -m fuzz --seconds $(SECONDS) $(ARGS)
	$(BIN)/python -m fuzz.sanitized --seconds $(SECONDS)
	$(BIN)/python -m fuzz.differential

soak: $(VENV)/.installed-soak
	$(BIN)/python -m soak --minutes $(MINUTES) $(ARGS)

bench: $(VENV)/.installed-bench $(NODE_PEER)/node_modules/.installed
	@$(BIN)/python -m benchmarks $(ARGS)
	@$(if $(findstring --list,$(ARGS)),,$(BIN)/python -m benchmarks.fan_out)

# Warnings are errors, and so is every name in a docstring that leads nowhere.
docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx --builder html --nitpicky --fail-on-warning --keep-going --quiet \
	  --doctree-dir build/doctrees $(ARGS) docs build/docs
	@echo "build/docs/index.html"

examples: $(VENV)/.installed-interop $(NODE_EXAMPLES)/node_modules/.installed
	TRIO_WS_REQUIRE=all $(BIN)/python -m pytest tests/examples $(ARGS)

# What is not on this machine fails; `make interop TRIO_WS_REQUIRE=` skips it.
interop: export TRIO_WS_REQUIRE ?= all
interop: $(VENV)/.installed-interop $(NODE_INTEROP)/node_modules/.installed
	@tests/interop/unpack_curl.sh build/curl || echo "no curl with ws: it is left out" >&2
	$(BIN)/python -m pytest -n auto -p tests.interop.matrix tests/interop $(ARGS)

packages: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.packages dist

clean:
	rm -rf $(NODE_PEER)/node_modules $(NODE_EXAMPLES)/node_modules $(NODE_INTEROP)/node_modules
	rm -rf $(VENV) .venvs .venv-* build dist reports *.egg-info .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
	rm -f trio_ws/protocol/_speedups*.so
