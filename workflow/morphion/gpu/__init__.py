"""The graphics processor: its kernels, its memory, its errors."""

from morphion.gpu.device import CudaDevice, choose

__all__ = ["CudaDevice", "choose"]
