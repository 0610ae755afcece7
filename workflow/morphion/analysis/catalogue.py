"""Every table and figure of the report: what it is made from, and by which function.

The workflow takes the inputs of its rules from here and ``morphion table`` and ``morphion figure``
take their arguments, so that both always agree.
"""

from morphion.analysis.artifact import HISTORY, Artifact
from morphion.config import Config
from morphion.config.load import trained
from morphion.errors import ConfigError
from morphion.paths import EVALUATION, WALKED, Layout, loading_set, round_set
from morphion.plan import SPLITS, Plan

_ALL_CORES = 1024  # the workflow cuts it down to what there is


def tables(config: Config) -> dict[str, Artifact]:
    """Tables by name, in the order of the report."""
    where, plan = Layout(config.output), Plan(config)
    loadings = _loadings(config)
    found = {
        "summary": Artifact(
            "This run beside the paper",
            "Summary",
            "summary:summary_table",
            {
                "annealed": where.table("table1"),
                "loadings": where.table("table2") if loadings else None,
                "retrained": where.table("splits"),
                "driver": config.surrogates.driver,
                "extremes": where.table("extremes"),
                "pca": where.analysis("pca"),
                "speed": where.table("speed"),
            },
            values=("driver",),
        ),
        "extremes": Artifact(
            "Largest and smallest diffusivities, solved exactly",
            "Structures",
            "extremes:extremes_table",
            {"dataset": where.dataset(round_set(plan.last_round))},
            configured=True,
            threads=_ALL_CORES,
            depends=[config.analysis.extremes, config.verdict.relative_residual],
        ),
        "table1": Artifact(
            "Table 1: annealed structures, before and after retraining",
            "Annealing",
            "tables:table1",
            {"annealed": _annealed(config), "evaluation": _evaluation(config)},
            configured=True,
            depends=[_resampled(config), config.anneal.selection_bins],
        ),
        "table2": Artifact(
            "Table 2: other loadings",
            "Loadings",
            "tables:table2",
            {"loadings": loadings},
            configured=True,
            depends=_resampled(config),
        ),
        **_accuracy_tables(config),
        **_cost_tables(config),
    }
    if config.verdict.structures_per_shard:
        found["verdict"] = Artifact(
            "Labels against the exact solution",
            "Labels",
            "verdicts:verdict_table",
            {"decisions": _decisions(config)},
        )
    if not loadings:
        del found["table2"]
    return found


def _accuracy_tables(config: Config) -> dict[str, Artifact]:
    """How well networks predict."""
    where, plan = Layout(config.output), Plan(config)
    driver, last = config.surrogates.driver, plan.last_round
    networks = {n: _tested(config, n) for n in plan.compared()}
    final = {
        split: {driver: where.predictions(last, driver, split, round_set(last))} for split in SPLITS
    }
    found = {
        "networks": Artifact(
            "Accuracy of every network on the first data set",
            "Networks",
            "tables:networks_table",
            {"predictions": networks},
            configured=True,
            depends=_resampled(config),
        ),
        "out_of_distribution": Artifact(
            "Every first network on structures unlike its data",
            "Networks",
            "tables:out_of_distribution_table",
            {
                "predictions": {
                    set_: {n: where.predictions(0, n, "random", set_) for n in networks}
                    for set_ in plan.unlike_sets()
                },
                "learned": networks,
            },
            configured=True,
            depends=_resampled(config),
        ),
        "splits": Artifact(
            "Random split and split by annealing run",
            "Networks",
            "tables:splits_table",
            final,
            configured=True,
            depends=_resampled(config),
        ),
    }
    if config.walked.structures:
        found["walked"] = Artifact(
            "Exact labels and those of walks",
            "Networks",
            "tables:walked_table",
            {
                "exact": networks,
                "walked": {n: where.predictions(0, n, "random", WALKED) for n in networks},
            },
            configured=True,
            depends=_resampled(config),
        )
    if _has_learning_curve(plan):
        found["learning_curve"] = Artifact(
            "Accuracy against the structures trained on",
            "Networks",
            "tables:learning_curve_table",
            {"predictions": {n: _tested(config, n) for n in plan.trainings()}},
            configured=True,
            depends=_resampled(config),
        )
    return found


def _cost_tables(config: Config) -> dict[str, Artifact]:
    """What networks cost to train and to ask."""
    where, plan = Layout(config.output), Plan(config)
    models = {n: where.model(0, n, "random") for n in plan.compared()}
    found = {
        "costs": Artifact(
            "Parameters, operations and training of every network",
            "Networks",
            "costs:costs_table",
            {"dataset": where.dataset(round_set(0)), "models": models},
        ),
        "speed": Artifact(
            "Time of a label and of a prediction",
            "Summary",
            "speed:speed_table",
            {"dataset": where.dataset(round_set(0)), "models": models},
            configured=True,
            threads=_ALL_CORES,
        ),
    }
    if plan.left_out():
        found["left_out"] = Artifact(
            "Trainings that need a GPU",
            "Networks",
            "costs:left_out_table",
            {"dataset": where.dataset(round_set(0)), "networks": plan.left_out()},
            configured=True,
            values=("networks",),
            threads=_ALL_CORES,
            depends=[trained(config.surrogates.network(name)) for name in plan.left_out()],
        )
    return found


