"""Parts that are not the parent's: a linear map against its formula, in every layout; what is stored comes back."""

import pytest
import torch
from torch import Tensor, nn

from distilnas.errors import UsageError
from distilnas.networks.layouts import Layout
from distilnas.networks.new_parts import LinearMap, PooledClassifier
from distilnas.networks.parts import build_part, write_part
from distilnas.networks.plan import Skip

GRID = (5, 4)
LAYOUTS = [Layout(), Layout(kind="nhwc"), Layout(kind="tokens"), Layout(kind="tokens", prefix=2)]


LINEAR = {"kind": "linear", "in_channels": 1, "out_channels": 1, "stride": 1, "grid": [1, 1], "layout": {}}


def by_definition(x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """(B, C, H, W): the mean over each window of ``stride`` x ``stride`` places that exist, mapped."""
    rows = [x[:, :, y : y + stride] for y in range(0, x.shape[2], stride)]
    means = [[row[:, :, :, z : z + stride].mean((2, 3)) for z in range(0, x.shape[3], stride)] for row in rows]
    pooled = torch.stack([torch.stack(line, dim=2) for line in means], dim=2)
    return torch.einsum("oc,bchw->bohw", weight, pooled) + bias[:, None, None]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("stride", [1, 2])
@torch.no_grad()
def test_linear_is_a_mean_and_a_map_in_every_layout(layout: Layout, stride: int) -> None:
    torch.manual_seed(0)
    module = LinearMap(3, 6, stride=stride, layout=layout, grid=GRID)
    x, prefix = torch.randn(2, 3, *GRID), torch.randn(2, layout.prefix, 3)
    output = module(layout.from_map(x, prefix))
    weight, bias = module.map.weight.reshape(6, 3), module.map.bias
    expected = by_definition(x, weight, bias, stride)
    torch.testing.assert_close(layout.to_map(output, expected.shape[2:]), expected)  # type: ignore[arg-type]
    if layout.prefix:
        torch.testing.assert_close(output[:, :2], prefix @ weight.T + bias)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@torch.no_grad()
def test_a_new_head_is_the_mean_of_all_places_and_a_map(layout: Layout) -> None:
    torch.manual_seed(0)
    module = PooledClassifier(3, 7, layout=layout)
    x, prefix = torch.randn(2, 3, *GRID), torch.randn(2, layout.prefix, 3)
    expected = x.mean((2, 3)) @ module.fc.weight.T + module.fc.bias
    torch.testing.assert_close(module(layout.from_map(x, prefix)), expected)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_stored_parts_come_back(layout: Layout) -> None:
    for module in (LinearMap(3, 6, stride=2, layout=layout, grid=GRID), PooledClassifier(3, 7, layout=layout), Skip()):
        again = build_part(write_part(module, nn.Identity()), nn.Identity())
        again.load_state_dict(module.state_dict(), assign=True)
        x = layout.from_map(torch.randn(2, 3, *GRID), torch.randn(2, layout.prefix, 3))
        assert torch.equal(again(x), module(x))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "known kind, got None"),
        ({"kind": "linaer"}, "did you mean 'linear'|linear"),
        ({"kind": "linear"}, "not described as it should be"),
        (LINEAR | {"in_channels": -1}, "positive whole channels"),
        (LINEAR | {"grid": 1}, "not described as it should be"),
        ({"kind": "pooled", "in_channels": 1, "num_classes": "3", "layout": {}}, "positive whole sizes"),
        ({"kind": "pooled", "in_channels": 1, "num_classes": 3, "layout": {"kind": "x"}}, "layout 'x'"),
        ({"kind": "parent", "sizes": 3}, "sizes are numbers"),
    ],
)
def test_damaged_parts_are_refused(data: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_part(data, nn.Identity())
