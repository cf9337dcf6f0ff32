# Everything a newcomer needs: `make demo` and `make test` do all the set-up by themselves.

SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
PIP := $(PYTHON) -m pip --python $(BIN)/python --disable-pip-version-check --quiet
DEMO ?=

.PHONY: help venv demo test check format bench torture clusters lock packages clean
.DEFAULT_GOAL := help

help:
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*##/:/'

venv: .venv/ready ## the virtual environment, nothing else

.venv/ready: requirements/dev.lock pyproject.toml
	@echo "setting up .venv (locked, with hashes)"
	@$(PYTHON) -m venv .venv 2>/dev/null || $(PYTHON) -m venv --without-pip --clear .venv
	@$(PIP) install --require-hashes -r requirements/dev.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

demo: venv ## the main job on this machine: simulated instruments, gateway, MQTT (DEMO="--seconds 60")
	@$(BIN)/dosegate demo $(DEMO)

test: venv packages ## all tests
	$(BIN)/pytest

check: venv ## formatting, linting, types, import contracts, fresh generated files, systemd unit
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/dosegate schema --check docs/reference
	$(BIN)/dosegate check -c config/examples/event.toml

format: venv ## formats and writes generated files
	$(BIN)/ruff format
	$(BIN)/ruff check --fix
	$(BIN)/dosegate schema --write docs/reference

torture: venv packages ## the long forms of the tests: outages, kills, power cuts, statistics
	$(BIN)/pytest -m torture --timeout 3600 --ignore tests/torture/test_clusters.py

bench: venv packages .bench/ready ## alarm rules; CPU per sample, latency, memory; two other readers beside it
	$(BIN)/python tests/bench/rules.py --detectors 60
	$(BIN)/python tests/bench/storage.py
	$(BIN)/python tests/bench/measure.py --detectors 100 1000 --seconds 60
	$(BIN)/python tests/bench/measure.py --detectors 200 400 600 800 --seconds 30 --alarm-every 0 --occupied
	$(BIN)/python tests/bench/peers.py --detectors 200 --seconds 30 \
		--modpoll .bench/modpoll/bin/modpoll --thingsboard .bench/thingsboard/bin/python

.bench/ready: Makefile
	@echo "installing modpoll and thingsboard-gateway, for comparison only"
	@$(PYTHON) -m venv .bench/modpoll && $(PYTHON) -m venv .bench/thingsboard
	@.bench/modpoll/bin/pip --quiet --disable-pip-version-check install modpoll==1.6.0
	@.bench/thingsboard/bin/pip --quiet --disable-pip-version-check install thingsboard-gateway==3.8.5
	@touch $@

clusters: venv ## a node of NATS and of RabbitMQ is killed under load (root: installs both, starts neither)
	DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends \
		nats-server rabbitmq-server >/dev/null
	$(BIN)/pytest -n0 -s -m torture --timeout 600 tests/torture/test_clusters.py

lock: ## new lock files from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate --upgrade -o requirements/run.lock
	uv pip compile --group test --group check --group build pyproject.toml --universal \
		--python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
		--upgrade -o requirements/dev.lock

PROGRAMS := mosquitto=mosquitto mosquitto_sub=mosquitto-clients strace=strace \
	xmllint=libxml2-utils openssl=openssl mbpoll=mbpoll

packages:
	@PATH="$$PATH:/usr/sbin"; missing=""; \
	for pair in $(PROGRAMS); do \
		command -v "$${pair%%=*}" >/dev/null || missing="$$missing $${pair##*=}"; \
	done; \
	[ -n "$$missing" ] || exit 0; \
	if [ "$$(id -u)" = 0 ]; then as=""; elif sudo -n true 2>/dev/null; then as="sudo -n"; else \
		echo "!! missing, and no rights to install it; its tests are skipped:$$missing"; \
		exit 0; fi; \
	echo "installing Debian packages:$$missing"; \
	$$as apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
		$$as apt-get install -y -qq --no-install-recommends $$missing >/dev/null || \
		echo "!! could not be installed, its tests are skipped:$$missing"

clean: ## removes what make made
	rm -rf .venv .bench dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
