"""The device refuses what its trainings could not do right."""

import pytest
import torch

from distilnas.errors import UsageError
from distilnas.runtime.device import PRECISIONS, Device


@pytest.mark.parametrize("precision", PRECISIONS)
def test_precisions(precision: str) -> None:
    """Matrix products run in the precision asked for; weights stay float32."""
    device = Device("cpu", precision)
    layer = device.module(torch.nn.Linear(2, 2))
    with device.autocast():
        output = layer(torch.ones(1, 2))
    assert output.dtype == (torch.bfloat16 if precision == "bf16-mixed" else torch.float32)
    assert layer.weight.dtype == torch.float32
    assert device.name == "cpu"


@pytest.mark.parametrize("precision", ["16-mixed", "64-true", "bf16-true", "half"])
def test_other_precisions_are_refused(precision: str) -> None:
    """16-mixed scales losses, which plain optimisers would not undo; the *-true ones need converted weights."""
    with pytest.raises(UsageError, match="valid: 32-true, bf16-mixed"):
        Device("cpu", precision)


def test_an_unknown_accelerator_is_refused() -> None:
    with pytest.raises(UsageError, match="no device for accelerator='abacus'"):
        Device("abacus")


def test_images_are_channels_last() -> None:
    images = Device("cpu").images(torch.rand(2, 3, 4, 4))
    assert images.is_contiguous(memory_format=torch.channels_last)
