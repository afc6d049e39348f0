"""DARTS ops as modules: values against independent ones, the search's batch norms, what is refused."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from distilnas.errors import UsageError
from distilnas.networks.darts import FactorizedReduce, make_op, relu_conv_bn
from distilnas.space.darts import OPS


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def norms(module: nn.Module) -> list[nn.BatchNorm2d]:
    return [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPS)
def test_shapes(name, stride):
    op = make_op(name, 6, stride).eval()
    for height, width in ((8, 8), (7, 9), (1, 2)):
        assert op(torch.rand(2, 6, height, width)).shape == (2, 6, -(-height // stride), -(-width // stride))


def test_a_skip_is_an_identity_and_none_is_nothing():
    x = torch.randn(1, 4, 5, 5)
    assert make_op("skip_connect", 4, 1)(x) is x
    for stride in (1, 2):
        assert not make_op("none", 4, stride)(x / 0).any()  # infinities too


def test_pools():
    """Border windows of the average pool count the pixels inside only."""
    x = torch.randn(2, 4, 6, 6)
    assert torch.equal(make_op("max_pool_3x3", 4, 2)(x), functional.max_pool2d(x, 3, 2, 1))
    ones = torch.ones(1, 4, 5, 5)
    average = make_op("avg_pool_3x3", 4, 1)
    torch.testing.assert_close(average(ones), ones)
    torch.testing.assert_close(average(x)[:, :, 2, 2], x[:, :, 1:4, 1:4].mean(dim=(2, 3)))
    torch.testing.assert_close(average(x)[:, :, 0, 0], x[:, :, :2, :2].mean(dim=(2, 3)))


@pytest.mark.parametrize("side", [6, 7])
def test_factorized_reduce_sees_even_and_odd_pixels(side):
    """Half of the channels from the even rows and columns, half from the odd ones; beyond the border is zero."""
    reduce = FactorizedReduce(3, 8).eval()
    x = torch.randn(2, 3, side, side)
    positive = x.clamp(min=0)
    beyond = torch.zeros(2, 3, side + side % 2, side + side % 2)
    beyond[:, :, :side, :side] = positive
    parts = ((reduce.conv1.weight, positive[:, :, ::2, ::2]), (reduce.conv2.weight, beyond[:, :, 1::2, 1::2]))
    expected = torch.cat([torch.einsum("oi,bihw->bohw", weight[:, :, 0, 0], pixels) for weight, pixels in parts], dim=1)
    torch.testing.assert_close(reduce(x), expected / (1 + 1e-5) ** 0.5)


@pytest.mark.parametrize(
    ("name", "height", "width"),
    [
        ("sep_conv_3x3", 5, 5),
        ("sep_conv_5x5", 9, 9),
        ("sep_conv_7x7", 13, 13),
        ("dil_conv_3x3", 5, 5),
        ("dil_conv_5x5", 9, 9),
        ("conv_7x1_1x7", 7, 7),
        ("max_pool_3x3", 3, 3),
        ("avg_pool_3x3", 3, 3),
    ],
)
def test_how_far_an_op_sees(name, height, width):
    """Two k x k convolutions see 2k - 1 pixels, a dilated one too but with gaps (weights positive: no ReLU closes)."""
    op = make_op(name, 2, 1).eval()
    for weight in op.parameters():
        weight.data.abs_()
    x = (torch.rand(1, 2, 17, 17) + 0.1).requires_grad_()
    op(x)[0, 0, 8, 8].backward()
    assert x.grad is not None
    rows, columns = x.grad[0].abs().sum(0).nonzero().unbind(1)
    if name == "max_pool_3x3":
        assert len(rows) == 1
        assert max(abs(int(rows[0]) - 8), abs(int(columns[0]) - 8)) <= 1
        return
    assert (int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1) == (height, width)
    assert len(rows) == (height // 2 + 1) ** 2 if name.startswith("dil") else height * width


def test_convolutions_begin_with_a_relu_and_end_in_a_batch_norm():
    negative = -torch.rand(2, 4, 6, 6) - 0.1
    for name in OPS:
        if "conv" in name:
            op = make_op(name, 4, 1).eval()
            nn.init.constant_(norms(op)[-1].bias, 0.5)
            assert (op(negative) == 0.5).all()
            assert all(conv.bias is None for conv in op.modules() if isinstance(conv, nn.Conv2d))
    enter = relu_conv_bn(4, 8).eval()
    assert enter(negative).shape == (2, 8, 6, 6)
    assert not enter(negative).any()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPS)
def test_batch_norms_of_the_search(name, stride):
    search = make_op(name, 4, stride, affine=False, pool_norm=True)
    derived = make_op(name, 4, stride)
    assert not any(norm.affine for norm in norms(search))
    assert all(norm.affine for norm in norms(derived))
    assert len(norms(search)) == len(norms(derived)) + ("pool" in name)
    assert not norms(relu_conv_bn(4, 4, affine=False))[0].affine
    if "pool" in name:
        out = search(torch.randn(8, 4, 6, 6))
        torch.testing.assert_close(out.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)


def test_what_is_refused():
    with pytest.raises(UsageError, match="unknown DARTS op 'sep_conv'; did you mean 'sep_conv"):
        make_op("sep_conv", 4, 1)
    with pytest.raises(UsageError, match="stride 1 or 2, got 3"):
        make_op("skip_connect", 4, 3)
    with pytest.raises(UsageError, match="the width must be even, got 5"):
        make_op("skip_connect", 5, 2)
