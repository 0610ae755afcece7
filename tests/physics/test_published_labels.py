"""The published walks agree with the published exact labels of the same structures."""

from pathlib import Path

import numpy as np
import pytest

from morphion import store

DATA = Path(__file__).parents[2] / "data"
NAMES = ("positions", "diffusivity", "stderr", "family", "group", "split_random")


@pytest.fixture(scope="module")
def pairs():
    """The walked structures and the same ones with exact labels, in one order."""
    walked, exact = (
        store.load(DATA / f"{name}.zarr.zip", kind="dataset", names=NAMES)
        for name in ("study-walked", "study")
    )
    place = {group: row for row, group in enumerate(exact.group.values)}
    return walked, exact.isel(structure=[place[group] for group in walked.group.values])


def test_both_files_mean_the_same_structures_of_the_test_set(pairs):
    walked, exact = pairs
    np.testing.assert_array_equal(walked.positions, exact.positions)
    assert (exact.split_random == "test").all()
    assert walked.attrs["reference_diffusivity"] == exact.attrs["reference_diffusivity"]


def test_walks_scatter_around_the_exact_solution_as_their_errors_say(pairs):
    walked, exact = pairs
    z = ((walked.diffusivity - exact.diffusivity) / walked.stderr).values
    error = 1 / np.sqrt(len(z))
    assert abs(z.mean()) < 3 * error
    assert abs(z.std(ddof=1) - 1) < 3 * error / np.sqrt(2)
    for family in ("rsa", "chain", "gapped"):
        part = z[walked.family.values == family]
        assert abs(part.mean()) < 3 / np.sqrt(len(part))