def _figures_of_the_paper(config: Config) -> dict[str, Artifact]:
    """Those that show what the paper's figures of these numbers show."""
    where, plan = Layout(config.output), Plan(config)
    driver, last = config.surrogates.driver, plan.last_round
    data = where.dataset(round_set(last))
    jobs = {
        o: [where.anneal(0, o, j) for name, j in plan.annealing_jobs() if name == o]
        for o in ("maximise", "minimise")
    }
    loadings = _loadings(config)
    found = {
        "figure3": Artifact(
            "Figure 3: parity of the first network",
            "Networks",
            "parity:figure3",
            {"predictions": _tested(config, driver)},
        ),
        "figure5": Artifact(
            "Figure 5: error of every network",
            "Networks",
            "overview:figure5",
            {"table": where.table("networks")},
        ),
        "figure6": Artifact(
            "Figure 6: annealing runs",
            "Annealing",
            "annealing:figure6",
            {**jobs, "predictions": _annealed(config)[0]},
        ),
        "figure7": Artifact(
            "Figure 7: parity of the retrained network",
            "Annealing",
            "parity:figure7",
            {
                "predictions": where.predictions(last, driver, "random", round_set(last)),
                "evaluation": _evaluation(config),
            },
        ),
        "figure8": Artifact(
            "Figure 8: other loadings", "Loadings", "parity:figure8", {"loadings": loadings}
        ),
        "figure9": Artifact(
            "Figure 9: structures of highest and lowest diffusivity",
            "Structures",
            "snapshots:figure9",
            {"dataset": data, "extremes": where.table("extremes")},
            configured=True,
            depends=config.analysis.cluster_distance,
        ),
        "figure10": Artifact(
            "Figure 10: principal components of g(r)",
            "Structures",
            "components:figure10",
            {"descriptors": where.analysis("descriptors"), "pca": where.analysis("pca")},
            configured=True,
            depends=config.analysis.extreme_fraction,
        ),
    }
    if not loadings:
        del found["figure8"]
    return found


def figures(config: Config) -> dict[str, Artifact]:
    """Figures by name, in the order of the report; numbers are the paper's."""
    where, plan = Layout(config.output), Plan(config)
    data = where.dataset(round_set(plan.last_round))
    histories = {
        f"round {r}, {network}, {split}": where.model(r, network, split) + HISTORY
        for r, network, split in plan.models()
    }
    found = {
        **_figures_of_the_paper(config),
        "structures": Artifact(
            "Labels and their doubt", "Structures", "overview:structures_figure", {"dataset": data}
        ),
        "training": Artifact(
            "Training curves", "Networks", "overview:training_figure", {"histories": histories}
        ),
        "calibration": Artifact(
            "Spreads and errors",
            "Networks",
            "calibration:calibration_figure",
            {
                "networks": {n: _tested(config, n) for n in plan.compared()},
                "driver": _tested(config, config.surrogates.driver),
                "evaluation": _evaluation(config),
            },
        ),
    }
    if _has_learning_curve(plan):
        found["learning_curves"] = Artifact(
            "Accuracy against the structures trained on",
            "Networks",
            "overview:learning_curves",
            {"table": where.table("learning_curve")},
        )
    walked = [name for name in plan.sets() if config.labels_of(name).method == "kmc"]
    if config.verdict.structures_per_shard and walked:
        found["verdict"] = Artifact(
            "Labels against the exact solution",
            "Labels",
            "verdicts:verdict_figure",
            {
                "decisions": {name: where.decision(name) for name in walked},
                "measured": {
                    name: [where.verdict(name, shard) for shard in plan.shards(name)]
                    for name in walked
                },
            },
        )
    return found


def results(config: Config) -> Artifact:
    """The page that compares the networks."""
    where = Layout(config.output)
    optional = ("left_out", "learning_curve", "table2", "walked")
    named, drawn = tables(config), figures(config)
    shown = ["networks", "costs", "speed", "table1", "out_of_distribution"]
    shown += [name for name in optional if name in named]
    pictures = ["training", "calibration", *(n for n in ("learning_curves",) if n in drawn)]
    return Artifact(
        "Networks compared",
        "Networks",
        "results:results_page",
        {
            "tables": {name: where.table(name) for name in shown},
            "figures": {name: where.figure(name) for name in pictures},
        },
        configured=True,
    )


def _has_learning_curve(plan: Plan) -> bool:
    return plan.compared() != plan.trainings()


def find(artifacts: dict[str, Artifact], name: str) -> Artifact:
    """The artifact of that name; raises ConfigError listing those there are."""
    if name not in artifacts:
        raise ConfigError(f"{name!r} is none of {', '.join(artifacts)}")
    return artifacts[name]


def _resampled(config: Config) -> list[int]:
    """What intervals follow from."""
    return [config.seed, config.analysis.bootstrap]


def _annealed(config: Config) -> list[str]:
    """Predictions of each round's network for what its annealing selected."""
    where, driver = Layout(config.output), config.surrogates.driver
    return [where.predictions(r, driver, "random", round_set(r + 1)) for r in range(config.rounds)]


def _tested(config: Config, network: str) -> str:
    """Predictions of a first network for the first data set."""
    return Layout(config.output).predictions(0, network, "random", round_set(0))


def _evaluation(config: Config) -> str:
    where = Layout(config.output)
    return where.predictions(config.rounds, config.surrogates.driver, "random", EVALUATION)


def _decisions(config: Config) -> dict[str, str]:
    where = Layout(config.output)
    return {name: where.decision(name) for name in Plan(config).sets()}


def _loadings(config: Config) -> dict[float, str]:
    where, driver = Layout(config.output), config.surrogates.driver
    return {
        loading: where.predictions(config.rounds, driver, "random", loading_set(loading))
        for loading in config.loadings
    }
