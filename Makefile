PYTHON ?= python3
BIN = .venv/bin

.PHONY: demo test lint types format readme docs clean

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

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "coscale needs Python 3.11 or later; run make with PYTHON=/path/to/it"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		-e '.[16bit,docs,export,parquet,ray,report,serve,dev]'
	@# The extra sr without torchvision, which spandrel asks for and the tests have a stand-in for.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt spandrel einops
	touch $@

clean:
	rm -rf .venv demo build dist
