# Two commands do everything: `make run` and `make test`. Both make .venv first, and again only when a lock changed.

.DEFAULT_GOAL := help
.PHONY: help run test test-browser test-real test-peers test-image setup format docs torture bench lock clean

PY := .venv/bin/python
WORKERS ?= 2
ARGS ?=
# One heading per step, so that a log of CI can be read.
step = @printf '\n== %s\n' '$(1)'

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## start the daemon, send it a first task, show what happened; ONCE=1 stops after that
	@scripts/setup.sh run
	@$(PY) -m omni.cli.first_run $(if $(filter-out 0,$(ONCE)),--once)

test: setup ## the gate: format, lint, imports, types, tests
	$(call step,ruff format --check)
	@$(PY) -m ruff format --check .
	$(call step,ruff check)
	@$(PY) -m ruff check .
	$(call step,lint-imports)
	@.venv/bin/lint-imports --no-logo
	$(call step,mypy)
	@$(PY) -m mypy
	$(call step,pytest)
	@$(PY) -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

test-browser: setup ## the dashboard in a real Chromium, without a window
	$(call step,pytest -m browser)
	@chromium="$$(scripts/setup_browser.sh)" && OMNI_CHROMIUM="$$chromium" $(PY) -m pytest -m browser -n 0 --timeout 300 tests/browser $(ARGS)

test-real: setup ## the tests against a real LiteLLM proxy, in a .venv-real of its own
	$(call step,pytest -m real)
	@scripts/setup_real.sh
	@$(PY) -m pytest -m real -n 0 --timeout 300 tests/real $(ARGS)

test-peers: setup ## the tests with the real Claude Code and OpenClaw, in a .peers of their own
	$(call step,pytest -m peers)
	@scripts/setup_peers.sh
	@scripts/setup_real.sh
	@$(PY) -m pytest -m peers -n 0 --timeout 600 tests/peers $(ARGS)

test-image: setup ## the steps of the Dockerfile in a clean Debian tree, and what comes out of them (root, debootstrap)
	$(call step,pytest -m image)
	@$(PY) -m pytest -m image -n 0 --timeout 1800 tests/deploy $(ARGS)

setup: ## make .venv hold what the locks say (PYTHON=… chooses the interpreter)
	@scripts/setup.sh dev

format: setup ## put the code in order, as far as a machine can
	@$(PY) -m ruff check --fix-only --quiet .
	@$(PY) -m ruff format .

docs: setup ## write the pages that come from the code
	@$(PY) -m omni.cli.reference > docs/cli.md.new && mv docs/cli.md.new docs/cli.md

torture: setup ## kill and damage the daemon at random, for minutes (KILLS=… how often)
	@OMNI_TORTURE=$(or $(KILLS),1) $(PY) -m pytest -m torture --timeout 0 tests/torture tests/sim tests/ops tests/adapters $(ARGS)

bench: setup ## measure throughput and latency on this machine
	@$(PY) -m bench $(ARGS)

# The header of a lock says `make lock` and not the real command, which would name files of one machine.
compile = .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-strip-extras --custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade)

lock: setup ## renew the locks from pyproject.toml (UPGRADE=1 takes newer versions)
	@$(compile) pyproject.toml --output-file requirements.lock
	@$(compile) pyproject.toml --extra otel --constraint requirements.lock --output-file requirements-otel.lock
	@$(compile) pyproject.toml --extra otel --group dev --constraint requirements.lock --output-file requirements-dev.lock
	@$(compile) --group build --output-file requirements-build.lock
	@$(compile) requirements-real.in --output-file requirements-real.lock

clean: ## remove .venv, .venv-real, .peers, caches and build leftovers; never a data directory
	rm -rf .venv .venv-real .peers .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist src/*.egg-info
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
