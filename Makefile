# One verb per thing a contributor does; `make help` lists them. Continuous
# integration runs `make check` and nothing else, so the two cannot differ.
#
# Every verb sets up what it needs. The stamps live inside the environment, so
# deleting .venv is all it takes to begin again.

PYTHON ?= python3
WORKERS ?= 2

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip -qq --disable-pip-version-check --no-input
APP := $(VENV)/.stamp-app
DEV := $(VENV)/.stamp-dev
PYTEST := $(PY) -m pytest -n $(WORKERS)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo setup fmt lint types test check check-clients crash bench bench-peers serve docs

help: ## list the verbs
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)$$/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

demo: $(APP) ## answer the tickets of examples/ with the model that ships in the package
	@$(PY) tools/demo.py

setup: $(DEV) ## make .venv with the package and everything a developer needs

fmt: $(DEV) ## format the code and fix what ruff can fix
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

lint: $(DEV) ## formatting, lint rules and the import contracts, changing nothing
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(VENV)/bin/lint-imports --no-logo

types: $(DEV) ## mypy --strict
	$(PY) -m mypy

test: $(DEV) ## the quick tests, under three minutes
	$(PYTEST) -m "not slow and not crash"

check: $(DEV) ## all that continuous integration runs: lint, types, every test, coverage
	@sh tools/debian_packages.sh
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-logo
	rm -f .coverage .coverage.*
	$(PYTEST) --cov --cov-report= --cov-fail-under=0
	$(PY) -m coverage report

check-clients: $(DEV) ## the tests of official clients with older releases of them, each installed anew
	$(PY) -m tools.check_clients

crash: $(DEV) ## every crash point instead of a sample of them
	@sh tools/debian_packages.sh
	NIGHTKILN_CRASH_ALL=1 $(PYTEST) -m crash

bench: $(DEV) ## measure ourselves; the results go to bench/results/
	$(PY) bench/run.py

bench-peers: $(DEV) ## measure other tools beside us, each in its own environment; ten minutes
	$(PY) bench/peers/run.py

serve: $(APP) ## run the simulated provider on 127.0.0.1 until Ctrl-C
	$(VENV)/bin/nightkiln simulate

docs: $(DEV) ## write the pages made from the code, build the site into build/site, check it
	$(PY) -m tools.generate_docs
	$(PY) -m mkdocs build --strict
	$(PY) -m pytest -q tests/house/test_docs.py tests/house/test_generated_docs.py tests/house/test_site.py

$(VENV)/.stamp-venv:
	@$(PYTHON) -c 'import sys; sys.exit("nightkiln needs Python 3.11 or newer, this is %s: say make PYTHON=/path/to/python3" % sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@echo "making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(APP): pyproject.toml src/nightkiln/_version.py $(VENV)/.stamp-venv
	@echo "installing nightkiln into $(VENV) ..."
	@$(PIP) install --editable ".[local]"
	@touch $@

# The group is read by tools/dev_group.py because the pip that comes with
# Python 3.11 does not know dependency groups yet.
$(DEV): tools/dev_group.py $(APP)
	@echo "installing the development tools into $(VENV) ..."
	@$(PY) tools/dev_group.py > $(VENV)/dev-requirements.txt
	@$(PIP) install --requirement $(VENV)/dev-requirements.txt
	@touch $@
