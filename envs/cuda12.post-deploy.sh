#!/usr/bin/env bash
# Snakemake runs this in the environment it has just made. The package comes from the checkout whose
# Snakefile runs (it exports MORPHION_ROOT); the environment already holds what it depends on.
set -euo pipefail
: "${MORPHION_ROOT:?is not set: it must name the folder of pyproject.toml}"
python -m pip install --no-deps --no-build-isolation --editable "$MORPHION_ROOT"
