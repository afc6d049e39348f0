"""``distilnas.shrink`` and ``distilnas.run`` as a notebook calls them."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from tiny_run import write_images
from tiny_shrink import CONFIG
from torch import nn
from torchvision import transforms as T
from torchvision.datasets import ImageFolder

import distilnas
from distilnas.errors import UsageError
from distilnas.runtime.progress import Event

SMALL = {key: CONFIG[key] for key in ("library", "choice", "recovery", "runtime")} | {"data": {"validation": 6}}
PREPARE = T.Compose([T.Resize((32, 32)), T.ToTensor(), T.Normalize([0.5] * 3, [0.5] * 3)])


TOLD = {"resolution": 32, "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear"}


class OwnNet(nn.Module):
    """No timm conventions."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1))
        self.second = nn.Sequential(
            nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 3, 1, 1)
        )
        self.classify = nn.Linear(32, 3)

    def forward(self, images):
        return self.classify(self.second(self.first(images)).mean((2, 3)))


def own_net() -> OwnNet:
    torch.manual_seed(0)
    return OwnNet()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("api") / "photos")


def shrunk(model: Any, images: Any, run: Path, **given: Any) -> distilnas.Result:
    return distilnas.shrink(model, images, run=run, **{"macs": 0.7, "quiet": True, "settings": SMALL, **given})


@pytest.fixture(scope="module")
def folder_result(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> distilnas.Result:
    return shrunk(own_net(), photos, tmp_path_factory.mktemp("api") / "run", transform=TOLD)


def test_a_module_and_a_folder(folder_result: distilnas.Result) -> None:
    result, images = folder_result, torch.rand(2, 3, 32, 32)
    assert result.summary["student"]["macs"] <= 0.7 * result.summary["teacher"]["macs"]
    assert result.student is result.student
    session = onnxruntime.InferenceSession(result.exports[0] / "model.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": images.numpy()})
    with torch.no_grad():
        assert np.abs(logits - result.student(images).numpy()).max() < 1e-4
    assert result.report().read_text().startswith("<!doctype html>")


def test_a_result_shows_itself(folder_result: distilnas.Result) -> None:
    summary, page = folder_result.summary, folder_result._repr_html_()
    assert f"{summary['student']['macs']:,}" in page
    assert "teacher OwnNet" in page
    assert f"{summary['student']['top1']:.2f} %" in repr(folder_result)


def test_a_data_set_gives_what_its_folder_gives(photos: Path, folder_result: distilnas.Result, tmp_path: Path) -> None:
    """The same images on another way: the same student, bit for bit; process and module are left as they were."""
    net, events = own_net().train(), []
    before, state = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    result = shrunk(net, ImageFolder(photos), tmp_path / "run", transform=PREPARE, progress=events.append)
    other = folder_result.student.state_dict()
    assert all(torch.equal(value, other[name]) for name, value in result.student.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in net.parameters())
    assert Event(text="library") in events
    assert events[-1].text == "report"
    (recovery,) = {event.total for event in events if event.text == "recover student"}
    assert [event.done for event in events if event.text == "recover student"][-1] == recovery


@pytest.mark.slow
def test_prepared_tensors_are_rated_alike(photos: Path, folder_result: distilnas.Result, tmp_path: Path) -> None:
    """All before the training is the same as by the folder: the choice, its accuracy, the library's ratings."""
    result = shrunk(own_net(), ImageFolder(photos, PREPARE), tmp_path / "run")
    for name in ("macs", "params", "top1_before_training"):
        assert result.summary["student"][name] == folder_result.summary["student"][name]
    rating = folder_result.summary["solution"]["rating"]
    assert result.summary["solution"]["rating"] == pytest.approx(rating, rel=1e-4)


@pytest.mark.parametrize(
    ("model", "given", "message"),
    [
        (OwnNet, {"transform": PREPARE}, "a class is called first"),
        (own_net(), {}, "does not say how it wants its images"),
        (own_net(), {"transform": PREPARE, "resolution": 64}, "images of 32 pixels, but resolution=64"),
        (own_net(), {"transform": "imagenet"}, "callable or a mapping"),
        (own_net(), {"transform": {"resolution": 32, "maen": [0, 0, 0]}}, "maen"),
        (own_net(), {"transform": PREPARE, "test": "elsewhere"}, "leave out test and classes"),
        (own_net(), {"transform": PREPARE, "images": 7}, "got int"),
        (own_net(), {"transform": PREPARE, "macs": "40MB"}, "not an amount"),
        (own_net(), {"transform": PREPARE, "settings": {"librari": {}, "library": {"imags": 3}}}, "imags"),
        ("resnet5", {"resolution": 32}, "did you mean"),
    ],
)
def test_what_cannot_be(photos: Path, tmp_path: Path, model: Any, given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        shrunk(model, given.pop("images", photos), tmp_path / "run", **given)
    assert not (tmp_path / "run" / "run.json").exists()
