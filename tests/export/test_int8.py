"""The file in 8 bits: what is in it, and that it still computes the network."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from distilnas.errors import DistilnasError
from distilnas.export import export_int8, export_onnx, onnx_top1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network in both forms."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    )
    place = tmp_path_factory.mktemp("int8")
    export_onnx(model, place / "m.onnx", torch.rand(4, 3, 8, 8), opset=17)
    export_int8(place / "m.onnx", place / "m8.onnx", [torch.rand(16, 3, 8, 8) for _ in range(4)])
    return place


def test_weights_are_integers_with_a_scale_for_each_channel(folder: Path) -> None:
    graph = onnx.load(folder / "m8.onnx").graph
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    kernel = next(name for name, values in tensors.items() if values.shape == (8, 3, 3, 3))
    assert tensors[kernel].dtype == np.int8
    reader = next(node for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] == kernel)
    assert tensors[reader.input[1]].shape == (8,)


def test_it_computes_what_the_other_does(folder: Path) -> None:
    """8 bits resolve a range in 255 steps: some steps of error remain after three layers."""
    images = torch.rand(64, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    run = {
        name: onnxruntime.InferenceSession(folder / name).run(None, {"images": images.numpy()})[0]
        for name in ("m.onnx", "m8.onnx")
    }
    span = np.ptp(run["m.onnx"])
    assert 0 < np.abs(run["m.onnx"] - run["m8.onnx"]).max() < 0.05 * span
    labels = torch.from_numpy(run["m.onnx"].argmax(1))
    wrong = labels.clone()
    wrong[:16] = (labels[:16] + 1) % 4
    assert onnx_top1(folder / "m.onnx", [(images[:40], wrong[:40]), (images[40:], wrong[40:])]) == 75.0


def test_what_cannot_be_quantised_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no model")
    with pytest.raises(DistilnasError, match="Export without int8") as caught:
        export_int8(tmp_path / "no.onnx", tmp_path / "out.onnx", [])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.onnx").exists()
