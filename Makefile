# Needs Python 3.11 or later, make and pip; everything else goes into .venv.
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3.14 python3,$(shell \
	$(name) -c 'import sys; sys.version_info >= (3, 11) and print("$(name)")' 2>/dev/null)))
VENV := .venv
RUN := $(VENV)/bin

.PHONY: recipe test lint benchmark clean

recipe: $(VENV)/.installed  ## Design an LSTM recipe and print it.
	$(RUN)/meanfield recipe lstm --length 200 --hidden 256 --inputs 28 -o lstm.json

test: $(VENV)/.installed-test  ## Run the whole suite, doctests included, against an installed wheel.
	cd tests && ../$(RUN)/pytest -n auto

lint: $(VENV)/.installed-test  ## Style of the sources, types of the installed package.
	$(RUN)/python -m pip install --quiet '.[lint]'
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	cd tests && ../$(RUN)/mypy --config-file ../pyproject.toml -p meanfield

benchmark: $(VENV)/.installed-test  ## Times and memory of the analyses, as a table; others in benchmarks/ run the same way.
	$(RUN)/python benchmarks/analyses.py

SOURCES := $(wildcard pyproject.toml meanfield/*.py meanfield/cells/*.py solvers/*.py sampling/*.py validation/*.py \
	validation/training/*.py validation/figures/*.py)

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed; set PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python $(SOURCES)
	$(RUN)/python -m pip install --quiet --disable-pip-version-check .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(RUN)/python -m pip install --quiet --disable-pip-version-check '.[test]'
	touch $@

clean:  ## Remove what was built.
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
