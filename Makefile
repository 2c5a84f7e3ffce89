# Every target that needs Python makes .venv first when it is absent or older than what it is made from.
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.made

.PHONY: help demo check test lint bench soak system-packages clean

help:
	@echo "make demo    the whole way on synthetic files: make demo DEMO='--experiment atlas --keep'"
	@echo "make check   formatting, types, layers, fast tests (no server is started)"
	@echo "make test    all of that and all tests, with real servers"
	@echo "make bench   side by side with what a user would do otherwise: make bench BENCH='join-*'"
	@echo "make soak    long torture"
	@echo "make clean   removes .venv and what tools leave"

demo: $(STAMP) system-packages
	$(BIN)/columnservice demo $(DEMO)

check: lint
	$(BIN)/python -m pytest -m fast -n 2 --dist loadfile

test: system-packages lint
	$(BIN)/python -m pytest -m "not soak" -n 2 --dist loadfile

bench: $(STAMP)
	$(BIN)/python -m benchmarks $(BENCH)

soak: $(STAMP) system-packages
	$(BIN)/python -m pytest -m soak
	$(BIN)/python -m pytest -m fast -n 2 --dist loadfile --hypothesis-profile=search

lint: $(STAMP)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

system-packages:
	@scripts/system-packages

$(STAMP): pyproject.toml constraints.txt scripts/make-venv
	scripts/make-venv $(VENV)
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
