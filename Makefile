# `make` alone lists what can be made.
PYTHON ?= python3
RELEASES ?= installed,4.0,4.3
PAIRS ?=
PYTEST_ARGS ?=

BIN := .venv/bin
TYPED := domain_event_broker tests example_project manage.py
comma := ,

.DEFAULT_GOAL := help
.PHONY: help setup venv rabbitmq demo test lint types test-fast test-brokers prepare-brokers \
	test-matrix clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

setup: venv rabbitmq ## make .venv and see that rabbitmq-server is installed

venv:
	@PYTHON=$(PYTHON) scripts/make-venv

rabbitmq:
	@scripts/install-rabbitmq

demo: setup ## run the example shop on a RabbitMQ node of its own
	$(BIN)/python -m example_project.demo

test: setup lint types ## every check and test, on the installed RabbitMQ
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: venv ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: venv ## mypy --strict
	$(BIN)/python -m mypy --strict $(TYPED)

test-fast: venv ## the tests that need no RabbitMQ
	$(BIN)/python -m pytest -m "not broker" $(PYTEST_ARGS)

test-brokers: setup prepare-brokers ## the broker tests on RELEASES (installed,4.0,4.3)
	RABBITMQ_RELEASES=$(RELEASES) $(BIN)/python -m pytest -m broker $(PYTEST_ARGS)

prepare-brokers: ## make the RabbitMQ releases in RELEASES that are not installed
	@set -e; for release in $(filter 4.0 4.3,$(subst $(comma), ,$(RELEASES))); do \
		scripts/prepare-rabbitmq-release $$release; \
	done

test-matrix: venv ## the tests without RabbitMQ on each Python and Django (PAIRS="3.12-6.1")
	PAIRS="$(PAIRS)" $(BIN)/python scripts/run_matrix.py

clean: ## remove what was made here (not the prepared RabbitMQ releases)
	rm -rf .venv .matrix build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
