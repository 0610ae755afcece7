"""Networks that predict D* from a structure, and their training."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from morphion.config.base import Block
from morphion.errors import ConfigError

PositiveInt = Annotated[int, Field(gt=0)]


class Fit(Block):
    """On what a network is trained, however it learns."""

    structures: PositiveInt | None = Field(
        None, description="structures trained on, drawn from the training split; null: all of it"
    )
    needs_gpu_above: int | None = Field(
        None,
        ge=0,
        description="a run without a GPU leaves out trainings on more structures than this, and "
        "measures a few steps instead; null: none",
    )


class Training(Fit):
    """Optimiser, stopping and parallelism of one training."""

    learning_rate: float = Field(
        1e-3, gt=0, description="Adam's first rate; falls along a cosine to 1 % at max_epochs"
    )
    batch_size: PositiveInt = Field(32, description="global batch, shared by all ranks")
    max_epochs: PositiveInt = Field(200, description="passes over the training set at most")
    max_seconds: float | None = Field(
        None, gt=0, description="stop after the validation that passes this wall time; null: never"
    )
    patience: PositiveInt = Field(20, description="epochs without a better validation loss")
    validate_every: PositiveInt = Field(
        1,
        description="epochs from one validation to the next, which keeps the best network; the "
        "last one is always validated. Saves time where few structures are trained on",
    )
    max_gradient: float | None = Field(
        None, gt=0, description="norm of the gradient above which it is scaled down; null: none"
    )
    weight_average: float | None = Field(
        0.998,
        gt=0,
        lt=1,
        description="the network kept is a running mean of the weights, this share of it from "
        "the step before; null: the weights themselves",
    )
    augment: bool = Field(True, description="images: random periodic shifts and cube symmetries")
    precision: Literal["auto", "mixed", "float32"] = Field(
        "auto",
        description="auto: mixed precision on GPUs (bfloat16, or float16 with scaling); mixed: "
        "bfloat16 on CPUs too, which pays where the processor has AVX512_BF16 or AMX",
    )
    compile: bool = Field(False, description="torch.compile the network on GPUs")
    ranks: PositiveInt = Field(1, description="DDP processes: one to a GPU, or gloo on CPUs")


class InvariantTraining(Training):
    """Of a network that has nothing to learn from a shifted or turned structure."""

    augment: Literal[False] = Field(False, description="the network is invariant by construction")


class PeriodicTraining(InvariantTraining):
    """Conductances are exponentials: a limit on the gradient keeps a first steep batch from
    overshooting."""

    learning_rate: float = Field(
        1e-2, gt=0, description="Adam's first rate; falls along a cosine to 1 % at max_epochs"
    )
    batch_size: PositiveInt = Field(8, description="global batch, shared by all ranks")
    max_epochs: PositiveInt = Field(15, description="passes over the training set at most")
    max_gradient: float | None = Field(
        1.0, gt=0, description="norm of the gradient above which it is scaled down; null: none"
    )


class NetworkBlock(Block):
    """What the blocks of all networks share.

    ``one_thread`` tells that a process of it runs on one core: its operators are too small to be
    shared.
    """

    one_thread: ClassVar[bool] = False
    members: PositiveInt = Field(
        1, description="networks whose mean predicts and whose disagreement enters the spread"
    )

    @property
    def learns_currents(self) -> bool:
        """Whether its training reads exact currents between particles."""
        return False


class PairsNetwork(NetworkBlock):
    """What the blocks of networks on pairs of particles share."""

    one_thread: ClassVar[bool] = True  # two take up to 4 times as long beside other jobs

    @model_validator(mode="after")
    def _near_pairs_are_pairs(self):
        if self.near > self.cutoff:
            raise ValueError(
                f"near = {self.near:g} is beyond cutoff = {self.cutoff:g}: there are no pairs"
            )
        return self


class PaperNetwork(NetworkBlock):
    """The paper's network: four blocks of 3^3 convolution, ReLU and average pooling, two dense.

    Filters and neurons stand in the paper's Supporting Information, which is not at hand; these
    keep the memory of a 225^3 image within a 16 GB card. ``benchmarks/paper_network_search.py``
    compares them with others.
    """

    kind: Literal["paper"]
    tiled: bool = Field(True, description="repeat the image 3x3x3 (225^3) before the network")
    filters: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = Field(
        (8, 16, 32, 64), description="filters of the four convolutions"
    )
    neurons: PositiveInt = Field(64, description="neurons of the first dense layer")
    training: Training = Training()


class PeriodicNetwork(NetworkBlock):
    """Circular convolutions on an image of nested spheres and Kirchhoff's laws between its cells,
    exactly invariant to shifts by whole voxels and to the symmetries of the cube."""

    kind: Literal["periodic"]
    image: Literal["soft", "binary"] = Field(
        "soft", description="soft: a sphere's surface is a voxel wide; binary: centres of voxels"
    )
    radii: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (0.5, 0.62, 0.75, 0.9),
        min_length=1,
        description="radii of the spheres around each particle, sphere diameters",
    )
    cell: PositiveInt = Field(5, description="edge of a cell, voxels; it divides the voxels")
    filters: PositiveInt = Field(32, description="filters of each convolution between cells")
    kernels: tuple[Literal[1, 3, 5], ...] = Field(
        (3, 3, 3), min_length=1, description="edge of each convolution's kernel, cells"
    )
    neurons: PositiveInt = Field(32, description="neurons that see a face between two cells")
    tensor_weight: float = Field(
        1.0, ge=0, description="weight of the tensor's elements in the loss; 0: the mean alone"
    )
    training: PeriodicTraining = PeriodicTraining()

    @staticmethod
    def cells(voxels: int) -> list[int]:
        """What ``cell`` may be in a box of ``voxels`` along an edge: divisors that leave three
        cells at least, each with neighbours of its own on both sides."""
        return [edge for edge in range(1, voxels // 3 + 1) if voxels % edge == 0]


class DenseTraining(InvariantTraining):
    """Steps take no time, and there are few weights."""

    max_epochs: PositiveInt = Field(2000, description="passes over the training set at most")
    patience: PositiveInt = Field(100, description="epochs without a better validation loss")


class DenseNetwork(NetworkBlock):
    """Dense layers on a structural descriptor (figure 4 of the paper)."""

    kind: Literal["dense"]
    descriptor: Literal["nearest-distance", "rdf"] = Field(
        description="mean nearest-neighbour distance, or g(r) at r = 0..max_distance"
    )
    max_distance: int = Field(38, ge=8, description="rdf: largest r of g(r), voxels")
    neurons: tuple[PositiveInt, ...] = Field(
        (64, 64), min_length=1, description="neurons of the dense layers before the last"
    )
    training: DenseTraining = DenseTraining()


class ResistorTraining(InvariantTraining):
    """Steps are cheap: the rate is fast, and the mean of the weights forgives it. Longer trainings
    learn the training set by heart."""

    learning_rate: float = Field(
        1e-2, gt=0, description="Adam's first rate; falls along a cosine to 1 % at max_epochs"
    )
    batch_size: PositiveInt = Field(16, description="global batch, shared by all ranks")
    max_epochs: PositiveInt = Field(20, description="passes over the training set at most")
    patience: PositiveInt = Field(20, description="epochs without a better validation loss")
    max_gradient: float | None = Field(
        1.0, gt=0, description="norm of the gradient above which it is scaled down; null: none"
    )
    weight_average: float | None = Field(
        0.999,
        gt=0,
        lt=1,
        description="the network kept is a running mean of the weights, this share of it from "
        "the step before; null: the weights themselves",
    )
    precision: Literal["float32"] = Field(
        "float32", description="features; Kirchhoff's equations are solved in float64"
    )


class ResistorNetwork(PairsNetwork):
    """Conductances between particles learned from their surroundings, Kirchhoff's laws for D."""

    kind: Literal["resistor"]
    cutoff: float = Field(
        3.9, gt=1, description="distance beyond which no current flows, sphere diameters"
    )
    solvent: bool = Field(
        True, description="whether solvent conducts in voids, where shells do not reach"
    )
    near: float = Field(
        1.85, gt=1, description="distance below which pairs also see wedges, sphere diameters"
    )
    radial: int = Field(44, ge=4, description="Gaussians along the distance of a pair")
    rounds: PositiveInt = Field(2, description="rounds in which pairs learn of their surroundings")
    channels: PositiveInt = Field(16, description="sums over neighbours, and over triangles")
    neurons: PositiveInt = Field(64, description="neurons of the dense layers")
    tensor_weight: float = Field(
        1.0, ge=0, description="weight of the tensor's elements in the loss; 0: the mean alone"
    )
    current_weight: float = Field(
        1.0, ge=0, description="weight of the exact currents between particles in the loss; 0: none"
    )
    current_share: float = Field(
        0.4,
        ge=0,
        le=1,
        description="share of the training in which currents count; then D*, tensor and "
        "occupancies alone",
    )
    occupancy_weight: float = Field(
        0.3, ge=0, description="weight of the particles' exact occupancies in the loss; 0: none"
    )
    training: ResistorTraining = ResistorTraining()

    @property
    def learns_currents(self) -> bool:
        """Whether its training reads currents."""
        return self.current_weight * self.current_share > 0 or self.occupancy_weight > 0


