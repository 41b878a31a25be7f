# Everything starts with one of these. `make help` lists them.

.DEFAULT_GOAL := help
SHELL := /bin/bash
BIN := .venv/bin

# The shell gets the prompt as it was typed: make's own reading of `$` would change it.
unexport PROMPT
ask: export DROVER_ASK_PROMPT := $(value PROMPT)

.PHONY: help up ask test chaos clients check format bench screenshots build settings vendor lock setup setup-dev clean clean-all

help: ## list what make can do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: setup ## run the whole fleet in the foreground: NATS, dispatcher, bridge, agents
	@exec $(BIN)/drover up

ask: setup ## ask the running fleet: make ask PROMPT="Why is the sky blue?"
	@if [ -z "$$DROVER_ASK_PROMPT" ]; then echo 'say what to ask: make ask PROMPT="Why is the sky blue?"' >&2; exit 2; fi; \
	printf '%s' "$$DROVER_ASK_PROMPT" | $(BIN)/drover ask -

# In the order of the folders, whole processes first: by number of tests, as it would be, the slowest files come last and alone.
test: setup-dev ## run all tests; ARGS="-k name" chooses
	@exec $(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)

chaos: setup-dev ## act out faults on real processes, ten minutes; ARGS="--only F2,F6 --json" and others go to it
	@exec $(BIN)/python -m tests.chaos $(ARGS)

# Not part of `make test`: it installs some three gigabytes, the most of it for Open WebUI.
clients: setup-dev ## run the programs that people have against a real fleet; ARGS="--only openai,llm" chooses
	@exec $(BIN)/python -m tests.clients $(ARGS)

check: setup-dev ## lint, format, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup-dev ## format the code and sort the imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## measure the bus, the dispatcher, the bridge and a decision; ARGS="--json" and others go to it
	@exec $(BIN)/drover lab speed $(ARGS)

screenshots: setup-dev ## take the README's pictures anew, of a simulated fleet in headless Chromium
	@exec $(BIN)/python -m tests.screenshots

build: setup ## make the wheel and the source archive in dist/
	$(BIN)/python -m hatchling build

settings: setup ## write the examples in deploy/config and deploy/nats anew from the code
	$(BIN)/python deploy/config/generate.py
	$(BIN)/python deploy/nats/generate.py

vendor: setup-dev ## fetch the pages' third-party files anew from npm; ARGS="--check" compares those that are here, without network
	$(BIN)/python deploy/vendor.py $(ARGS)

lock: ## resolve deploy/locks/ anew; ARGS="--upgrade" takes newer versions, ARGS=clients those of `make clients`
	@deploy/lock.sh $(ARGS)

setup: ## make .venv and install what the fleet needs
	@deploy/setup.sh runtime

setup-dev: ## the same, and what the tests need
	@deploy/setup.sh dev

clean: ## remove build results and caches
	rm -rf dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name .venv -prune -o -name __pycache__ -type d -exec rm -rf {} +

clean-all: clean ## also remove .venv, .venv-clients and .drover (the NATS store and the logs)
	rm -rf .venv .venv-clients .drover
