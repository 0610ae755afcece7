"""The network of the paper (section 2.3, figure 2)."""

import torch
from torch import nn
from torch.nn import functional

from morphion.config.surrogates import PaperNetwork
from morphion.surrogates.fused import ActivePool, FirstBlock
from morphion.surrogates.networks import Surrogate3D, dense
from morphion.surrogates.patches import RepeatedBlock, block, has_few_channels
from morphion.surrogates.repeats import repeated_blocks


class PaperCNN(Surrogate3D):
    """Four blocks of zero-padded 3^3 convolution, ReLU and average pooling by 2, then two dense
    layers; on the image repeated 3x3x3 (225^3) or on the image itself."""

    def __init__(self, options: PaperNetwork, voxels: int):
        super().__init__(())
        self._copies = 3 if options.tiled else 1
        edge, channels, layers = voxels * self._copies, 1, []
        for filters in options.filters:
            layers += [nn.Conv3d(channels, filters, 3, padding=1), nn.ReLU(inplace=True)]
            layers += [nn.AvgPool3d(2)]
            channels, edge = filters, edge // 2
        self.blocks = nn.Sequential(*layers)
        self._voxels = voxels
        self._rows = repeated_blocks(voxels, self._copies, len(options.filters))
        self.first = RepeatedBlock(voxels, self._copies)
        self.dense = dense(channels * edge**3, (options.neurons,))
        if self._copies > 1:
            of_one = max(1, voxels // 2 ** len(options.filters))
            self.register_buffer("share", torch.tensor((of_one / edge) ** 3))

    def initialise(self, generator: torch.Generator) -> None:
        """As other networks, but for the dense layer of a repeated image: its inputs count a
        ``share`` and its weights as much more.

        Adam moves all weights of a neuron by the rate at once, and the copies say the same: of so
        many more inputs the first steps drove predictions to 0, which have no gradient. So
        a step does what it does to the network of one image, and a rate fits both (Yang et al.,
        arXiv:2203.03466: rates of Adam go by the inverse of a layer's inputs).
        """
        super().initialise(generator)
        if self._copies > 1:
            with torch.no_grad():
                self.dense[0].weight.div_(self.share)

    def features(self, image: torch.Tensor) -> torch.Tensor:
        if image.shape[-1] != self._voxels:  # rows of another are beyond or within it
            raise ValueError(f"image of {image.shape[-1]} voxels, the network has {self._voxels}")
        if self.by_torch_alone or image.dtype != torch.uint8:
            image = super()._standardised(image)
            tiled = image.repeat(1, 1, *(self._copies,) * 3) if self._copies > 1 else image
            return self._head(self.blocks(tiled))
        # Binary images come as bytes.
        pooled = self._on_cores(image) if image.device.type == "cpu" else self._on_device(image)
        return self._head(pooled)

    def _head(self, field: torch.Tensor) -> torch.Tensor:
        inputs = field.flatten(1)
        return self.dense(self.share * inputs if self._copies > 1 else inputs)

    def _standardised(self, inputs: torch.Tensor) -> torch.Tensor:
        """The inputs as they are: ``features`` standardises as suits them."""
        return inputs

    def _on_cores(self, image: torch.Tensor) -> torch.Tensor:
        first, *others = self._convolutions
        empty, filled = (float(value) for value in self._two_values)
        edge, (cells, pools) = self._copies * image.shape[-1], self._rows
        field = FirstBlock.apply(image[:, 0], first.weight, first.bias, empty, filled, edge, cells)
        for convolution, pool in zip(others, pools, strict=True):
            # The rows hold their padding.
            found = functional.conv3d(field, convolution.weight, convolution.bias)
            field = ActivePool.apply(found, pool)
        return field

    def _on_device(self, image: torch.Tensor) -> torch.Tensor:
        first, *others = self._convolutions
        field = self.first(image, first.weight, first.bias, *self._two_values)
        for convolution in others:
            if has_few_channels(convolution):
                field = block(field, convolution.weight, convolution.bias)
            else:
                field = functional.avg_pool3d(torch.relu_(convolution(field)), 2)
        return field

    @property
    def _convolutions(self) -> list[nn.Conv3d]:
        return [layer for layer in self.blocks if isinstance(layer, nn.Conv3d)]

    @property
    def _two_values(self) -> list[torch.Tensor]:
        """What an empty and a filled voxel are after standardisation."""
        return [(value - self.input_mean) / self.input_scale for value in (0, 1)]
