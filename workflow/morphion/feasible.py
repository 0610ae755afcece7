"""Whether a run can work as configured, before anything is computed.

Blocks of the configuration are valid by themselves; here they are held against the geometry, the
number of structures and the transport table, as the stages that use them would hours later.
"""

from collections.abc import Iterator

from morphion.config import Config
from morphion.config.surrogates import PairsNetwork, PeriodicNetwork
from morphion.config.transport import CoverageShell, DistanceTable
from morphion.dataset.split import split_sizes
from morphion.errors import ConfigError, TransportError
from morphion.structures.descriptors import farthest_shell
from morphion.transport.checks import LARGEST_SPREAD
from morphion.transport.table import read_table


def require_feasible(config: Config, source: str) -> None:
    """Raise ConfigError with every key that a stage of the run could not work with; ``source`` is
    what the message calls the configuration."""
    checks = (_output, _table, _energies, _loadings, _distances, _cutoffs, _cells, _counts)
    wrong = [problem for check in checks for problem in check(config)]
    if wrong:
        raise ConfigError(f"{source}: " + "; ".join(wrong))


def _output(config: Config) -> Iterator[str]:
    """A file where folders are to be."""
    for path in (config.output, *config.output.parents):
        if path.exists() and not path.is_dir():
            yield f"output = {config.output}: {path} is a file, where a folder is to be written"


def _table(config: Config) -> Iterator[str]:
    """A transport table that cannot be used, or does not reach down to contact."""
    if isinstance(config.transport, DistanceTable):
        try:
            read_table(config.transport.path).grid(config.geometry.diameter)
        except TransportError as error:
            yield f"transport.path: {error}"


def _energies(config: Config) -> Iterator[str]:
    """A binding so strong or so weak that shell and solvent have no weights in float32 beside each
    other; interdigitation, which depends on the structure, may add to it."""
    model = config.transport
    if isinstance(model, CoverageShell) and abs(model.affinity) > LARGEST_SPREAD:
        yield (
            f"transport.affinity = {model.affinity:g} kT: weights of shell and solvent underflow "
            f"float32; at most {LARGEST_SPREAD:g} kT either way"
        )


def _loadings(config: Config) -> Iterator[str]:
    """Loadings at which no two particles would meet."""
    for i, loading in enumerate(config.loadings):
        if (count := config.geometry.particles_at(loading)) < 2:
            yield f"loadings[{i}] = {loading:g}: {count} particles in the box; it takes 2"


def _distances(config: Config) -> Iterator[str]:
    """Distances at which no two particles can be."""
    most = farthest_shell(config.geometry.box_length)
    analysis = config.analysis
    asked = {
        "analysis.max_distance": analysis.max_distance,
        "analysis.cluster_distance": analysis.cluster_distance,
    }
    for name, network in config.surrogates.networks.items():
        if network.kind == "trees" or (network.kind == "dense" and network.descriptor == "rdf"):
            asked[f"surrogates.networks.{name}.max_distance"] = network.max_distance
    for key, distance in asked.items():
        if distance > most:
            yield (
                f"{key} = {distance:g}: no two particles are that far apart in a box of edge "
                f"{config.geometry.voxels} voxels; at most {most}"
            )


def _cutoffs(config: Config) -> Iterator[str]:
    """Cutoffs of pairs within which a particle would meet two images of another."""
    most = config.geometry.box_length / config.geometry.diameter / 2
    for name, network in config.surrogates.networks.items():
        if isinstance(network, PairsNetwork) and network.cutoff > most:
            yield (
                f"surrogates.networks.{name}.cutoff = {network.cutoff:g} sphere diameters is more "
                f"than half the box edge; set it to at most {most:.4g}"
            )


def _cells(config: Config) -> Iterator[str]:
    """Cells of periodic networks that do not divide the box."""
    voxels = config.geometry.voxels
    for name, network in config.surrogates.networks.items():
        if not isinstance(network, PeriodicNetwork):
            continue
        if network.cell not in (possible := network.cells(voxels)):
            yield (
                f"surrogates.networks.{name}.cell = {network.cell} does not divide geometry.voxels "
                f"= {voxels} into at least 3 cells along an edge; it must be one of {possible}"
            )


def _counts(config: Config) -> Iterator[str]:
    """Structures asked of the first data set's training and test split."""
    curve, count = config.surrogates.learning_curve, config.structures.count
    train, _, test = split_sizes(count, config.split)
    asked = {
        f"surrogates.networks.{name}.training.structures": (network.training.structures, train)
        for name, network in config.surrogates.networks.items()
    }
    if curve.networks:
        asked |= {
            f"surrogates.learning_curve.sizes[{i}]": (n, train) for i, n in enumerate(curve.sizes)
        }
    asked["walked.structures"] = (config.walked.structures, test)
    for key, (number, most) in asked.items():
        if (number or 0) > most:
            yield f"{key} = {number}: of {count} structures this split leaves {most}"
