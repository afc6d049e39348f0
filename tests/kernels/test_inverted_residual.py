"""Frozen inverted residuals against timm's own in double precision, and when our kernel keeps out of the way."""

import copy
from functools import partial

import pytest
import torch
from kernel_samples import assert_close, channels_last, needs_compiler
from timm.models._efficientnet_blocks import InvertedResidual, SqueezeExcite
from torch import Tensor, nn

from distilnas.kernels import FastInvertedResidual, inverted_residual, use_fast_kernels

pytestmark = needs_compiler


def block(channels: int = 6, *, kernel: int = 3, se: bool = True, act: type[nn.Module] = nn.SiLU, **more) -> nn.Module:
    """A frozen one whose batch norms have statistics as of a training."""
    torch.manual_seed(0)
    se_layer = partial(SqueezeExcite, rd_channels=4) if se else None
    made = InvertedResidual(channels, channels, kernel, act_layer=act, se_layer=se_layer, exp_ratio=5, **more)
    with torch.no_grad():
        for norm in (made.bn1, made.bn2, made.bn3):
            for tensor in (norm.weight, norm.running_var):
                tensor.uniform_(0.5, 2)
            for tensor in (norm.bias, norm.running_mean):
                tensor.normal_()
    return made.eval().to(memory_format=torch.channels_last)


def fast(timms: nn.Module) -> nn.Module:
    ours = copy.deepcopy(timms)
    use_fast_kernels(ours)
    assert type(ours) is FastInvertedResidual
    return ours


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows with every run of our kernel."""
    made: list[str] = []
    call = inverted_residual.call
    monkeypatch.setattr(inverted_residual, "call", lambda name, *args: (made.append(name), call(name, *args))[1])
    return made


def both(timms: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        return fast(timms)(images), copy.deepcopy(timms).double()(images.double())


SHAPES = [(2, 6, 9, 8), (1, 6, 1, 1), (3, 4, 5, 23), (1, 61, 16, 15)]


@pytest.mark.parametrize("padding", ["", "same"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_output_is_that_of_double_precision(shape, kernel, stride, padding, runs):
    images = channels_last(*shape)
    ours, exact = both(block(shape[1], kernel=kernel, stride=stride, pad_type=padding), images)
    assert_close([ours], [exact], 1e-5)
    assert runs == ["depthwise_stage"]


@pytest.mark.parametrize(("act", "se"), [(nn.ReLU, True), (nn.SiLU, False), (nn.Identity, True)])
def test_other_activations_and_no_squeeze(act, se, runs):
    ours, exact = both(block(act=act, se=se), channels_last(2, 6, 9, 8))
    assert_close([ours], [exact], 1e-5)
    assert runs


@pytest.mark.parametrize("kernel", [3, 5])
def test_mixed_precision_is_as_true_as_timms(kernel):
    timms = block(60, kernel=kernel)
    images = channels_last(2, 60, 28, 28)
    with torch.no_grad():
        exact = copy.deepcopy(timms).double()(images.double())
        with torch.autocast("cpu", torch.bfloat16):
            results = [network(images.bfloat16()) for network in (fast(timms), timms)]
    ours, theirs = ((result.double() - exact).square().mean().sqrt() for result in results)
    assert results[0].dtype == results[1].dtype
    assert ours < 1.1 * theirs


def test_threads_do_not_change_a_bit():
    images = channels_last(3, 61, 9, 8)
    ours, before = fast(block(61)), torch.get_num_threads()
    outputs = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            outputs.append(inverted_residual._stage(ours, ours.conv_pw(images).detach()))
    finally:
        torch.set_num_threads(before)
    for output, mean in outputs[1:]:
        assert torch.equal(output, outputs[0][0])
        assert torch.equal(mean, outputs[0][1])


@pytest.mark.parametrize("part", ["bn1", "conv_dw", "bn2", "se.conv_reduce", "se"])
def test_layers_with_hooks_are_called(part, runs):
    ours, seen = fast(block()), []
    ours.get_submodule(part).register_forward_hook(lambda *_: seen.append(part))
    with torch.no_grad():
        ours(channels_last(2, 6, 9, 8))
    assert seen == [part]
    assert not runs


def test_gradients_and_training_go_timms_way(runs):
    timms = block()
    ours, images = fast(timms), channels_last(2, 6, 9, 8)
    assert_close([ours(images)], [copy.deepcopy(timms).double()(images.double())], 1e-5)
    timms.train()
    ours.train()
    with torch.no_grad():
        assert_close([ours(images)], [copy.deepcopy(timms).double()(images.double())], 1e-5)
    assert not runs


@pytest.mark.parametrize("change", ["dilation", "two activations", "batch statistics", "float64", "wide padding"])
def test_what_the_kernel_does_not_cover_goes_timms_way(change, runs):
    more = {"dilation": {"dilation": 2}, "wide padding": {"stride": 2}}.get(change, {})
    timms, images = block(**more), channels_last(2, 6, 9, 8)
    if change == "wide padding":
        timms.conv_dw.padding = (4, 4)
    if change == "two activations":
        timms.bn1.act = nn.ReLU()
    if change == "batch statistics":
        timms.bn2.train()
    if change == "float64":
        timms, images = timms.double(), images.double()
    ours, exact = both(timms, images)
    assert_close([ours], [exact], 1e-5)
    assert not runs


def test_a_map_smaller_than_the_kernel_is_pytorchs_error(runs):
    timms = block(kernel=5, stride=2)
    timms.conv_dw.padding = (0, 0)
    with torch.no_grad(), pytest.raises(RuntimeError, match="Kernel size"):
        fast(timms)(channels_last(2, 6, 4, 9))
    assert not runs


def test_of_a_network_that_keeps_other_orders_of_memory(runs):
    """Images and weights as they come: what the 1x1 convolution gives is not channels last."""
    timms, images = block().to(memory_format=torch.contiguous_format), torch.randn(2, 6, 9, 8)
    ours, exact = both(timms, images)
    assert_close([ours], [exact], 1e-5)
