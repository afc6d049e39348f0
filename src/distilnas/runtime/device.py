"""Where and in which precision the tensors are computed: a thin frame around Lightning Fabric."""

import contextlib
import ctypes
import sys

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from distilnas.errors import UsageError
from distilnas.kernels import use_fast_kernels
from distilnas.runtime import ranks

PRECISIONS = ("32-true", "bf16-mixed")


class Device:
    """One device and precision; every training and rating moves its tensors and modules through here.

    Of several GPUs it is the one of this process's ``ranks.local_rank``. ``precision`` is named as Lightning Fabric
    names it: those without loss scaling and with weights in float32.
    """

    def __init__(self, accelerator: str = "auto", precision: str = "32-true") -> None:
        if precision not in PRECISIONS:
            raise UsageError(f"unknown precision {precision!r}; valid: {', '.join(PRECISIONS)}.")
        try:
            devices = [self._gpu()] if accelerator != "cpu" and torch.cuda.is_available() else 1
            self.fabric = Fabric(accelerator=accelerator, devices=devices, precision=precision)  # type: ignore[arg-type]
        except (ValueError, RuntimeError, TypeError) as error:
            raise UsageError(f"no device for accelerator={accelerator!r}, precision={precision!r}: {error}") from error

    @staticmethod
    def _gpu() -> int:
        """This process's GPU."""
        number, there = ranks.local_rank(), torch.cuda.device_count()
        if number >= there:
            raise UsageError(f"this machine has {there} GPUs; start so many processes, or set accelerator=cpu.")
        torch.cuda.set_device(number)
        return number

    @property
    def name(self) -> str:
        """``cpu`` or the GPU's name."""
        return torch.cuda.get_device_name(self.fabric.device) if self.fabric.device.type == "cuda" else "cpu"

    def module(self, module: nn.Module) -> nn.Module:
        """Move a module here, with channels-last weights (faster convolutions on CPU and GPU alike).

        On a CPU its depthwise convolutions and batch norms become those of ``distilnas.kernels``, which train faster.
        """
        if self.fabric.device.type == "cpu":
            use_fast_kernels(module)
        return module.to(device=self.fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def images(self, images: Tensor) -> Tensor:
        """Move images (B, C, H, W) here, channels last."""
        return images.to(self.fabric.device, memory_format=torch.channels_last, non_blocking=True)

    def tensor(self, tensor: Tensor) -> Tensor:
        """Move any other tensor here."""
        return tensor.to(self.fabric.device, non_blocking=True)

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """Run forward passes in the precision that was asked for."""
        return self.fabric.autocast()  # type: ignore[return-value]


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory instead of returning every large tensor to the system (a page fault per 4 kB).

    For the command line's own process; does nothing elsewhere than on Linux with glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    m_trim_threshold, m_mmap_threshold = -1, -3
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(m_mmap_threshold, 1 << 30)
        libc.mallopt(m_trim_threshold, (1 << 31) - 1)
