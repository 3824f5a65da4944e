# Two commands for users, `make serve` and `make test`; the rest is for those who build Ledgers.

PYTHON ?= $(shell for candidate in python3.14 python3.13 python3.12 python3.11 python3; do \
	"$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& command -v "$$candidate" && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help serve test lint schema bench graphiql lock

help:
	@echo 'make serve   run the server with a database of its own'
	@echo 'make test    prove it: the whole suite'
	@echo 'make lint    ruff and mypy'
	@echo 'make schema  write schema.graphql'
	@echo 'make bench   measure against plain PostgreSQL; QUICK=1 for a selection'
	@echo 'make graphiql, make lock   rebuild GraphiQL, renew the lock files (need node, uv)'

serve: .venv/serve
	@$(BIN)/ledgers serve

test: .venv/test
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

lint: .venv/test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

schema: .venv/serve
	$(BIN)/ledgers schema --output schema.graphql

bench: .venv/test
	$(BIN)/python -m tests.benchmarks $(if $(QUICK),--quick)

graphiql:
	app/api/graphiql/page/rebuild

lock:
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --quiet --output-file requirements.lock
	uv pip compile pyproject.toml --extra development --universal --python-version 3.11 \
		--constraint requirements.lock --generate-hashes \
		--no-header --no-annotate --quiet --output-file tests/requirements.lock

# Files in .venv stand for what is installed; each is made once its step has gone through.

.venv/python:
	@test -n '$(PYTHON)' || { echo 'Ledgers needs Python 3.11 or newer; none was found.' >&2; exit 1; }
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'Ledgers needs Python 3.11 or newer; $(PYTHON) is not.' >&2; exit 1; }
	@'$(PYTHON)' -m venv .venv
	@touch $@

.venv/serve: .venv/python requirements.lock pyproject.toml
	@echo 'Installing what Ledgers needs into .venv …'
	@$(PIP) --require-hashes --requirement requirements.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/test: .venv/serve tests/requirements.lock
	@echo 'Installing what its tests need …'
	@$(PIP) --require-hashes --requirement tests/requirements.lock
	@touch $@
