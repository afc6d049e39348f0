# Set-up and the main jobs. Everything lives in .venv; PYTHON picks the interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Threads that spin while they wait slow everything down when another program wants a core.
export OMP_WAIT_POLICY := PASSIVE

.PHONY: setup setup-dev quickstart test test-slow kill-test fuzz lint docs bench ranking-page dnad-page clean

setup: $(VENV)/.installed

setup-dev: $(VENV)/.installed-dev

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/.installed-dev: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@ $(VENV)/.installed

quickstart: setup
	$(BIN)/distilnas run shrink-quickstart

# Two processes of one thread each, whole files at a time.
test: setup-dev lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: setup-dev
	$(BIN)/python -m pytest -m slow

# Whole runs killed at every rename and at KILLS random moments of each recipe, and on a full disk.
kill-test: setup-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m kill tests/kill

# FUZZ damaged inputs in all, each for 10 seconds at most.
fuzz: setup-dev
	FUZZ_SECONDS=10 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m fuzz tests/fuzz

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

# The pages as a site: site/index.html.
docs: setup-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

bench: setup-dev
	$(BIN)/python -m benchmarks

# Numbers and pictures of docs/results/ranking.md from the kept tables; TRUTH is the published table of NAS-Bench-Macro.
ranking-page: setup-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[pictures]'
	$(BIN)/python -m benchmarks.ranking_page $(TRUTH)

# Numbers and pictures of docs/results/dnad.md from the kept records.
dnad-page: setup-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[pictures]'
	$(BIN)/python -m benchmarks.dnad_page

clean:
	rm -rf $(VENV) build dist site src/*.egg-info .pytest_cache .ruff_cache .hypothesis
