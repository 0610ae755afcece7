"""Which 16 bits a device computes with."""

import pytest
import torch
from torch.torch_version import TorchVersion

from morphion.surrogates.precision import half_precision


@pytest.mark.parametrize(
    ("capability", "cudnn", "version", "expected"),
    [
        ((7, 0), 91002, "2.7.0", torch.float16),
        ((8, 0), 90701, "2.7.0", torch.bfloat16),
        ((9, 0), 91002, "2.7.0", None),  # convolves bfloat16 wrongly
        ((9, 0), 91300, "2.7.0", torch.bfloat16),
        ((9, 0), 91002, "2.11.0", torch.bfloat16),  # PyTorch avoids it
    ],
)
def test_half_precision_is_what_the_gpu_and_its_libraries_do_right(
    monkeypatch, capability, cudnn, version, expected
):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: cudnn)
    monkeypatch.setattr(torch, "__version__", TorchVersion(version))
    assert half_precision(torch.device("cuda")) == expected
