"""The conda files, the constraints and pyproject.toml say the same."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENVIRONMENTS = ("cpu", "cuda12", "cuda13")
CUDA = {"cuda12": "12", "cuda13": "13"}

# Distributions that go by another name on conda-forge.
DISTRIBUTION = {"pytorch-cpu": "torch", "pytorch-gpu": "torch", "matplotlib-base": "matplotlib"}

# In the conda files for what pip brings by itself or takes from the driver and the toolkit.
CONDA_ONLY = {"python", "pip", "setuptools", "cuda-version", "cuda-nvrtc", "cudnn", "cupy"}


def required(extra: str | None = None) -> dict[str, SpecifierSet]:
    """Ranges of pyproject.toml by distribution."""
    lines = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    requirements = map(Requirement, lines)
    return {canonicalize_name(item.name): item.specifier for item in requirements}


def conda_file(environment: str) -> dict[str, SpecifierSet]:
    """Ranges of a conda file by distribution, its pip section included."""
    content = yaml.safe_load((ROOT / "envs" / f"{environment}.yaml").read_text())
    lines = [line for line in content["dependencies"] if isinstance(line, str)]
    lines += [
        line for part in content["dependencies"] if isinstance(part, dict) for line in part["pip"]
    ]
    ranges = {}
    for line in lines:
        name, _, versions = line.partition(" ")
        versions = re.sub(r"^=([0-9.]+)$", r"==\1.*", versions.strip())
        ranges[canonicalize_name(DISTRIBUTION.get(name, name))] = SpecifierSet(versions)
    return ranges


def bounds(specifiers: SpecifierSet) -> list[Version]:
    """Versions a range names as admissible: its lower ends and exact values."""
    return [
        Version(item.version.removesuffix(".*"))
        for item in specifiers
        if item.operator in (">=", "==", "~=")
    ]


def capabilities(environment: str) -> set[str]:
    """Compute capabilities that the head of a conda file claims."""
    text = (ROOT / "envs" / f"{environment}.yaml").read_text()
    claim = re.search(r"^# compute capabilities: (.*)$", text, re.MULTILINE)
    assert claim, f"envs/{environment}.yaml has no line '# compute capabilities: ...'"
    return set() if claim[1] == "none" else set(claim[1].split(", "))


def constraints() -> dict[str, str]:
    """Pinned versions by distribution."""
    lines = (ROOT / "envs" / "constraints.txt").read_text().splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pins}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_conda_file_holds_every_dependency_of_the_package_and_nothing_else(environment):
    assert set(conda_file(environment)) - CONDA_ONLY == set(required())


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_conda_versions_lie_in_the_ranges_of_pyproject(environment):
    ranges = conda_file(environment)
    for name, admitted in required().items():
        lower = bounds(ranges[name])
        assert lower, f"{name} has no lower bound"
        for version in lower:
            assert version in admitted, f"{name} {version} is outside {admitted}"


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_conda_python_lies_in_the_range_of_pyproject(environment):
    admitted = SpecifierSet(PROJECT["requires-python"])
    assert all(version in admitted for version in bounds(conda_file(environment)["python"]))


@pytest.mark.parametrize("environment", CUDA)
def test_cupy_lies_in_the_range_of_the_matching_extra(environment):
    [(name, admitted)] = required(environment).items()
    assert name == f"cupy-{environment}x"
    for version in bounds(conda_file(environment)["cupy"]):
        assert version in admitted


@pytest.mark.parametrize("environment", CUDA)
def test_cuda_version_is_the_one_in_the_name(environment):
    [version] = bounds(conda_file(environment)["cuda-version"])
    assert str(version.major) == CUDA[environment]


def test_only_cuda12_claims_a_v100():
    assert [name for name in ENVIRONMENTS if "7.0" in capabilities(name)] == ["cuda12"]
    assert capabilities("cpu") == set()


def test_cuda13_admits_what_current_gpu_nodes_hold():
    ranges = conda_file("cuda13")
    held = {"python": "3.12.3", "torch": "2.11.0", "numpy": "2.5.2", "cupy": "14.2.0"}
    for name, version in held.items():
        assert Version(version) in ranges[name], f"{name} {version}"
        if name in required():
            assert Version(version) in required()[name]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_conda_environment_installs_the_package_in_the_same_way(environment):
    script = ROOT / "envs" / f"{environment}.post-deploy.sh"
    assert script.read_text() == (ROOT / "envs" / "cpu.post-deploy.sh").read_text()
    assert "--no-deps" in script.read_text()


def test_constraints_pin_every_dependency_inside_its_range():
    pins = constraints()
    for extra in (None, "test", "slurm"):
        for name, admitted in required(extra).items():
            if name.startswith("nvidia-"):  # a CUDA build of torch takes its own version
                assert name not in pins
                continue
            assert name in pins, f"{name} is not pinned; 'make constraints' writes the file"
            assert Version(pins[name]) in admitted, f"{name}=={pins[name]} is outside {admitted}"


def test_constraints_name_public_versions_only():
    assert not [version for version in constraints().values() if Version(version).local]


def test_torch_is_pinned_by_its_public_version():
    assert constraints()["torch"] == "2.13.0"
