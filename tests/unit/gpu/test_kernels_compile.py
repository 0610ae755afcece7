"""Kernels become machine code for every architecture they are written for, without a GPU."""

import pytest
from nvrtc import compile_cubin

from morphion.exact import multigrid_gpu
from morphion.gpu.source import ADDED_BY_CUPY, ARCHITECTURES, OPTIONS, PACKAGE, join
from morphion.kmc import engine_gpu
from morphion.surrogates import resistor_gpu
from morphion.transport import raster_gpu

MODULES = (engine_gpu, multigrid_gpu, raster_gpu, resistor_gpu)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_kernels_compile(module, architecture):
    options = OPTIONS + ADDED_BY_CUPY
    assert len(compile_cubin(join(module.KERNELS), architecture, options)) > 0


def test_every_kernel_file_belongs_to_a_module():
    files = {str(path.relative_to(PACKAGE)) for path in PACKAGE.glob("*/kernels/*.cu")}
    assert files == {name for module in MODULES for name in module.KERNELS}
