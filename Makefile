# etlog: `make dev` runs everything in one terminal, `make test` runs every test.

PYTHON ?= python3
PARTS := events ledger producer consumer api watch cli dev
BIN := .venv/bin

# Tests at a time: one more than there are processors, because many of them wait.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

SECONDS ?= 60
DAYS ?= 90

.DEFAULT_GOAL := help
.PHONY: help dev test hosts chaos trials watch-test compose-test bench bench-quick verdict verdict-quick verdict-logs watch-messages lint types lock install clean

help:
	@echo "make dev     install into .venv and run etlog: store, consumer, API, page and sample ETL"
	@echo "make test    install into .venv and run every test"
	@echo "make hosts   run the hosts of stages, such as uWSGI, Celery and RQ, and count every event"
	@echo "make chaos   kill, stop and disconnect everything at random: SECONDS=600 SEED=7"
	@echo "make trials  one fault at a time, of every kind, each beside its books: SECONDS=600 SEED=7 ONLY='disk full'"
	@echo "make watch-test  tell people of planted faults, and of nothing while all goes on as usual: SECONDS=600"
	@echo "make compose-test  build and run docker-compose.yml, kill its parts under load; needs Docker and Compose 2.21"
	@echo "make bench   measure everything beside its alternatives (bench-quick: check that the benchmarks run)"
	@echo "make verdict  judge pipelines with planted faults minute by minute: DAYS=90 SEED=7 (verdict-quick: a few)"
	@echo "make verdict-logs  judge every labelled log through a store, a producer, a consumer and an API"
	@echo "make watch-messages  count the messages that a person gets of simulated pipelines: DAYS=30 SEED=7"
	@echo "make lint    ruff: style, imports, formatting"
	@echo "make types   mypy, strict"
	@echo "make lock    renew the pinned, hashed requirements"
	@echo "make install install into .venv"
	@echo "make clean   remove .venv and caches"

dev: install
	@exec $(BIN)/etlog dev $(ARGS)

test: install
	$(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

hosts: install tests/hosts/.venv/installed
	$(BIN)/pytest --numprocesses 8 --dist worksteal tests/hosts $(ARGS)

# The hosts have an environment of their own, with the two parts that a stage needs.
tests/hosts/.venv/installed: tests/hosts/requirements.lock events/pyproject.toml producer/pyproject.toml
	@echo "Installing into $(@D) ..."
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@$(@D)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index \
		--editable ./events --editable ./producer
	@touch $@

chaos: install
	@PYTHONPATH=tests $(BIN)/python -m chaos --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

trials: install
	@PYTHONPATH=tests $(BIN)/python -m chaos.trials --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) --only "$(ONLY)"

watch-test: install
	@ETLOG_TEST_WATCH_SECONDS=$(SECONDS) $(BIN)/pytest tests/e2e/test_watch.py $(ARGS)

compose-test: install
	@PYTHONPATH=tests $(BIN)/python -m compose $(ARGS)

bench: install benchmarks/.venv/installed benchmarks/.venv-arq/installed
	@$(BIN)/python -m benchmarks $(ARGS)

bench-quick: install benchmarks/.venv/installed benchmarks/.venv-arq/installed
	@$(BIN)/python -m benchmarks --quick $(ARGS)

verdict: install
	@$(BIN)/python -m benchmarks.verdict --days $(DAYS) $(if $(SEED),--seeds $(SEED)) $(ARGS)

verdict-quick: install
	@$(BIN)/python -m benchmarks.verdict --days 40 --quick

verdict-logs: install
	@ETLOG_TEST_LOGS=all $(BIN)/pytest tests/e2e/test_verdict.py $(ARGS)

watch-messages: DAYS = 30
watch-messages: install
	@$(BIN)/python -m benchmarks.verdict.messages --days $(DAYS) $(if $(SEED),--seed $(SEED)) $(ARGS)

# The alternatives are installed into separate environments; arq needs an older redis-py than the others.
benchmarks/.venv/installed: benchmarks/requirements.lock
benchmarks/.venv-arq/installed: benchmarks/requirements-arq.lock
benchmarks/.venv/installed benchmarks/.venv-arq/installed:
	@echo "Installing into $(@D) ..."
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

install: .venv/installed

# First the locked packages, by their hashes; then the parts, editable and without an index.
.venv/installed: dev/requirements.lock requirements-tools.lock $(PARTS:=/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "etlog needs Python 3.11 or newer; choose one with: make PYTHON=/path/to/python3" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r dev/requirements.lock -r requirements-tools.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index \
		$(foreach part,$(PARTS),--editable ./$(part))
	@touch $@

UV_COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --generate-hashes \
	--no-header --no-annotate --no-emit-index-url
WITHOUT_PARTS = --no-emit-package etlog $(foreach part,$(filter-out cli,$(PARTS)),--no-emit-package etlog-$(part))

# requirements.lock is what production runs; the other two extend it, so it comes first.
lock: install
	$(UV_COMPILE) requirements.in --output-file requirements.lock $(WITHOUT_PARTS)
	$(UV_COMPILE) dev/requirements.in --output-file dev/requirements.lock $(WITHOUT_PARTS)
	$(UV_COMPILE) requirements-tools.in --output-file requirements-tools.lock
	$(UV_COMPILE) benchmarks/requirements.in --output-file benchmarks/requirements.lock
	$(UV_COMPILE) benchmarks/requirements-arq.in --output-file benchmarks/requirements-arq.lock
	$(UV_COMPILE) tests/hosts/requirements.in --output-file tests/hosts/requirements.lock

clean:
	rm -rf .venv benchmarks/.venv benchmarks/.venv-arq tests/hosts/.venv .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
