"""The catalogue fits the functions it names, and every artifact has a caption."""

import importlib
import inspect
from pathlib import Path

import pytest

import morphion
from morphion.analysis.catalogue import figures, find, tables
from morphion.config import Config
from morphion.errors import ConfigError
from morphion.provenance import digest

CAPTIONS = Path(morphion.__file__).parents[1] / "report"


EXACT = {"labels": {"method": "exact"}, "walked": {"structures": 5}}


@pytest.fixture(params=[{}, {"loadings": ()}, EXACT], ids=["loadings", "no loadings", "walked"])
def artifacts(request):
    config = Config(output="out", rounds=2, **request.param)
    named = {f"table_{name}": artifact for name, artifact in tables(config).items()}
    return named | figures(config)


def test_every_artifact_gives_its_function_the_arguments_it_takes(artifacts):
    for artifact in artifacts.values():
        module, name = artifact.function.split(":")
        function = getattr(importlib.import_module(f"morphion.analysis.{module}"), name)
        given = [*artifact.inputs, "output", *(["config"] if artifact.configured else [])]
        inspect.signature(function).bind(**dict.fromkeys(given))


def test_every_artifact_has_a_caption(artifacts):
    for name in artifacts:
        assert (CAPTIONS / f"{name}.rst").read_text().strip()


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        ({}, (True, True)),
        ({"labels": {"method": "exact"}}, (True, False)),  # without statistical error, no z
        ({"verdict": {"structures_per_shard": 0}}, (False, False)),
        (EXACT, (True, True)),
    ],
)
def test_verdicts_are_shown_where_there_are_some(keys, shown):
    config = Config(output="out", rounds=2, **keys)
    assert ("verdict" in tables(config), "verdict" in figures(config)) == shown
    if shown[1]:
        every = ["round0", "round1", "round2", "evaluation", "loading-0.15", "loading-0.05"]
        sets = ["walked"] if keys == EXACT else every
        assert list(figures(config)["verdict"].inputs["measured"]) == sets


def test_what_was_left_out_is_told_anew_when_it_changes():
    def settings(training, sizes=(256,)):
        paper = {"kind": "paper", "training": {"needs_gpu_above": 100, **training}}
        networks = {"rdf": {"kind": "dense", "descriptor": "rdf"}, "paper": paper}
        curve = {"networks": ("paper",), "sizes": sizes}
        surrogates = {"driver": "rdf", "networks": networks, "learning_curve": curve}
        return digest(tables(Config(output="out", surrogates=surrogates))["left_out"].settings)

    found = settings({}), settings({"max_epochs": 300}), settings({}, (256, 512))
    assert len(set(found)) == 3
    assert settings({"ranks": 2}) == found[0]


def test_an_unknown_name_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match=r"'figure4' is none of .*figure10"):
        find(figures(Config(output="out")), "figure4")
