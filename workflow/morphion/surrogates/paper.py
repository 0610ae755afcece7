"""The network of the paper (section 2.3, figure 2)."""

import torch
from torch import nn

from morphion.config.surrogates import PaperNetwork
from morphion.surrogates.fused import ActivePool, FirstBlock
from morphion.surrogates.networks import Surrogate3D, dense
from morphion.surrogates.patches import WindowProduct

_LAYERS = 3  # of a block


class PaperCNN(Surrogate3D):
    """Four blocks of zero-padded 3^3 convolution, ReLU and average pooling by 2, then two dense
    layers; on the image repeated 3x3x3 (225^3) or on the image itself."""

    def __init__(self, block: PaperNetwork, voxels: int):
        super().__init__(())
        self._copies = 3 if block.tiled else 1
        edge, channels, layers = voxels * self._copies, 1, []
        for filters in block.filters:
            layers += [nn.Conv3d(channels, filters, 3, padding=1), nn.ReLU(inplace=True)]
            layers += [nn.AvgPool3d(2)]
            channels, edge = filters, edge // 2
        self.blocks = nn.Sequential(*layers)
        self.first = WindowProduct(voxels, self._copies)
        self.dense = dense(channels * edge**3, (block.neurons,))

    def features(self, image: torch.Tensor) -> torch.Tensor:
        if self.by_torch_alone or image.dtype != torch.uint8:
            image = super()._standardised(image)
            tiled = image.repeat(1, 1, *(self._copies,) * 3) if self._copies > 1 else image
            return self.dense(self.blocks(tiled).flatten(1))
        # Binary images come as bytes.
        pooled = self._on_cores(image) if image.device.type == "cpu" else self._on_device(image)
        return self.dense(pooled.flatten(1))

    def _standardised(self, inputs: torch.Tensor) -> torch.Tensor:
        """The inputs as they are: ``features`` standardises as suits them."""
        return inputs

    def _on_cores(self, image: torch.Tensor) -> torch.Tensor:
        first, *others = (layer for layer in self.blocks if isinstance(layer, nn.Conv3d))
        empty, filled = (float((value - self.input_mean) / self.input_scale) for value in (0, 1))
        field = FirstBlock.apply(image[:, 0], first.weight, first.bias, empty, filled, self._copies)
        for convolution in others:
            field = ActivePool.apply(convolution(field))
        return field

    def _on_device(self, image: torch.Tensor) -> torch.Tensor:
        convolution = self.blocks[0]
        empty, filled = ((value - self.input_mean) / self.input_scale for value in (0, 1))
        field = self.first(image, convolution.weight, convolution.bias, empty, filled)
        return self.blocks[_LAYERS:](field)
