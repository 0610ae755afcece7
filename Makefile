# Set up, run and test morphion. `make help` lists the targets.
#
# Variables, e.g. `make demo CORES=4`:
#   PYTHON    interpreter the virtual environment is made from       (python3)
#   CONFIG    configuration that `make demo` runs                    (config/demo.yaml)
#   PROFILE   Snakemake profile it runs with                         (profiles/local)
#   CORES     cores it may use                                       (as the profile says: all)
#   PYTEST    more arguments for pytest, e.g. PYTEST='-x tests/unit'
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
CONFIG ?= config/demo.yaml
PROFILE ?= profiles/local
CORES ?=
PYTEST ?=

VENV := .venv
INSTALLED := $(VENV)/installed
CONSTRAINTS := envs/constraints.txt
OUTPUT := $(shell sed -n 's/^output:[[:space:]]*["'\'']\{0,1\}\([^"'\''\#[:space:]]*\).*/\1/p' $(CONFIG) 2> /dev/null)
REPORT := $(OUTPUT)/report.html
SNAKEMAKE := snakemake --configfile $(CONFIG) $(if $(CORES),--cores $(CORES))

# Tools of the environment come first, whatever is activated.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export MPLBACKEND := Agg

.PHONY: help install demo test gpu lint format constraints clean

help:  ## List the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

install: $(INSTALLED)  ## Make .venv with the pinned dependencies and this package

$(INSTALLED): pyproject.toml $(CONSTRAINTS)
	@command -v "$(PYTHON)" > /dev/null || { \
	  echo "make install: $(PYTHON) not found. Install Python 3.11 or newer, or name one:" \
	    "make install PYTHON=/path/to/python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make install: $$("$(PYTHON)" --version) is too old, Python 3.11 or newer is needed." \
	    "Name one: make install PYTHON=/path/to/python3.12" >&2; exit 1; }
	@"$(PYTHON)" -m venv --help > /dev/null 2>&1 \
	  && "$(PYTHON)" -c 'import ensurepip' 2> /dev/null || { \
	  echo "make install: $(PYTHON) has no venv or ensurepip module. Install your system's" \
	    "package for them (on Debian and Ubuntu: python3-venv)." >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	$(VENV)/bin/python -m pip install -c $(CONSTRAINTS) -e ".[test,slurm]" || { \
	  echo >&2; \
	  echo "make install: pip could not install the dependencies; its own message is above." >&2; \
	  echo "If it names connections or finds no version of a package, no package index is in" \
	    "reach:" >&2; \
	  echo "  - check the network, and the proxy settings where there is one (HTTPS_PROXY);" >&2; \
	  echo "  - or carry the packages over, as docs/install.md ('Without network') says:" >&2; \
	  echo "      PIP_NO_INDEX=1 PIP_FIND_LINKS=\$$PWD/wheelhouse make install" >&2; exit 1; }
	$(VENV)/bin/morphion predict tests/data/annealed.xyz > /dev/null  # compiles what that needs
	@touch $@

demo: $(INSTALLED)  ## Run CONFIG to its HTML report; does nothing where nothing changed
	@test -n "$(OUTPUT)" || { \
	  echo "make demo: $(CONFIG) is missing or has no line 'output: FOLDER'" >&2; exit 1; }
	$(SNAKEMAKE) --workflow-profile $(PROFILE)
	@if [ ! -e $(REPORT) ] \
	  || [ -n "$$(find $(OUTPUT) workflow/report -type f -newer $(REPORT) -print -quit)" ]; then \
	  $(SNAKEMAKE) --workflow-profile profiles/local --report $(OUTPUT)/report.new.html; \
	  mv $(OUTPUT)/report.new.html $(REPORT); \
	fi
	@echo "report: $(REPORT)"

test: $(INSTALLED)  ## Run every test that needs neither a GPU nor SLURM
	python -m pytest -m "not gpu and not slurm" $(PYTEST)

gpu: $(INSTALLED)  ## Test and measure this machine's GPU, in some fifteen minutes
	@python -c 'import cupy' || { \
	  echo "make gpu: .venv holds no CuPy; $(VENV)/bin/pip install -e '.[cuda12]' or '.[cuda13]' adds" \
	    "the one of your driver's CUDA" >&2; exit 1; }
	python -m torch.utils.collect_env
	python -m pytest -m gpu -n 4 $(PYTEST)
	python benchmarks/kmc_gpu.py
	python benchmarks/exact.py --engine gpu --lattices 75 150 375
	folder=$$(mktemp -d) && python benchmarks/kmc_against_exact.py --engine gpu --lattice 375 \
	  --target 0.01 --structures 36 --at-once 36 --csv $$folder/z.csv && rm -r $$folder
	python benchmarks/surrogates.py
	python benchmarks/surrogates.py --tiling

lint: $(INSTALLED)  ## Check the style of Python and Snakemake files
	ruff check
	ruff format --check
	snakefmt --check Snakefile workflow
	$(SNAKEMAKE) --lint

format: $(INSTALLED)  ## Put Python and Snakemake files in that style
	ruff check --fix
	ruff format
	snakefmt Snakefile workflow

constraints: $(INSTALLED)  ## Write the versions that .venv holds to envs/constraints.txt
	@{ \
	  echo "# Exact versions for 'make install'; 'make constraints' writes this file from .venv."; \
	  echo "# Local labels such as torch's +cpu are cut off, so that any build of it fits; NVRTC, of"; \
	  echo "# which a CUDA build of torch takes its own version, is left out."; \
	  python -m pip freeze --exclude-editable | sed 's/+[^+]*$$//; /^nvidia-/d'; \
	} > $(CONSTRAINTS).new
	@mv $(CONSTRAINTS).new $(CONSTRAINTS)
	@touch $(INSTALLED)

clean:  ## Remove caches; results, logs and .venv stay
	rm -rf .pytest_cache .ruff_cache .hypothesis build
	find benchmarks docs tests workflow -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "kept: .venv, results/, logs/ and .snakemake/ (remove them by hand to start over)"
