"""The whole pipeline: structures, labels, networks, annealing, retraining rounds, analysis.

    snakemake --workflow-profile profiles/local --configfile config/demo.yaml

Rules choose files; ``morphion`` commands do the work.
"""

import os
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.11")

# Commands are found beside the interpreter that runs Snakemake, also when it was called by path;
# the scripts that finish conda environments find the source tree.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]),
    MORPHION_ROOT=str(workflow.basedir),
)


# Only where no --configfile was given: Snakemake would merge that into this one, key by key.
if not workflow.overwrite_configfiles:

    configfile: "config/demo.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/structures.smk"
include: "workflow/rules/labels.smk"
include: "workflow/rules/dataset.smk"
include: "workflow/rules/currents.smk"
include: "workflow/rules/surrogates.smk"
include: "workflow/rules/anneal.smk"
include: "workflow/rules/loadings.smk"
include: "workflow/rules/walked.smk"
include: "workflow/rules/analysis.smk"
include: "workflow/rules/report.smk"


# Commands read the configuration with its defaults and overrides from a file. No rule makes it: a
# job that depended on it would rerun for every key, and Snakemake does not look for other changes
# behind an input that is about to be remade.
onstart:
    dump_config(RUN, PATHS.config())


localrules:
    all,
    report,


rule all:
    default_target: True
    input:
        rules.report.input,
