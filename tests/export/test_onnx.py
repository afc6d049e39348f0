"""ONNX files: the same logits for any batch size, and nothing is written when they are not."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnx as onnx_file
import onnxruntime
import pytest
import torch
from torch import nn

from distilnas.errors import DistilnasError, UsageError
from distilnas.export import export_onnx, onnx
from distilnas.networks import StudentNet
from distilnas.space import Architecture

TEXT = "stem 8/2 silu | 8/2 mb_k3_e3_se0.25_silu id | head 16 silu"


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = StudentNet(Architecture.parse(TEXT), num_classes=3)
    model(torch.rand(8, 3, 16, 16))
    return model.train()


@pytest.mark.parametrize("number", [1, 5])
def test_batch_sizes_never_seen_give_the_same_logits(model, tmp_path, number):
    before = copy.deepcopy(model.state_dict())
    told = {"classes": '["cat", "dog"]'}
    report = export_onnx(model, tmp_path / "m.onnx", torch.rand(number, 3, 16, 16), metadata=told)
    assert report.checked_images == number
    assert report.batch_sizes == {1: (1,), 5: (1, 2, 5)}[number]
    assert report.relative_difference < 1e-4
    assert model.training  # the caller's model is left alone
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].name == "images"
    assert session.get_modelmeta().custom_metadata_map == told
    reference = copy.deepcopy(model).eval()
    for size in (1, 2, 3, 9):
        images = torch.rand(size, 3, 16, 16)
        logits = np.asarray(session.run(["logits"], {"images": images.numpy()})[0])
        np.testing.assert_allclose(logits, reference(images).detach().numpy(), rtol=1e-3, atol=1e-5)


SESSION = onnxruntime.InferenceSession


class Wrong:
    """A session whose logits are changed."""

    change = staticmethod(lambda logits: logits)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.session = SESSION(*args, **kwargs)

    def run(self, *args: Any) -> list[np.ndarray]:
        return [type(self).change(self.session.run(*args)[0])]


@pytest.mark.parametrize(
    "change",
    [lambda x: x * 1.01, lambda x: x * np.nan, lambda x: np.where(np.arange(len(x))[:, None] == 3, x + 1, x)],
    ids=["all", "nan", "one-image"],
)
def test_different_logits_raise_and_nothing_is_written(model, tmp_path, monkeypatch, change):
    monkeypatch.setattr(Wrong, "change", staticmethod(change))
    monkeypatch.setattr(onnx.onnxruntime, "InferenceSession", Wrong)
    path = tmp_path / "m.onnx"
    path.write_text("old")
    with pytest.raises(DistilnasError, match="does not compute what PyTorch does"):
        export_onnx(model, path, torch.rand(5, 3, 16, 16))
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.parametrize("opset", [13, 17])
def test_older_operators_for_older_runtimes(tmp_path: Path, opset: int) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    report = export_onnx(model, tmp_path / "m.onnx", torch.rand(5, 3, 16, 16), opset=opset)
    assert report.opset == opset
    assert report.batch_sizes == (1, 2, 5)
    assert next(o.version for o in onnx_file.load(tmp_path / "m.onnx").opset_import) == opset


def test_an_opset_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="from 13 to 21, got 12"):
        export_onnx(nn.Identity(), tmp_path / "m.onnx", torch.rand(1, 3, 4, 4), opset=12)
