"""Kernels built in a folder of the test's own, gradients to compare, a reason to skip."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from distilnas.kernels.build import library

needs_compiler = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="no g++ or clang++ to compile the kernels with"
)
# Largest error over the largest value. bfloat16 keeps 8 bits, so rounding alone gives 2^-9.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2**-8}


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of compiled kernels, empty, as a process sees it that has loaded none yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library.cache_clear()
    yield tmp_path / "distilnas" / "kernels"
    library.cache_clear()


def channels_last(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 2) -> Tensor:
    """Random images, numbers that bfloat16 holds, too."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(shape, generator=generator).bfloat16().to(dtype)
    return images.contiguous(memory_format=torch.channels_last)


def gradients(layer: nn.Module, images: Tensor) -> list[Tensor]:
    """Output and the gradients of images and parameters, for a random gradient of the output."""
    images = images.detach().clone().requires_grad_()
    output = layer(images)
    grad = channels_last(*output.shape, dtype=output.dtype, seed=1)
    return [output.detach(), *torch.autograd.grad(output, (images, *layer.parameters()), grad)]


def second_gradients(layer: nn.Module, images: Tensor) -> list[Tensor]:
    """Of the images' squared gradient, as a penalty on it has them; zeros where there is none."""
    images = images.detach().clone().requires_grad_()
    output = layer(images)
    weights = channels_last(*output.shape, dtype=output.dtype, seed=3)
    (dx,) = torch.autograd.grad(((output + 1).square() * weights).sum(), images, create_graph=True)
    wanted = (images, *layer.parameters())
    return list(torch.autograd.grad(dx.square().sum(), wanted, allow_unused=True, materialize_grads=True))


def assert_close(ours: list[Tensor], exact: list[Tensor], tolerance: float) -> None:
    for mine, theirs in zip(ours, exact, strict=True):
        assert mine.shape == theirs.shape
        assert (mine.double() - theirs).abs().max() <= tolerance * theirs.abs().max()
