"""The network of the paper (section 2.3, figure 2)."""

import torch
from torch import nn

from morphion.config.surrogates import PaperNetwork
from morphion.surrogates.networks import Surrogate3D, dense


class PaperCNN(Surrogate3D):
    """Figure 2 of the paper: four blocks of zero-padded 3^3 convolution, ReLU and average pooling
    by 2, then two dense layers; on the image repeated 3x3x3 (225^3) or on the image itself."""

    def __init__(self, block: PaperNetwork, voxels: int):
        super().__init__(())
        self._copies = 3 if block.tiled else 1
        edge, channels, layers = voxels * self._copies, 1, []
        for filters in block.filters:
            layers += [nn.Conv3d(channels, filters, 3, padding=1), nn.ReLU(inplace=True)]
            layers += [nn.AvgPool3d(2)]
            channels, edge = filters, edge // 2
        self.blocks = nn.Sequential(*layers)
        self.dense = dense(channels * edge**3, (block.neurons,))

    def features(self, image: torch.Tensor) -> torch.Tensor:
        tiled = image.repeat(1, 1, *(self._copies,) * 3) if self._copies > 1 else image
        return self.dense(self.blocks(tiled).flatten(1))
