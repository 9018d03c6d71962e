# Everything needs only Python >= 3.11 and make; each target makes its own environment from the lock.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# Images of Python often set it: every process that a test starts would then compile the whole program.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check lint format reference picture screenshots lock mutants soak fuzz sizes measured bench bench-full clean

$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: $(VENV)/.ready  ## the main job: embedded database, simulated Plex server, one whole ingest
	$(BIN)/retrovue demo

test: $(VENV)/.ready  ## all tests, on real PostgreSQL and over real HTTP
	$(BIN)/python -m pytest -n logical --dist worksteal $(ARGS)

lint: $(VENV)/.ready  ## formatting, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

reference: $(VENV)/.ready  ## docs/reference, from the code
	$(BIN)/python -m tests.docs.reference

picture: $(VENV)/.ready  ## the packages in docs/architecture.md, from their imports
	$(BIN)/python -m tests.docs.architecture

screenshots: $(VENV)/.ready  ## docs/pictures, of the page on the demo's catalogue; needs Chromium
	$(BIN)/python -m tests.docs.screenshots

check: lint test  ## all that CI runs

mutants: $(VENV)/.ready  ## break each rule of the contract, and see that its tests fail
	$(BIN)/python -m tests.contracts.mutants $(ARGS)

soak: $(VENV)/.ready  ## cut, kill, signal and cancel at every moment of an ingest, and see that nothing is lost: about half an hour
	$(BIN)/python -m tests.faults.soak $(ARGS)

fuzz: $(VENV)/.ready  ## pages changed at random, from a seed that is printed: ARGS="--seed N --pages 100000"
	$(BIN)/python -m tests.faults.fuzz $(ARGS)

sizes: $(VENV)/.ready  ## each value of each answer made large, in search of work that isn't linear: about half an hour
	$(BIN)/python -m tests.faults.sizes $(ARGS)

$(VENV)-runtime/.ready: requirements-runtime.lock
	$(PYTHON) -m venv $(VENV)-runtime
	$(VENV)-runtime/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-runtime.lock
	touch $@

# What is measured is the wheel among what it needs, as operators have it: httpx imports more where click is there.
measured: $(VENV)/.ready $(VENV)-runtime/.ready
	rm -rf $(VENV)-runtime/wheel
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir $(VENV)-runtime/wheel .
	$(VENV)-runtime/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall $(VENV)-runtime/wheel/*.whl

bench: measured  ## speed and memory beside a bare floor, with a PostgreSQL and a Plex server of its own
	$(BIN)/python -m benchmarks --python $(VENV)-runtime/bin/python $(ARGS)

bench-full: measured  ## the same, and with 1,000,000 items
	$(BIN)/python -m benchmarks --python $(VENV)-runtime/bin/python --full $(ARGS)

lock:  ## resolve again for Python 3.11 and newer, with hashes, without index addresses
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/pip install --quiet uv
	$(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --group dev pyproject.toml --output-file requirements.lock
	$(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --constraint requirements.lock pyproject.toml --output-file requirements-runtime.lock
	$(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --extra service --constraint requirements.lock pyproject.toml --output-file requirements-service.lock

clean:
	rm -rf $(VENV) $(VENV)-lock $(VENV)-runtime dist build
