PYTHON ?= python3
WORKERS ?= 2

BIN := .venv/bin
INSTALLED := .venv/.installed
# One thread for each test worker: they do not fight over cores, and sums come out in the same order everywhere.
# Tests never download: the hub is off, and figures need no screen.
PYTEST := OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 MPLBACKEND=Agg $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
# The two notebooks that take least, from top to bottom.
SHORT := notebooks/which_heads_generalise.ipynb notebooks/heads_in_words.ipynb

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint format bench clean

help: ## List what `make` can do here
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## Create .venv and install the package with its development tools

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

demo: $(INSTALLED) ## Run the whole path on the embedded model and images, into demo/
	$(BIN)/interp demo --out demo

test: $(INSTALLED) ## Run the tests, doctests and two notebooks, but for tests marked slow or browser
	$(PYTEST) -m "not slow and not browser" --durations=5 --nbmake tests interp $(SHORT)

test-all: $(INSTALLED) ## Run every test, slow and browser ones too, and every notebook
	$(PYTEST) --durations=20 --nbmake tests interp $(wildcard notebooks)

lint: $(INSTALLED) ## Check style, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

format: $(INSTALLED) ## Mend style and format where that can be done safely
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(INSTALLED) ## Time the numerical core and the encoder pass
	$(BIN)/python experiments/bench.py

clean: ## Remove caches and build outputs; .venv, demo/ and runs/ stay
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis
	find interp tests experiments -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
