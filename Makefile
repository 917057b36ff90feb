# `make demo` and `make test` do all the set-up themselves, on a machine with nothing but Python 3.11 or newer.
PYTHON ?= python3
DATA   ?= digits
REVISION ?= HEAD
VENV   := .venv
BIN    := $(VENV)/bin
OLDEST := .venv-oldest

# Idle threads spin briefly, then sleep: as fast alone, five times faster where other programs want the cores.
export GOMP_SPINCOUNT ?= 10000

# One test process per core, each with one thread; with more than 4 the few slowest tests decide the time.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n logical --maxprocesses 4 --dist worksteal

.PHONY: install demo test test-fast test-oldest package docs figures results notebooks digests lint format clean help

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

install: $(VENV)/.installed  ## make the virtual environment with pinned dependencies and all extras but timm

$(VENV)/.package: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[report]'
	@touch $@

$(VENV)/.installed: $(VENV)/.package
	$(PIP) -e '.[dev,docs,ray,report,tensorboard]'
	@touch $@

demo: $(VENV)/.package  ## show in under 3 minutes what the package does; DATA=cifar10 distills CIFAR-10 itself
	$(BIN)/python examples/demo.py $(DATA)

test: install lint  ## everything that CI checks
	$(PYTEST)

test-fast: install  ## the tests that take less than about 3 seconds each, without the style checks
	$(PYTEST) -m "not slow"

test-oldest: $(OLDEST)/.installed  ## the fast tests with the oldest versions of the dependencies that are allowed
	OMP_NUM_THREADS=1 $(OLDEST)/bin/python -m pytest -q -n logical --maxprocesses 4 --dist worksteal -m "not slow"

$(OLDEST)/.installed: pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-oldest.txt -e '.[tensorboard,ray,report]' \
	  hypothesis kornia packaging pytest pytest-timeout pytest-xdist
	@touch $@

package: install  ## build wheel and sdist into dist/, install the wheel into an empty environment, run every command there
	$(BIN)/python tools/check_package.py build/package
	rm -rf dist && mkdir dist && cp build/package/*.whl build/package/*.tar.gz dist/

lint: install  ## style, spelling and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell src tests examples docs tools README.md CHANGELOG.md CONTRIBUTING.md
	$(BIN)/mypy
	$(BIN)/mypy examples benchmarks
	$(BIN)/mypy tools/docs
	$(BIN)/mypy tools/digests.py tools/campaign.py tools/frontier.py tools/bundle_set.py tools/check_package.py \
	  tools/demo_images.py tools/results_page.py

# The notice that it silences is about mkdocs 2, which the pins keep away; CONTRIBUTING.md says what comes after mkdocs.
docs: install  ## build the documentation into site/, as pages that need no network
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

figures: install  ## draw the figures of the documentation anew
	$(BIN)/python tools/docs/figures.py
	$(BIN)/python tools/docs/set_picture.py

results: install  ## write docs/results.md, its figures and the tables of docs/frontier.md from the committed results
	$(BIN)/python tools/results_page.py
	$(BIN)/python tools/frontier.py table

notebooks: install  ## run the notebooks and store what they print and draw
	$(BIN)/python examples/run_notebooks.py

digests: install  ## compare the results of short runs with those of REVISION, on this machine
	$(BIN)/python tools/digests.py --revision $(REVISION)

format: install  ## put the code in shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the environment and caches, not runs
	rm -rf $(VENV) $(OLDEST) .mypy_cache .ruff_cache .pytest_cache build dist site src/*.egg-info
