"""Batch norms: outputs, gradients and running statistics against PyTorch's own in double precision."""

import copy
import itertools
from functools import partial

import pytest
import torch
from kernel_samples import TOLERANCE, assert_close, channels_last, gradients, needs_compiler, second_gradients
from timm.layers import BatchNormAct2d
from torch import nn

from distilnas.kernels import use_fast_kernels
from distilnas.kernels.batch_norm import _BatchNorm

pytestmark = needs_compiler
MAKERS = {
    "plain": nn.BatchNorm2d,
    "relu": BatchNormAct2d,
    "silu": lambda channels: BatchNormAct2d(channels, act_layer=nn.SiLU),
    "dropped": lambda channels: BatchNormAct2d(channels, drop_layer=partial(nn.Dropout, p=0.0)),
    "linear": lambda channels: BatchNormAct2d(channels, apply_act=False),
    "untracked": lambda channels: nn.BatchNorm2d(channels, track_running_stats=False),
    "unscaled": lambda channels: nn.BatchNorm2d(channels, affine=False),
    "cumulative": lambda channels: nn.BatchNorm2d(channels, momentum=None),
}


def pair(kind: str, channels: int) -> tuple[nn.Module, nn.Module]:
    """A batch norm with our kernels and the same one in double precision."""
    torch.manual_seed(0)
    fast = MAKERS[kind](channels)
    with torch.no_grad():
        for parameter in fast.parameters():
            parameter.normal_()
    exact = copy.deepcopy(fast).double()
    assert use_fast_kernels(fast) == 1
    return fast, exact


def assert_same_buffers(fast: nn.Module, exact: nn.Module, tolerance: float) -> None:
    for mine, theirs in zip(fast.buffers(), exact.buffers(), strict=True):
        torch.testing.assert_close(mine.double(), theirs.double(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("kind", MAKERS)
def test_a_training_pass_is_that_of_double_precision(kind, dtype):
    for (batch, side), channels in itertools.product([(3, 2), (1, 5), (3, 8)], (1, 16, 70)):
        fast, exact = pair(kind, channels)
        for seed in (2, 4):
            images = 3 * channels_last(batch, channels, side, side, dtype=dtype, seed=seed) + 5
            # The gradient of so few images nearly cancels: hence the error over the largest value before it does.
            assert_close(gradients(fast, images), gradients(exact, images.double()), 20 * TOLERANCE[dtype])
        assert_same_buffers(fast, exact, 1e-5)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_many_pixels_on_threads(threads):
    """More pixels than are added up in float32; far from zero, where sums of squares would cancel."""
    fast, exact = pair("plain", 40)
    images = channels_last(7, 40, 33, 31) + 1000
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        ours, again = gradients(fast, images), gradients(fast, images)
    finally:
        torch.set_num_threads(before)
    expected = gradients(exact, images.double())
    gradients(exact, images.double())
    assert_close(ours, expected, 1e-3)
    assert_same_buffers(fast, exact, 1e-5)
    assert all(torch.equal(one, other) for one, other in zip(ours, again, strict=True))


def test_nan_goes_through_the_relu():
    fast, _ = pair("relu", 20)
    images = channels_last(2, 20, 4, 4)
    images[0, 3, 1, 1] = torch.nan
    output = fast(images)
    assert output[:, 3].isnan().all()
    assert output[:, :3].isfinite().all()


def test_every_nan_stays_one_in_bfloat16():
    """Rounding must not carry a NaN of all ones over into a zero."""
    fast, _ = pair("plain", 4)
    fast.bias.data[1] = torch.tensor(0x7FFFFFFF, dtype=torch.int32).view(torch.float32)
    output = fast(channels_last(2, 4, 3, 3, dtype=torch.bfloat16))
    assert output.isnan().any(dim=(0, 2, 3)).tolist() == [False, True, False, False]


@pytest.mark.parametrize("kind", ["plain", "relu", "silu"])
def test_gradients_of_gradients(kind):
    fast, exact = pair(kind, 6)
    images = channels_last(4, 6, 5, 5)
    assert_close(second_gradients(fast, images), second_gradients(exact, images.double()), 1e-3)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("kind", MAKERS)
def test_passes_without_gradient(kind, dtype):
    """By the batch's statistics, which are tracked, and by the tracked ones in eval mode."""
    fast, exact = pair(kind, 70)
    for seed in (2, 4):
        images = 3 * channels_last(3, 70, 5, 5, dtype=dtype, seed=seed) + 5
        before = images.clone()
        with torch.no_grad():
            outputs = [fast.train()(images), fast.eval()(images)]
            assert_close(outputs, [exact.train()(images.double()), exact.eval()(images.double())], TOLERANCE[dtype])
        assert torch.equal(images, before)
        assert all(output.dtype == dtype for output in outputs)
    assert_same_buffers(fast, exact, 1e-5)


def test_silu_over_the_whole_range():
    """Against double precision; far below zero 2^-126 of the value is left, where nothing should be."""
    values = torch.cat([torch.linspace(-120, 120, 9999), torch.tensor([0, 1e30, -1e30, torch.inf])])
    images = torch.cat([values, torch.tensor([torch.nan])])[None, None, :, None]
    fast, exact = pair("silu", 1)
    for norm in (fast, exact):
        norm.eval()
        norm.weight.data.fill_((1 + norm.eps) ** 0.5)
        norm.bias.data.zero_()
    with torch.no_grad():
        ours = fast(images.contiguous(memory_format=torch.channels_last))
        torch.testing.assert_close(ours.double(), exact(images.double()), rtol=3e-6, atol=2e-8, equal_nan=True)


def test_mixed_precision_keeps_the_images_precision():
    fast, _ = pair("relu", 6)
    for dtype in TOLERANCE:
        images = channels_last(2, 6, 5, 5, dtype=dtype)
        with torch.autocast("cpu", torch.bfloat16):
            assert fast(images).dtype == dtype


def test_what_is_not_covered_goes_pytorchs_way(monkeypatch):
    fast, exact = pair("relu", 6)
    made, apply = [], _BatchNorm.apply
    monkeypatch.setattr(_BatchNorm, "apply", lambda *args: (made.append(1), apply(*args))[1])
    images = channels_last(2, 6, 5, 5)
    fast(images)
    exact(images.double())
    assert made == [1]
    fast(images.contiguous())
    copy.deepcopy(fast).double()(images.double())
    exact(images.double())
    assert_same_buffers(fast, exact, 1e-5)
    fast.eval()(images)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        fast.train()(images[:1, :, :1, :1])
    with pytest.raises(RuntimeError):
        fast(channels_last(2, 7, 5, 5))
    assert made == [1]
