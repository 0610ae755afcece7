from morphion.analysis.catalogue import figures, results, tables
from morphion.config import dump_config, parse_config
from morphion.config.load import block, load_config, require_not_its_source, trained
from morphion.errors import MorphionError
from morphion.feasible import require_feasible
from morphion.paths import EVALUATION, WALKED, Layout, loading_set, round_set
from morphion.plan import Plan, planned_here
from morphion.provenance import digest

CONFIG_FILES = [
    Path(file)
    for file in dict.fromkeys([*workflow.configfiles, *workflow.overwrite_configfiles])
]
CONFIG_NAMES = ", ".join(map(str, CONFIG_FILES))

# Where jobs on other nodes, which inherit the environment, find the configuration of their run.
PLANNED = "MORPHION_RUN"

try:
    if workflow.is_main_process or PLANNED not in os.environ:
        RUN = parse_config(
            config,
            source=CONFIG_NAMES,
            folder=Path.cwd(),
            files=CONFIG_FILES,
        )
    if workflow.is_main_process:
        RUN = planned_here(RUN)
        require_feasible(RUN, CONFIG_NAMES)
        require_not_its_source(RUN, Layout(RUN.output).config(), CONFIG_FILES)
        os.environ[PLANNED] = Layout(RUN.output).config()
    else:
        # The node may have a GPU where the first one has none, or none, and the user may be at
        # work on the next run's configuration: it must see the rules that it was planned by.
        RUN = load_config(os.environ.get(PLANNED) or Layout(RUN.output).config())
except MorphionError as error:
    raise WorkflowError(str(error)) from None

# Rules `exec` their command. A shell that waited for it would end at SLURM's signal, and the job with
# it, while the command still saves.

PATHS = Layout(RUN.output)
PLAN = Plan(RUN)
ENVIRONMENT = f"../../envs/{RUN.environment}.yaml"


def depends_on(*blocks):
    """Digest of configuration blocks, as a parameter: only their changes rerun a job."""
    return digest([RUN.seed, *(block(RUN)[name] for name in blocks)])


DRIVER = RUN.surrogates.driver
FIGURES, TABLES, RESULTS = figures(RUN), tables(RUN), results(RUN)


def annealed(round_):
    """The annealing stores of a round."""
    return [PATHS.anneal(round_, *job) for job in PLAN.annealing_jobs()]


def shards_of(path, set_):
    """All shards of a set, of structures or of labels."""
    return [path(set_, shard) for shard in PLAN.shards(set_)]


def shards_are(set_):
    """How many shards a set has, which tells what is in each of them."""
    return len(PLAN.shards(set_))


def dataset_before(set_):
    """The data set that a set is appended to, or that gives it the unit of D*."""
    if set_ == round_set(0):
        return []
    if set_ in PLAN.evaluation_sets():
        return PATHS.dataset(round_set(0))
    return PATHS.dataset(round_set(int(set_.removeprefix("round")) - 1))


def verdict_on(set_):
    """The decision that labels must pass before they are used, where one is asked for."""
    return PATHS.decision(set_) if RUN.verdict.structures_per_shard else []


def round_option(set_):
    """Sets outside the rounds have none."""
    return (
        ""
        if set_ in PLAN.evaluation_sets()
        else f"--round {set_.removeprefix('round')}"
    )


wildcard_constraints:
    set=r"[a-z]+[0-9]*|loading-[0-9.]+",
    shard=r"[0-9]+",
    round=r"[0-9]+",
    part=r"[0-9]+",
    network=r"[a-z0-9_]+(-[0-9]+)?",
    split="random|by_run",
    objective="maximise|minimise",
    job=r"[0-9]+",
