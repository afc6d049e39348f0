"""A linear map in a unit's place: least squares by an independent solver, sizes by hand."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from distilnas.errors import UsageError
from distilnas.networks.layouts import Layout
from distilnas.networks.parent import Border
from distilnas.surgery.chain import Unit
from distilnas.surgery.linear import fit_part, new_linear

Shape = tuple[int, ...]


def unit(in_shape: Shape, out_shape: Shape, layout: Layout | None = None) -> Unit:
    return Unit(
        name="u",
        block=0,
        module=nn.Identity(),
        groups=(),
        droppable=False,
        in_shape=in_shape,
        out_shape=out_shape,
        border=Border(path="u", channels=1, height=1, width=1, layout=layout or Layout()),
    )


@pytest.mark.parametrize(
    ("in_shape", "out_shape", "layout", "stride"),
    [
        ((4, 8, 6), (6, 8, 6), Layout(), 1),
        ((4, 8, 6), (6, 4, 3), Layout(), 2),
        ((4, 7, 5), (6, 4, 3), Layout(), 2),
        ((8, 6, 4), (4, 3, 6), Layout(kind="nhwc"), 2),
        ((16, 4), (16, 4), Layout(kind="tokens"), 1),
        ((17, 4), (5, 6), Layout(kind="tokens", prefix=1), 2),
    ],
)
def test_borders_are_the_units(
    in_shape: tuple[int, ...], out_shape: tuple[int, ...], layout: Layout, stride: int
) -> None:
    module = new_linear(unit(in_shape, out_shape, layout))
    assert module.stride == stride
    assert module(torch.zeros(2, *in_shape)).shape == (2, *out_shape)


@pytest.mark.parametrize(
    ("in_shape", "out_shape"), [((4, 9, 9), (4, 4, 4)), ((4, 8, 8), (16, 4)), ((4, 4, 4), (4, 8, 8))]
)
def test_other_borders_are_refused(in_shape: Shape, out_shape: Shape) -> None:
    with pytest.raises(UsageError, match="size over a whole stride, but 'u' makes"):
        new_linear(unit(in_shape, out_shape))


def samples(batches: int, images: int) -> tuple[list[Tensor], list[Tensor]]:
    torch.manual_seed(0)
    inputs = [torch.randn(images, 4, 6, 6) + 1 for _ in range(batches)]
    weight, bias = torch.randn(5, 4), torch.randn(5)
    pooled = [nn.functional.avg_pool2d(x, 2) for x in inputs]
    exact = [torch.einsum("oc,bchw->bohw", weight, x) + bias[:, None, None] for x in pooled]
    return inputs, [y + 0.1 * torch.randn_like(y) for y in exact]


def test_the_map_is_the_least_squares_of_outputs_on_means_of_inputs() -> None:
    inputs, outputs = samples(batches=4, images=20)
    module = fit_part(new_linear(unit((4, 6, 6), (5, 3, 3))), inputs, outputs)
    pooled = nn.functional.avg_pool2d(torch.cat(inputs), 2).permute(0, 2, 3, 1).reshape(-1, 4).double().numpy()
    targets = torch.cat(outputs).permute(0, 2, 3, 1).reshape(-1, 5).double().numpy()
    expected, *_ = np.linalg.lstsq(np.column_stack([pooled, np.ones(len(pooled))]), targets, rcond=None)
    # the ridge is at least 1e-3 of the inputs' variance, and of images only some places are used
    np.testing.assert_allclose(module.map.weight.reshape(5, 4).numpy(), expected[:4].T, atol=0.03)
    np.testing.assert_allclose(module.map.bias.numpy(), expected[4], atol=0.06)


def test_of_two_images_the_map_stays_finite() -> None:
    torch.manual_seed(0)
    inputs, outputs = ([torch.randn(1, 16, 2, 2) for _ in range(2)] for _ in range(2))
    module = fit_part(new_linear(unit((16, 2, 2), (16, 2, 2))), inputs, outputs)
    assert module.map.weight.isfinite().all()
