PYTHON ?= python3
PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check install --quiet
EXPR ?= 130000 * 130000
export EXPR
export PYTHONDONTWRITEBYTECODE ?= 1

CONFORMANCE := tests/conformance

.PHONY: setup run demo test bench lint types floors conformance clean

setup: .venv/run.stamp  ## .venv with what the broker needs

run: setup  ## the broker on the shipped settings
	$(PY) main.py

demo: .venv/demo.stamp  ## broker, bridge, a real MCP server and a device in one terminal; EXPR='7*6'
	$(PY) examples/demo.py

test: .venv/test.stamp .venv-mcp1/stamp tests/npm/node_modules/.stamp tests/providers/openapi/documents/public/.stamp  ## all tests; at the end it says what was skipped, and why
	@$(PY) -m compileall -q src # once, not in each of the hundreds of processes that the tests start
	$(PY) -m pytest -n auto --maxprocesses 4 --dist worksteal

bench: .venv/test.stamp  ## the cost of a call beside other relays, and all that needs a clock; docs/performance.md
	$(PY) benchmarks/run.py

lint: .venv/test.stamp
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: .venv/test.stamp
	$(PY) -m mypy
	$(PY) -m mypy --platform win32 --cache-dir .mypy_cache/win32
	MYPYPATH=src:tests $(PY) -m mypy --follow-imports silent benchmarks/*.py

floors: .venv/test.stamp
	PYTHONPATH=src .venv/bin/lint-imports

conformance: .venv/demo.stamp $(CONFORMANCE)/node_modules/stamp  ## the official conformance suite, directly and through the broker
	PYTHONPATH=src:tests $(PY) $(CONFORMANCE)/run.py

clean:
	rm -rf .venv .venv-mcp1 tests/npm/node_modules tests/providers/openapi/documents/public $(CONFORMANCE)/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("%s is Python %d.%d; 3.11 or newer is needed. Try: make PYTHON=python3.11" % ((sys.executable,) + sys.version_info[:2]) if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "No virtual environment could be made. On Debian or Ubuntu: apt-get install -y make python3-venv"; exit 1; }

.venv/run.stamp: requirements.txt | .venv/bin/python
	$(PIP) -r requirements.txt
	@touch $@

.venv/demo.stamp: examples/requirements.txt .venv/run.stamp
	$(PIP) -r examples/requirements.txt
	@touch $@

.venv/test.stamp: requirements-dev.txt .venv/demo.stamp
	$(PIP) -r requirements-dev.txt
	@touch $@

.venv-mcp1/stamp: tests/requirements-mcp1.txt | .venv/bin/python
	@$(PYTHON) -m venv .venv-mcp1
	.venv-mcp1/bin/python -m pip --disable-pip-version-check install --quiet -r tests/requirements-mcp1.txt
	@touch $@

# Node programs that some tests talk to; without npm those tests are skipped and say so.
tests/npm/node_modules/.stamp: tests/npm/package.json tests/npm/package-lock.json
	@if command -v npm >/dev/null; then npm ci --prefix tests/npm --silent && touch $@; \
	else echo "npm is not there: the tests that talk to Node programs will be skipped"; fi

# Public API documents that some tests read, 45 MB to fetch; without npm those tests are skipped and say so.
tests/providers/openapi/documents/public/.stamp: tests/providers/openapi/documents/PUBLIC.json tests/providers/openapi/documents/public.py | .venv/bin/python
	@$(PY) tests/providers/openapi/documents/public.py || echo "the public OpenAPI documents could not be fetched: the tests that read them will be skipped"

# The suite needs Node 24; npm brings one where the machine's is older.
$(CONFORMANCE)/node_modules/stamp: $(CONFORMANCE)/package.json $(CONFORMANCE)/package-lock.json
	@command -v npm >/dev/null || { echo "npm is missing; the conformance suite is installed with it. On Debian or Ubuntu: apt-get install -y npm"; exit 1; }
	cd $(CONFORMANCE) && npm ci --loglevel=error $$(node -p 'parseInt(process.versions.node) < 24 ? "" : "--omit=optional"')
	@touch $@
