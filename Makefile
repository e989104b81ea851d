# AI Bridge: `make run` serves, `make test` tests; `make help` lists the rest.

# The first of these that is new enough makes the virtual environment.
PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,\
	$(shell $(name) -c 'import sys; sys.version_info >= (3, 11) and print("$(name)")' 2>/dev/null)))
VENV := .venv
# Whoever sets this pays for it at every start.
export PYTHONDONTWRITEBYTECODE :=
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --quiet --disable-pip-version-check --no-input
# Python compiles what is used when it is used; all of it would take half a minute. The
# lists are complete, as `make lock` makes them, so nothing has to be resolved.
INSTALL := $(PIP) install --no-compile --require-hashes --no-deps
# uv takes seconds for what takes pip a minute. Where only pip reaches a mirror, pip does it.
UV_INSTALL := $(VENV)/bin/uv pip install --python $(PY) --require-hashes --no-deps
install = { $(INSTALL) --only-binary :all: -r requirements-uv.txt && \
	$(UV_INSTALL) $(1:%=-r %); } 2>/dev/null || $(INSTALL) $(1:%=-r %)
LISTS := requirements.txt requirements-dev.txt requirements-bedrock.txt
PYTEST := $(PY) -m pytest --durations=5
# `make test TESTS=tests/proxy` runs a part.
TESTS ?=
# Of a part, one of the two runs may have nothing to do.
OR_NONE := $(if $(TESTS),|| [ $$? = 5 ])
COMPILE := $(PY) -m piptools compile --quiet --generate-hashes --strip-extras \
	--allow-unsafe --no-header --no-annotate --no-emit-index-url \
	--no-emit-trusted-host --no-emit-find-links

.PHONY: run test lint format bench chaos fuzz lock clean help

run: $(VENV)/runtime  ## Serve on AIBRIDGE_HOST:AIBRIDGE_PORT; needs no setting
	@$(PY) -m aibridge_site.run

# What touches no database runs once. Servers and browsers run on PostgreSQL, but for
# `make run`, which is SQLite's. Their tests wait a lot, so there are more of them.
test: $(VENV)/development  ## Run the suite on SQLite, then on PostgreSQL
	$(PYTEST) -n 2 -m "not live" --ignore=tests/live $(TESTS) $(OR_NONE)
	AIBRIDGE_TEST_DATABASE=postgres $(PYTEST) -n 3 -p tests.selection $(TESTS) $(OR_NONE)

lint: $(VENV)/development  ## Check style, types, migrations and settings
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy .
	AIBRIDGE_DATA_DIR=var/lint $(PY) manage.py makemigrations --check --dry-run
	AIBRIDGE_DATA_DIR=var/lint AIBRIDGE_PUBLIC_URL=https://aibridge.example \
		SECURE_HSTS_SECONDS=31536000 \
		$(PY) manage.py check --deploy --fail-level WARNING

format: $(VENV)/development  ## Rewrite the code in the agreed style
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: $(VENV)/development  ## Measure throughput and latency of the gateway
	$(PY) -m tests.bench

chaos: $(VENV)/development  ## Kill workers and the database under load; count losses
	$(PY) -m tests.chaos

fuzz: $(VENV)/development  ## Send the REST API what its description allows and forbids
	AIBRIDGE_TEST_DATABASE=postgres SCHEMATHESIS_EXAMPLES=20 \
		$(PY) -m pytest -s tests/live/test_rest_schemathesis.py

lock: $(VENV)/development  ## Resolve requirements*.in into pins with hashes
	$(COMPILE) -o requirements.txt requirements.in
	for set in dev bedrock fast uv; do \
		$(COMPILE) -o requirements-$$set.txt requirements-$$set.in || exit 1; done

clean:  ## Remove what was built; keeps var/, which holds data and keys
	rm -rf $(VENV) staticfiles .mypy_cache .ruff_cache .pytest_cache .hypothesis

help:  ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(PY):
	@test -n "$(PYTHON)" || { echo "AI Bridge needs Python 3.11 or newer" >&2; exit 1; }
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "$(PYTHON) cannot make a virtual environment" \
		"(on Debian: apt install python3-venv)" >&2; exit 1; }

$(VENV)/runtime: requirements.txt requirements-uv.txt $(PY)
	@echo "Installing what AI Bridge needs (once) ..."
	@$(call install,requirements.txt)
	@touch $@

$(VENV)/development: $(LISTS) requirements-uv.txt $(PY)
	@echo "Installing what AI Bridge, tests and linters need (once) ..."
	@$(call install,$(LISTS))
	@touch $(VENV)/runtime $@
