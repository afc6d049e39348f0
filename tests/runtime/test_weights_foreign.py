"""Checkpoints as training frameworks write them: prefixes, nests, whole models; nothing of a file is ever run."""

import logging
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

from distilnas.errors import UsageError
from distilnas.runtime.weights import agrees_in_order, read_state, without_prefix
from distilnas.teachers.create import load_weights

NAME = "resnet10t"
SMALL: dict[str, Any] = {"channels": [8, 8, 8, 8]}


@pytest.fixture
def trained() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(NAME, num_classes=3, **SMALL)


def behind(prefix: str, model: nn.Module) -> dict[str, torch.Tensor]:
    return OrderedDict((prefix + key, value) for key, value in model.state_dict().items())


def loaded(path: Path, num_classes: int = 3, **kwargs: Any) -> nn.Module:
    model = timm.create_model(NAME, num_classes=num_classes, **SMALL)
    load_weights(model, path, num_classes=num_classes, **kwargs)
    return model


def equal(one: nn.Module, other: nn.Module) -> bool:
    return all(value.equal(other.state_dict()[key]) for key, value in one.state_dict().items())


def lightning(model: nn.Module) -> dict[str, Any]:
    return {
        "epoch": 3,
        "global_step": 100,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": behind("model.", model) | {"criterion.weight": torch.ones(3), "metric.total": torch.zeros(())},
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 1}}}},
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_path": "x.ckpt", "best_k_models": {}}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {"lr": 0.1, "name": "resnet"},
    }


FORMS = {
    "compiled.pth": lambda m: behind("_orig_mod.", m),
    "compiled parts.pth": lambda m: {k.replace("layer1.0", "layer1._orig_mod.0"): v for k, v in behind("", m).items()},
    "parallel and compiled.pth": lambda m: {"state_dict": behind("module._orig_mod.", m)},
    "lightning.ckpt": lightning,
    "compiled in lightning.ckpt": lambda m: {"state_dict": behind("model._orig_mod.", m)},
    "usual.pt": lambda m: {"model_state_dict": behind("", m), "optimizer_state_dict": {"state": {}}, "epoch": 1},
    "nested.pth": lambda m: {"model": {"state_dict": behind("backbone.", m)}, "args": {"lr": 1}},
    "net.bin": lambda m: {"net": behind("", m), "acc": 91.5},
    "odd prefix.pth": lambda m: behind("encoder.trunk.", m),
}


TOLD = ("lightning.ckpt", "compiled in lightning.ckpt", "nested.pth", "odd prefix.pth")


@pytest.mark.parametrize("name", FORMS)
def test_prefixes_and_nests_are_dropped(
    tmp_path: Path, trained: nn.Module, name: str, caplog: pytest.LogCaptureFixture
):
    torch.save(FORMS[name](trained), tmp_path / name)
    with caplog.at_level(logging.WARNING):
        assert equal(loaded(tmp_path / name), trained)
    assert caplog.text.count("the weights are those under") == (name in TOLD)


def test_what_is_left_out_is_said(tmp_path: Path, trained: nn.Module, caplog: pytest.LogCaptureFixture):
    torch.save(lightning(trained), tmp_path / "l.ckpt")
    with caplog.at_level(logging.WARNING):
        loaded(tmp_path / "l.ckpt")
    assert "those under 'model'; 2 other entries are left out" in caplog.text


def test_a_new_head_behind_a_prefix(tmp_path: Path, trained: nn.Module):
    torch.save(lightning(trained), tmp_path / "l.ckpt")
    model = loaded(tmp_path / "l.ckpt", num_classes=5, allow_new_head=True)
    assert model.state_dict()["conv1.0.weight"].equal(trained.state_dict()["conv1.0.weight"])


def test_averaged_parts_are_preferred_or_not(trained: nn.Module):
    mean = {key: value + 1 for key, value in trained.state_dict().items()}
    state = behind("model.", trained) | {f"ema_model.{key}": value for key, value in mean.items()}
    key = "conv1.0.weight"
    assert without_prefix(trained, state, Path("f"))[key].equal(mean[key])
    assert without_prefix(trained, state, Path("f"), averaged=False)[key].equal(trained.state_dict()[key])
    two = behind("first.", trained) | behind("second.", trained)
    assert without_prefix(trained, two, Path("f")) is two  # nothing says which


def test_a_part_that_lacks_one_name_is_none(tmp_path: Path, trained: nn.Module):
    state = behind("model.", trained)
    del state["model.conv1.0.weight"]
    torch.save(state, tmp_path / "f.pth")
    with pytest.raises(UsageError, match=r"missing .*Choose the teacher .*teacher\.model_kwargs"):
        loaded(tmp_path / "f.pth")


def test_names_that_differ_in_order(tmp_path: Path, trained: nn.Module):
    state = {f"w{n}": value for n, value in enumerate(trained.state_dict().values()) if value.ndim}
    torch.save(state, tmp_path / "f.pth")
    assert agrees_in_order(trained, state)
    with pytest.raises(UsageError, match=r"agree in order: set teacher\.weights_by_order=true"):
        loaded(tmp_path / "f.pth")
    assert equal(loaded(tmp_path / "f.pth", by_order=True), trained)


def test_another_number_of_classes_names_what_the_configuration_has(tmp_path: Path, trained: nn.Module):
    torch.save(trained.state_dict(), tmp_path / "f.pth")
    with pytest.raises(UsageError, match=r"has 3 outputs, the images have 7 classes: .*teacher\.fit\.epochs=5"):
        loaded(tmp_path / "f.pth", num_classes=7)


WHOLE = {
    "a model": lambda m: m,
    "a model in a dict": lambda m: {"model": m, "epoch": 3},
    "a state dict beside an object": lambda m: {"state_dict": m.state_dict(), "config": nn.Linear(1, 1)},
    "a usual one beside an object": lambda m: {"model_state_dict": m.state_dict(), "config": nn.Linear(1, 1)},
}


@pytest.mark.parametrize("kind", WHOLE)
def test_the_conversion_that_is_offered_works(
    tmp_path: Path, trained: nn.Module, kind: str, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "whole.pth"
    torch.save(WHOLE[kind](trained), path)
    with pytest.raises(UsageError, match="could run any code") as refused:
        read_state(path)
    monkeypatch.chdir(tmp_path)
    _, _, line = str(refused.value).partition("give the new file: ")
    exec(line, {})
    assert equal(loaded(tmp_path / "NEW.pth"), trained)


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="TorchScript is deprecated there")
def test_torchscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model = nn.Sequential(nn.Linear(2, 3))
    torch.jit.script(model).save(str(tmp_path / "s.pt"))
    with pytest.raises(UsageError, match="TorchScript") as refused:
        read_state(tmp_path / "s.pt")
    monkeypatch.chdir(tmp_path)
    exec(str(refused.value).partition("give the new file: ")[2], {})
    assert read_state(tmp_path / "NEW.pth").keys() == {"0.weight", "0.bias"}
