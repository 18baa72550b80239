# Everything a newcomer needs: `make demo` and `make test` set themselves up on a machine with Python 3.11, git and make.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := spaces objectives search studies

.PHONY: demo test check bench constraints clean

# Runs the demo study on its embedded data; then the picks become release bundles, and the report is written.
demo: $(VENV)/installed
	$(BIN)/litefront run mnist
	rm -rf runs/mnist/bundles
	for tier in entry flagship; do \
	    $(BIN)/litefront export mnist --tier $$tier --out runs/mnist/bundles/$$tier && \
	    $(BIN)/litefront check runs/mnist/bundles/$$tier || exit $$?; \
	done

test: $(VENV)/installed
	$(BIN)/python -m pytest

check: $(VENV)/installed $(VENV)/types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=$(VENV)/types $(BIN)/mypy --namespace-packages --explicit-package-bases -p litefront

bench: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	for study in mobilenet minilm faces; do $(BIN)/python -m litefront.studies.$$study.fetch || exit $$?; done
	for benchmark in tests/benchmarks/*.py; do $(BIN)/python $$benchmark || exit $$?; done

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,dashboard,text]'
	touch $@

# mypy does not follow setuptools' mapping of folders to packages: it is shown the packages as links.
$(VENV)/types: $(VENV)/installed
	mkdir -p $@/litefront
	for package in $(PACKAGES); do ln -sfn ../../../$$package $@/litefront/$$package; done

# The newest versions that install together, for constraints.txt; whether they work together is what the tests say.
constraints:
	rm -rf build/newest && $(PYTHON) -m venv build/newest
	build/newest/bin/python -m pip install --quiet --editable '.[dev,dashboard,text]'
	build/newest/bin/python -m pip list --format=freeze --exclude-editable

clean:
	rm -rf $(VENV) build dist *.egg-info runs
