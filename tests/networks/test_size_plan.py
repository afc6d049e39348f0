"""Sizes read off and given to another copy: the copy then takes the changed module's weights and computes the same."""

import copy
import json
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from distilnas.errors import UsageError
from distilnas.networks.plan import Constant, Plan, Skip, apply_plan, plan_of


class Net(nn.Module):
    """Convolution, batch norm, group norm, linear; attention's sizes as plain numbers."""

    def __init__(self, inner: int = 8, heads: int = 4, bias: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, inner, 1, bias=bias)
        self.depthwise = nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False)
        self.bn = nn.BatchNorm2d(inner)
        self.gn = nn.GroupNorm(heads, inner)
        self.body = nn.Sequential(nn.Conv2d(inner, inner, 1), nn.ReLU())
        self.ln = nn.LayerNorm(inner)
        self.fc = nn.Linear(inner, 5)
        self.num_heads, self.scale = heads, heads**-0.5

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(self.gn(self.bn(self.depthwise(self.conv(x)))))
        return self.fc(self.ln(x.mean((2, 3)))) * self.scale * self.num_heads


def loaded(plan: Plan, changed: nn.Module) -> nn.Module:
    """A fresh copy of the parent with ``plan`` through JSON applied, and the weights of ``changed``."""
    own = Net()
    apply_plan(own, Plan.from_dict(json.loads(json.dumps(plan.to_dict()))))
    own.load_state_dict(changed.state_dict(), assign=True)
    return own.eval()


def test_no_change_is_an_empty_plan() -> None:
    plan = plan_of(Net(), Net())
    assert not plan
    assert plan.to_dict() == {"sizes": {}, "tensors": {}, "skips": []}


@torch.no_grad()
def test_a_smaller_net_with_another_bias_and_a_module_left_out() -> None:
    changed = Net(inner=4, heads=2, bias=True).eval()
    changed.body = nn.Identity()
    plan = plan_of(Net(), changed)
    assert plan.skips == ("body",)
    assert plan.sizes["depthwise"] == {"in_channels": 4, "out_channels": 4, "groups": 4}
    assert plan.sizes[""] == {"num_heads": 2, "scale": 2**-0.5}
    assert plan.tensors["conv.bias"] == (4,)
    again = loaded(plan, changed)
    assert isinstance(again.body, Skip)
    assert again.depthwise.groups == 4
    assert again.ln.normalized_shape == (4,)
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(again(x), changed(x))


@torch.no_grad()
def test_a_module_that_gives_a_constant() -> None:
    changed = Net().eval()
    changed.body = Constant(torch.randn(8, 1, 1))
    plan = plan_of(Net(), changed)
    assert (plan.skips, plan.constants) == ((), {"body": (8, 1, 1)})
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(loaded(plan, changed)(x), changed(x))
    with pytest.raises(UsageError, match="constants have a shape"):
        Plan.from_dict({"constants": {"body": [-1]}})


def test_a_bias_may_go() -> None:
    changed = Net()
    changed.fc.bias = None  # type: ignore[assignment]
    plan = plan_of(Net(), changed)
    assert plan.tensors == {"fc.bias": None}
    assert loaded(plan, changed).fc.bias is None


def test_attention_of_timm_with_fewer_heads() -> None:
    """timm's own attention of two heads, built as such, against the plan from four heads to two."""
    four, two = (timm.layers.Attention(dim=16, num_heads=heads) for heads in (4, 4))
    two.num_heads, two.attn_dim = 2, 8
    two.qkv, two.proj = nn.Linear(16, 24, bias=False), nn.Linear(8, 16)
    plan = plan_of(four, two)
    apply_plan(four, plan)
    four.load_state_dict(two.state_dict(), assign=True)
    x = torch.randn(1, 3, 16)
    assert torch.equal(four.eval()(x), two.eval()(x))


def test_skip_hands_on_the_first_of_many() -> None:
    x = torch.rand(2)
    assert Skip()(x, (3, 4), mask=None) is x


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda net: setattr(net, "ln", nn.BatchNorm1d(8)), "module 'ln' is a BatchNorm1d, was a LayerNorm"),
        (lambda net: delattr(net, "ln"), "module 'ln' is gone"),
        (lambda net: setattr(net, "more", nn.ReLU()), "module 'more' is new"),
    ],
)
def test_what_no_plan_can_tell_is_refused(change: Any, message: str) -> None:
    changed = copy.deepcopy(Net())
    change(changed)
    with pytest.raises(UsageError, match=message):
        plan_of(Net(), changed)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {"other": {}},
        {"sizes": []},
        {"sizes": {"conv": 3}},
        {"tensors": {"conv.weight": 3}},
        {"tensors": {"conv.weight": [-1]}},
        {"tensors": {"conv.weight": [1.5]}},
        {"tensors": {"conv.weight": [2**31, 2**31, 2**31]}},
        {"tensors": {"conv.weight": [1] * 99}},
        {"skips": "body"},
        {"skips": [""]},
    ],
)
def test_damaged_plans_are_refused_when_read(data: Any) -> None:
    with pytest.raises(UsageError, match="export the student again"):
        Plan.from_dict(data)


@pytest.mark.parametrize(
    "data",
    [
        {"sizes": {"nowhere": {"out_channels": 4}}},
        {"sizes": {"conv": {"forward": 4}}},
        {"sizes": {"conv": {"__class__": 4}}},
        {"sizes": {"conv": {"training": 1}}},
        {"sizes": {"conv": {"out_channels": "4"}}},
        {"sizes": {"conv": {"out_channels": 4.5}}},
        {"sizes": {"conv": {"kernel_size": 3}}},
        {"sizes": {"conv": {"padding_mode": [1]}}},
        {"tensors": {"conv.scale": [4]}},
        {"tensors": {"nowhere.weight": [4]}},
        {"skips": ["nowhere"]},
        {"skips": ["nowhere.conv"]},
    ],
)
def test_plans_of_another_network_are_refused(data: Any) -> None:
    with pytest.raises(UsageError, match="export the student again"):
        apply_plan(Net(), Plan.from_dict(data))