class GraphTraining(ResistorTraining):
    """As of the resistor network, at a gentler rate: what rounds pass on multiplies."""

    learning_rate: float = Field(
        3e-3, gt=0, description="Adam's first rate; falls along a cosine to 1 % at max_epochs"
    )
    max_epochs: PositiveInt = Field(40, description="passes over the training set at most")
    patience: PositiveInt = Field(40, description="epochs without a better validation loss")
    precision: Literal["float32"] = Field("float32", description="of all arithmetic")


class GraphNetwork(PairsNetwork):
    """Messages between neighbouring particles, which learn of each other and of the whole."""

    kind: Literal["graph"]
    cutoff: float = Field(
        2.7, gt=1, description="distance up to which particles see each other, sphere diameters"
    )
    near: float = Field(
        1.85, gt=1, description="distance up to which messages travel, sphere diameters"
    )
    radial: int = Field(32, ge=4, description="Gaussians along the distance of a pair")
    rounds: PositiveInt = Field(6, description="rounds of messages")
    channels: PositiveInt = Field(
        16, description="numbers of either parity that a particle carries along each axis"
    )
    neurons: PositiveInt = Field(64, description="neurons of the dense layers")
    axes_weight: float = Field(
        1.0, ge=0, description="weight of D along the axes in the loss; 0: their mean alone"
    )
    training: GraphTraining = GraphTraining()


