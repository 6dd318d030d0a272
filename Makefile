PYTHON ?= python3
BIN = .venv/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
HASHED = --require-hashes --no-deps --only-binary :all:
# Tests start the command many times: with its bytecode kept, whatever the machine's setting is, each starts half a second sooner.
PYTEST = PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile
UV = 0.13.9
COMPILE = build/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-package torch \
	--index-url https://pypi.org/simple --custom-compile-command "make lock" --group build pyproject.toml

.PHONY: demo test test-all lint types format readme docs lock clean

demo: .venv/default  ## downscale a photo without and with HCD, upscale both, compare
	$(BIN)/python examples/demo.py

test: .venv/default  ## what is installed by default; tests of an extra are skipped, whether or not it is here
	COSCALE_TEST_EXTRAS=none $(PYTEST)

test-all: .venv/all  ## everything; a package that a test needs and that is missing is an error
	COSCALE_TEST_EXTRAS=all $(PYTEST)

lint: .venv/default
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/all
	$(BIN)/pyright

format: .venv/default
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

readme: .venv/default  ## write the tables of README.md anew from results/
	$(BIN)/python -m bench.readme

docs: .venv/all  ## the pages under docs/ and those of the Python interface, as a site in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# Everything but torch is in the locks, with the hashes of PyPI's wheels; torch's own needs are too, so that with it nothing
# else comes but its build's CUDA packages, where it has any. See constraints.txt. The conflict that pip would warn of is
# torchvision, which spandrel asks for and the tests have a stand-in for.
.venv/default: pyproject.toml constraints.txt requirements-test.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "coscale needs Python 3.11 or later; run make with PYTHON=/path/to/it"; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) $(HASHED) -r requirements-test.lock
	$(PIP) --no-warn-conflicts -c constraints.txt torch
	$(PIP) --no-deps --no-build-isolation -e .
	touch $@

# The extras and the tools come on top, in the same place: whatever both locks have, they have in one version.
.venv/all: .venv/default requirements.lock
	$(PIP) $(HASHED) -r requirements.lock
	touch $@

lock:  ## write both locks anew for pyproject.toml; versions stay as they are, unless requirements.lock is deleted first
	$(PYTHON) -m venv build/uv
	build/uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV)
	$(COMPILE) -c constraints.txt --all-extras --group dev -o requirements.lock
	rm -f requirements-test.lock
	$(COMPILE) -c constraints.txt -c requirements.lock --group test -o requirements-test.lock

clean:
	rm -rf .venv demo build dist
