"""Peak memory of activations: small networks by hand, large ones against the graph that a runtime reads."""

import io
import warnings
from typing import Any

import numpy as np
import onnx
import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from distilnas.costing import MEASURES, Part
from distilnas.costing.memory import peak_bytes
from distilnas.errors import UsageError

SIDE = 8
MAP = SIDE * SIDE * 4  # bytes of one channel


class Calls(nn.Module):
    """A network that is a function of the image, with some layers."""

    def __init__(self, call: Any, **layers: nn.Module) -> None:
        super().__init__()
        self.call, self.layers = call, nn.ModuleDict(layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x, self.layers)


def conv(into: int, out: int, **kwargs: Any) -> nn.Conv2d:
    return nn.Conv2d(into, out, 3, padding=1, bias=False, **kwargs)


def three_at_once(x: Tensor, layers: nn.ModuleDict) -> Tensor:
    return x + layers["b"](torch.relu(layers["a"](x)))


def gated(x: Tensor, layers: nn.ModuleDict) -> Tensor:
    return x * layers["gate"](x.mean((2, 3), keepdim=True)).sigmoid()


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        pytest.param(conv(3, 16), (3 + 16) * MAP, id="input and output"),
        pytest.param(nn.Sequential(conv(3, 16), nn.BatchNorm2d(16), nn.ReLU()), (3 + 16) * MAP, id="written over"),
        pytest.param(
            nn.Sequential(conv(3, 16), nn.ReLU(inplace=True), conv(16, 5)), (16 + 5) * MAP, id="second of two"
        ),
        pytest.param(
            Calls(three_at_once, a=conv(3, 12), b=conv(12, 3)), (3 + 12 + 3) * MAP, id="the shortcut is kept meanwhile"
        ),
        pytest.param(Calls(gated, gate=nn.Conv2d(3, 3, 1, bias=False)), 3 * MAP + 2 * 3 * 4, id="a gate"),
        pytest.param(nn.Sequential(conv(3, 4), nn.MaxPool2d(2)), (3 + 4) * MAP, id="no indices of a pooling"),
        pytest.param(
            nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(3, 4, 3, bias=False)), (3 + 4) * MAP, id="padding of convolutions"
        ),
        pytest.param(
            Calls(lambda x, _: functional.pad(x, (1, 1, 1, 1)).amax((2, 3))),
            3 * (MAP + 4 * (SIDE + 2) ** 2),
            id="padding for others",
        ),
        pytest.param(
            Calls(lambda x, layers: x + layers["a"].weight.sum() * torch.ones(50, 50).sum(), a=nn.Linear(50, 50)),
            3 * MAP,
            id="nothing of the weights",
        ),
        pytest.param(nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, 7)), 3 * MAP + 28, id="views are no copies"),
    ],
)
def test_by_hand(network: nn.Module, expected: int) -> None:
    assert peak_bytes(network, (3, SIDE, SIDE)) == expected
    assert MEASURES["peak_memory"](Part(network, (3, SIDE, SIDE))) == expected


def from_graph(model: nn.Module, shape: tuple[int, ...]) -> int:
    """The same of the ONNX graph: sizes from its shape inference, lives from its nodes in their order; batch norms are
    folded there already."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (torch.rand(1, *shape),), buffer, opset_version=18, dynamo=False)  # type: ignore[arg-type]
    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(buffer.getvalue()), data_prop=True).graph
    infos = [*graph.value_info, *graph.input, *graph.output]
    sizes = {i.name: 4 * int(np.prod([d.dim_value for d in i.type.tensor_type.shape.dim])) for i in infos}
    weights = {tensor.name for tensor in graph.initializer}
    same = {"Identity": 0, "Flatten": 0, "Reshape": 0}
    over = {"Relu", "Clip", "Add", "Mul", "Sigmoid", "HardSwish", "HardSigmoid", "BatchNormalization"}
    root: dict[str, str] = {}
    nodes, last = [node for node in graph.node if node.op_type != "Constant"], {}
    for at, node in enumerate(nodes):
        for name in node.input:
            last[root.get(name, name)] = at
        if node.op_type in same:
            root[node.output[0]] = root.get(node.input[0], node.input[0])
    last[root.get(graph.output[0].name, graph.output[0].name)] = len(nodes)
    live, peak = {graph.input[0].name}, 0
    for at, node in enumerate(nodes):
        reads = {root.get(name, name) for name in node.input} & live
        if node.op_type in same or not reads - weights:
            continue
        ending = {name for name in reads if last[name] == at}
        live |= set(node.output)
        free = node.op_type in over and any(sizes[name] == sizes[node.output[0]] for name in ending)
        peak = max(peak, sum(sizes[name] for name in live) - free * sizes[node.output[0]])
        live -= ending
    return peak


@pytest.mark.parametrize("name", ["mobilenetv2_050", "mobilenetv3_small_050", "resnet18", "resnet26", "regnety_002"])
def test_as_in_the_graph_that_a_runtime_reads(name: str) -> None:
    model = timm.create_model(name, num_classes=10).eval()
    assert peak_bytes(model, (3, 64, 64)) == from_graph(model, (3, 64, 64))


def test_the_model_stays_as_it_is() -> None:
    model = nn.Sequential(conv(3, 4), nn.BatchNorm2d(4)).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    peak_bytes(model, (3, SIDE, SIDE))
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_an_input_that_does_not_fit() -> None:
    with pytest.raises(UsageError, match="cannot count Conv2d for an input of"):
        peak_bytes(conv(3, 4), (5, SIDE, SIDE))