class TreesTraining(Fit):
    """How trees are grown; those up to the smallest validation loss are kept."""

    learning_rate: float = Field(0.05, gt=0, le=1, description="share of each tree that counts")
    max_iterations: PositiveInt = Field(1000, description="trees grown")
    min_samples_leaf: PositiveInt = Field(10, description="structures in a leaf at least")
    max_features: float = Field(
        0.3, gt=0, le=1, description="share of the descriptors that a split chooses from"
    )
    augment: Literal[False] = Field(False, description="the descriptors are invariant")
    ranks: Literal[1] = Field(1, description="trees grow in one process")


class TreesNetwork(NetworkBlock):
    """Gradient-boosted trees on g(r), nearest distances, clusters, percolation, coordination."""

    kind: Literal["trees"]
    members: Literal[1] = Field(1, description="boosting already adds up many trees")
    max_distance: int = Field(38, ge=8, description="largest r of g(r), voxels")
    contacts: tuple[Annotated[float, Field(gt=1)], ...] = Field(
        (1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.75, 1.9, 2.1),
        min_length=1,
        description="distances below which particles are neighbours, sphere diameters",
    )
    leaves: int = Field(15, ge=2, le=1024, description="leaves of a tree at most")
    training: TreesTraining = TreesTraining()


Network = Annotated[
    PaperNetwork | PeriodicNetwork | DenseNetwork | ResistorNetwork | GraphNetwork | TreesNetwork,
    Field(discriminator="kind"),
]


class LearningCurve(Block):
    """Further trainings of some networks on fewer structures; the sets that validate and test stay.

    A larger size holds the structures of the smaller ones, the same for every network.
    """

    sizes: tuple[PositiveInt, ...] = Field(
        (), description="structures trained on; a network's own training is always one more"
    )
    networks: tuple[str, ...] = Field((), description="keys of surrogates.networks")


class Surrogates(Block):
    """The networks of the run; ``driver`` is the one whose predictions drive the annealing."""

    networks: dict[Annotated[str, Field(pattern=r"^[a-z0-9_]+$")], Network] = Field(
        default_factory=lambda: {
            "resistor": ResistorNetwork(kind="resistor"),
            "nearest_distance": DenseNetwork(kind="dense", descriptor="nearest-distance"),
            "rdf": DenseNetwork(kind="dense", descriptor="rdf"),
        },
        min_length=1,
        description="networks to train, by name; what is given replaces the default: resistor, "
        "nearest_distance and rdf",
    )
    driver: str = Field("resistor", description="key of the network that is the annealing energy")
    learning_curve: LearningCurve = Field(
        LearningCurve(), description="how accuracy grows with the number of structures; none"
    )

    @model_validator(mode="after")
    def _names_exist(self):
        if self.driver not in self.networks:
            known = "" if "driver" in self.model_fields_set else ", the default,"
            raise ValueError(f"driver = {self.driver!r}{known} is none of {sorted(self.networks)}")
        curve = self.learning_curve
        for name in curve.networks:
            if name not in self.networks:
                raise ValueError(
                    f"learning_curve.networks has {name!r}, which is none of "
                    f"{sorted(self.networks)}"
                )
        for key in ("sizes", "networks"):
            if len(set(getattr(curve, key))) != len(getattr(curve, key)):
                raise ValueError(f"learning_curve.{key} = {list(getattr(curve, key))} repeats one")
        return self

    def network(self, name: str) -> Network:
        """The block of a training: a key of ``networks``, or ``key-N`` for N training structures.

        Raises ConfigError for any other name.
        """
        key, _, size = name.partition("-")
        if key not in self.networks or ("-" in name and not (size.isdigit() and int(size))):
            raise ConfigError(
                f"surrogates.networks has no {name!r}; it has {sorted(self.networks)}, and each "
                "of them on N training structures as NAME-N"
            )
        network = self.networks[key]
        if not size:
            return network
        training = network.training.model_copy(update={"structures": int(size)})
        return network.model_copy(update={"training": training})
