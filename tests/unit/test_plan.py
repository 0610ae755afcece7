"""What a run trains, with a GPU and without."""

import pytest

from morphion.config import Config
from morphion.config.geometry import Structures
from morphion.config.load import trained
from morphion.dataset.split import split_sizes
from morphion.errors import ConfigError
from morphion.plan import Plan, planned_here


def config(driver="rdf", engine="auto", **curve):
    networks = {
        "rdf": {"kind": "dense", "descriptor": "rdf"},
        "paper": {"kind": "paper", "training": {"needs_gpu_above": 256}},
    }
    surrogates = {"driver": driver, "networks": networks, "learning_curve": curve}
    return Config(output="out", engine=engine, surrogates=surrogates)


CURVE = {"sizes": (1024, 256), "networks": ("rdf", "paper")}


def test_without_a_gpu_costly_trainings_are_left_out_and_the_largest_made_is_compared():
    plan = Plan(planned_here(config(**CURVE), lambda: False))
    assert plan.trainings() == ["rdf", "rdf-256", "rdf-1024", "paper-256"]
    assert plan.left_out() == ["paper", "paper-1024"]
    assert plan.compared() == ["rdf", "paper-256"]
    assert (0, "rdf-256", "random") in set(plan.models())


def test_a_size_that_is_the_whole_split_is_trained_once():
    whole = split_sizes(config().structures.count, config().split)[0]
    plan = Plan(config(sizes=(256, whole), networks=("rdf",)))
    assert [name for name in plan.trainings() if name.startswith("rdf")] == ["rdf", "rdf-256"]


@pytest.mark.parametrize(("engine", "here"), [("auto", True), ("gpu", False)])
def test_with_a_gpu_everything_is_trained(engine, here):
    plan = Plan(planned_here(config(engine=engine, **CURVE), lambda: here))
    assert plan.left_out() == []
    assert plan.compared() == ["rdf", "paper"]
    assert len(plan.trainings()) == 6


def test_engine_cpu_asks_for_no_gpu():
    assert Plan(planned_here(config(engine="cpu"), lambda: True)).left_out() == ["paper"]


def test_a_training_split_within_the_limit_needs_no_gpu():
    small = config().model_copy(update={"structures": Structures(rsa=300, chain=0, gapped=0)})
    assert small.split[0] * 300 < 256
    assert Plan(planned_here(small, lambda: False)).left_out() == []


def test_a_training_does_not_depend_on_ranks_or_on_the_machine():
    plain = {"kind": "paper", "training": {"batch_size": 16}}
    here = {"kind": "paper", "training": {"batch_size": 16, "ranks": 4, "needs_gpu_above": 9}}
    other = {"kind": "paper", "training": {"batch_size": 8}}
    seldom = {"kind": "paper", "training": {"batch_size": 16, "validate_every": 2}}
    runs = ({"networks": {"n": network}, "driver": "n"} for network in (plain, here, other, seldom))
    runs = [Config(output="out", surrogates=surrogates) for surrogates in runs]
    blocks = [trained(run.surrogates.network("n")) for run in runs]
    assert blocks[0] == blocks[1]
    assert blocks[0] != blocks[2]
    assert blocks[0] != blocks[3]
    # Trainings of before there was such a key go on.
    assert "validate_every" not in blocks[0]["training"]


def test_a_driver_that_would_be_left_out_is_refused():
    with pytest.raises(ConfigError, match="driver = 'paper' needs a GPU"):
        planned_here(config(driver="paper"), lambda: False)


def test_a_driver_that_later_rounds_would_leave_out_is_refused():
    # 4916 structures to train on at first, 7280 more of annealing and 60 % of them after it.
    whole = split_sizes(config().structures.count, config().split)[0]
    paper = config().surrogates.networks["paper"]
    for above, fits in ((3 * whole, True), (whole, False)):
        training = paper.training.model_copy(update={"needs_gpu_above": above})
        networks = {"paper": paper.model_copy(update={"training": training})}
        surrogates = config().surrogates.model_copy(
            update={"networks": networks, "driver": "paper"}
        )
        run = config().model_copy(update={"surrogates": surrogates})
        if fits:
            assert planned_here(run, lambda: False) == run
            continue
        assert not Plan(run).needs_gpu("paper")
        with pytest.raises(ConfigError, match=r"driver = 'paper' needs a GPU .* in round 1"):
            planned_here(run, lambda: False)


def test_of_a_network_on_few_structures_a_larger_part_is_compared():
    networks = {"rdf": {"kind": "dense", "descriptor": "rdf", "training": {"structures": 512}}}
    curve = {"sizes": (256, 1024), "networks": ("rdf",)}
    surrogates = {"driver": "rdf", "networks": networks, "learning_curve": curve}
    plan = Plan(Config(output="out", surrogates=surrogates))
    assert plan.trainings() == ["rdf", "rdf-256", "rdf-1024"]
    assert plan.compared() == ["rdf-1024"]


def test_a_training_on_part_of_the_data_differs_in_that_alone():
    surrogates = config().surrogates
    part, whole = surrogates.network("rdf-100"), surrogates.network("rdf")
    assert part.training.structures == 100
    training = part.training.model_copy(update={"structures": None})
    assert part.model_copy(update={"training": training}) == whole
    for name in ("rdf-", "rdf-0", "rdf-x", "cnn", "cnn-5"):
        with pytest.raises(ConfigError, match=r"surrogates\.networks has no"):
            surrogates.network(name)


@pytest.mark.parametrize(
    ("curve", "message"),
    [
        ({"sizes": (10, 10), "networks": ("rdf",)}, "sizes = .* repeats one"),
        ({"sizes": (10,), "networks": ("cnn",)}, "networks has 'cnn'"),
    ],
)
def test_a_wrong_learning_curve_is_refused(curve, message):
    with pytest.raises(ValueError, match=message):
        config(**curve)
