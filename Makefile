PYTHON ?= python3
BIN = .venv/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
UV = 0.13.9

.PHONY: demo test lint types format readme docs lock clean

demo: .venv/installed  ## downscale a photo without and with HCD, upscale both, compare
	$(BIN)/python examples/demo.py

test: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed
	$(BIN)/pyright

format: .venv/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

readme: .venv/installed  ## write the tables of README.md anew from results/
	$(BIN)/python bench/readme.py

docs: .venv/installed  ## the pages under docs/ and those of the Python interface, as a site in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# Everything but torch is in the lock, with the hashes of PyPI's wheels; torch's own needs are too, so that with it nothing
# else comes but its build's CUDA packages, where it has any. See constraints.txt. The conflict that pip would warn of is
# torchvision, which spandrel asks for and the tests have a stand-in for.
.venv/installed: pyproject.toml constraints.txt requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "coscale needs Python 3.11 or later; run make with PYTHON=/path/to/it"; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) --require-hashes --no-deps --only-binary :all: -r requirements.lock
	$(PIP) --no-warn-conflicts -c constraints.txt torch
	$(PIP) --no-deps --no-build-isolation -e .
	touch $@

lock:  ## write requirements.lock anew for pyproject.toml; versions stay as they are, unless the file is deleted first
	$(PYTHON) -m venv build/uv
	build/uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV)
	build/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-package torch \
		--index-url https://pypi.org/simple --custom-compile-command "make lock" \
		-c constraints.txt --all-extras --group build pyproject.toml -o requirements.lock

clean:
	rm -rf .venv demo build dist
