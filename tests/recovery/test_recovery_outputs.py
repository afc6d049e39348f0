"""Outputs of modules inside networks: right values in spite of work in place, pairs that can be compared."""

from collections import OrderedDict

import pytest
import torch
from recovery_samples import student, teacher
from torch import nn

from distilnas.errors import UsageError
from distilnas.recovery import comparable
from distilnas.recovery.outputs import with_outputs

IMAGE = torch.randn(1, 3, 16, 16)


def test_outputs_are_those_before_later_work_in_place() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Flatten())
    output, (inner,) = with_outputs(model, ["0"], IMAGE)
    assert torch.equal(inner, model[0](IMAGE))
    assert (inner < 0).any()
    assert torch.equal(output, model(IMAGE))
    assert inner.requires_grad


def test_a_module_without_a_tensor_is_said() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.split, self.idle = nn.LSTM(3, 3), nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.split(x)[0]

    with pytest.raises(UsageError, match="only tensors can be compared, but split of Two gives out a tuple"):
        with_outputs(Two(), ["split"], torch.randn(2, 3))
    with pytest.raises(UsageError, match="but idle of Two is not used"):
        with_outputs(Two(), ["idle"], torch.randn(2, 3))


def test_pairs_have_one_shape_and_are_in_both() -> None:
    """A student without body, and with a wider stem; one that is the teacher's size; one that sees smaller images."""
    conv = nn.Conv2d(3, 9, 3, 2, 1)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(9, 3))
    paths, model = ["stem", "body", "head"], student().train()
    short = nn.Sequential(OrderedDict(stem=conv, head=head))
    assert comparable(short, teacher(), paths, image=IMAGE) == (("head", "head"),)
    assert comparable(model, teacher(), paths[:2], image=IMAGE) == (("stem", "stem"), ("body", "body"))
    smaller = comparable(model, teacher(), paths, image=IMAGE[..., :8, :8], teacher_image=IMAGE)
    assert smaller == (("head", "head"),)
    assert all(module.training for module in model.modules())
