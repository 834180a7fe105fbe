# `make` alone lists what can be made.
PYTHON ?= python3
RELEASES ?= installed,4.0,4.3
PAIRS ?=
ROW ?=
RUNS ?= 20
PYTEST_ARGS ?=
BENCH_ARGS ?=
BENCH_PLOTS ?=

BIN := .venv/bin
# Without what processes and databases do, and without the long one.
ABOUT_BROKERS := broker $(foreach row,1 2 10 20 21 22 23 24,and not fault(row=$(row)))
TYPED := domain_event_broker tests example_project benchmarks manage.py
comma := ,
EACH_RELEASE = $(subst $(comma), ,$(RELEASES))
DRAWN = $(if $(BENCH_PLOTS),--plots $(BENCH_PLOTS))
# Tests wait more than they work; what each release prints comes when it is through.
AT_ONCE = $(MAKE) --no-print-directory --output-sync=target

.DEFAULT_GOAL := help
.PHONY: help setup venv rabbitmq postgresql demo demo-rabbitmq test lint types test-here \
	test-fast test-postgresql test-brokers test-faults soak prepare-brokers test-matrix \
	bench bench-quick bench-growth librabbitmq plotting clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

setup: venv rabbitmq postgresql ## make .venv and see that RabbitMQ and PostgreSQL are installed

venv:
	@PYTHON=$(PYTHON) scripts/make-venv

rabbitmq:
	@scripts/install-rabbitmq

postgresql:
	@scripts/install-postgresql

demo: venv ## run the example shop on a database alone, or on BROKER=amqp://...
	$(BIN)/python -m example_project.demo

demo-rabbitmq: venv rabbitmq ## run the example shop on a RabbitMQ node of its own
	$(BIN)/python -m example_project.demo --rabbitmq

test: setup lint types test-here test-postgresql ## every check, and every test but the faults', on the installed RabbitMQ, SQLite and PostgreSQL

test-here: setup
	$(BIN)/python -m pytest -m "not fault" $(PYTEST_ARGS)

lint: venv ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: venv ## mypy --strict
	$(BIN)/python -m mypy --strict $(TYPED)

test-fast: venv ## the tests that need neither RabbitMQ nor PostgreSQL
	$(BIN)/python -m pytest -m "not broker and not postgresql and not fault" $(PYTEST_ARGS)

# Where PYTEST_ARGS choose none of these tests (pytest's status 5), that is as it should be.
test-postgresql: venv postgresql ## the tests that use the database, on PostgreSQL
	$(BIN)/python scripts/run_on_postgresql.py $(BIN)/python -m pytest -m "database and not fault" $(PYTEST_ARGS) \
		$(if $(PYTEST_ARGS),|| [ $$? -eq 5 ])

test-brokers: setup prepare-brokers ## the broker tests on RELEASES (installed,4.0,4.3), two at a time
	@$(AT_ONCE) -j2 $(addprefix brokers-on-,$(EACH_RELEASE))

brokers-on-%:
	RABBITMQ_RELEASES=$* $(BIN)/python -m pytest -m "broker and not fault" $(PYTEST_ARGS)

test-faults: setup prepare-brokers ## break things on purpose: the fault matrix once, on RELEASES, four at a time
	@$(AT_ONCE) -j4 $(addprefix faults-on-,$(EACH_RELEASE)) other-faults-on-$(firstword $(EACH_RELEASE))

# What is about the broker, which each release has to pass, and the rest, for which one does.
# Where PYTEST_ARGS choose no test (pytest's status 5), that is as it should be.
faults-on-%:
	FAULT_RUNS=1 RABBITMQ_RELEASES=$* $(BIN)/python -m pytest $(PYTEST_ARGS) \
		-m "fault and ($(ABOUT_BROKERS))" $(if $(PYTEST_ARGS),|| [ $$? -eq 5 ])

other-faults-on-%:
	FAULT_RUNS=1 RABBITMQ_RELEASES=$* $(BIN)/python -m pytest $(PYTEST_ARGS) \
		-m "fault and not ($(ABOUT_BROKERS))" $(if $(PYTEST_ARGS),|| [ $$? -eq 5 ])

soak: setup prepare-brokers ## one ROW of the fault matrix, RUNS times (20), on RELEASES
	@test -n "$(ROW)" || { echo "Which row of the matrix? make soak ROW=4 RUNS=20"; exit 2; }
	FAULT_RUNS=$(RUNS) RABBITMQ_RELEASES=$(RELEASES) SOAK_SECONDS=1800 \
		$(BIN)/python -m pytest -m "fault(row=$(ROW))" -rP $(PYTEST_ARGS)

prepare-brokers: ## make the RabbitMQ releases in RELEASES that are not installed
	@set -e; for release in $(filter 4.0 4.3,$(subst $(comma), ,$(RELEASES))); do \
		scripts/prepare-rabbitmq-release $$release; \
	done

test-matrix: venv ## what test-fast runs, on each Python and Django (PAIRS="3.12-6.1")
	PAIRS="$(PAIRS)" $(BIN)/python scripts/run_matrix.py

bench: setup librabbitmq plotting ## measure beside peers, on private servers (BENCH_ARGS="send --rounds 5" BENCH_PLOTS=folder)
	$(BIN)/python -m benchmarks $(BENCH_ARGS) $(DRAWN)

bench-quick: setup librabbitmq plotting ## a first impression: the main ones, one round, fewer events
	$(BIN)/python -m benchmarks --quick $(BENCH_ARGS) $(DRAWN)

bench-growth: setup librabbitmq plotting ## those with rows that take minutes, with them
	$(BIN)/python -m benchmarks --growth --rounds 1 $(BENCH_ARGS) $(DRAWN)

librabbitmq:
	@scripts/install-librabbitmq

# Only plots need it, and so it is no part of the development tools.
plotting: venv
	@$(if $(BENCH_PLOTS),$(BIN)/python -c 'import matplotlib' 2>/dev/null || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]')

clean: ## remove what was made here (not the prepared RabbitMQ releases)
	rm -rf .venv .matrix build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
