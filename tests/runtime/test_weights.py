"""Weight files: which tensors are taken, what is refused, what must fit."""

import argparse
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from distilnas.errors import UsageError
from distilnas.runtime.weights import check_fit, read_state, some

LAST, MEAN = {"w": torch.zeros(2)}, {"w": torch.ones(2)}


def save(path: Path, content: object, *, zip_format: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zip_format)
    return path


@pytest.mark.parametrize("zip_format", [True, False])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".pth.tar", ".bin"])
def test_tensors_from_a_training_checkpoint(tmp_path: Path, suffix: str, zip_format: bool):
    content = {
        "epoch": 3,
        "arch": "DNA_a",
        "state_dict": OrderedDict({"module.w": torch.zeros(2)}),
        "state_dict_ema": OrderedDict({"module.w": torch.ones(2)}),
        "optimizer": {"state": {0: {"square_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        "args": argparse.Namespace(model="DNA_a", lr=0.064, mean=None, sizes=[224, 224]),
        "version": 2,
    }
    path = save(tmp_path / f"x{suffix}", content, zip_format=zip_format)
    assert read_state(path).keys() == {"w"}
    assert torch.equal(read_state(path)["w"], MEAN["w"])
    assert torch.equal(read_state(path, averaged=False)["w"], LAST["w"])


@pytest.mark.parametrize("content", [LAST, {"state_dict": LAST}, {"model": LAST, "model_ema": None}])
def test_without_averaged_weights_the_others_are_taken(tmp_path: Path, content: object):
    path = save(tmp_path / "x.pth", content)
    assert torch.equal(read_state(path)["w"], LAST["w"])
    assert torch.equal(read_state(path, averaged=False)["w"], LAST["w"])


def test_averaged_weights_alone_do_not_pass_for_the_others(tmp_path: Path):
    path = save(tmp_path / "x.pth", {"state_dict_ema": MEAN})
    with pytest.raises(UsageError, match=r"under state_dict, .*; found state_dict_ema"):
        read_state(path, averaged=False)


def test_safetensors(tmp_path: Path):
    save_file({"module.w": torch.ones(2)}, tmp_path / "x.safetensors")
    assert torch.equal(read_state(tmp_path / "x.safetensors")["w"], MEAN["w"])


class Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("zip_format", [True, False])
def test_other_classes_are_refused_and_nothing_runs(tmp_path: Path, zip_format: bool):
    marker = tmp_path / "executed"
    hidden = argparse.Namespace(inner=[Payload(marker)])
    for content in (Payload(marker), {"state_dict": LAST, "args": hidden}):
        path = save(tmp_path / "x.pth", content, zip_format=zip_format)
        with pytest.raises(UsageError, match=r"tensors only.*which could run any code.*convert it once"):
            read_state(path)
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists(), "the payload works where it is not stopped"


def test_classes_are_not_allowed_beyond_the_reading(tmp_path: Path):
    read_state(save(tmp_path / "x.pth", {"state_dict": LAST, "args": argparse.Namespace()}))
    assert argparse.Namespace not in torch.serialization.get_safe_globals()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.pth", argparse.Namespace(state_dict=1), "found Namespace"),
        ("x.pth", {"state_dict": {}}, "found dict"),
        ("x.pth", {"state_dict": {"w": 1}}, "found w"),
        ("x.h5", LAST, "safetensors file or one of"),
    ],
)
def test_files_without_tensors(tmp_path: Path, name: str, content: object, message: str):
    with pytest.raises(UsageError, match=message):
        read_state(save(tmp_path / name, content))


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
def test_missing_and_damaged_files(tmp_path: Path, name: str):
    with pytest.raises(UsageError, match="is none"):
        read_state(tmp_path / name)
    (tmp_path / name).write_bytes(b"no weights")
    with pytest.raises(UsageError, match=r"cannot be read .*Fetch it again"):
        read_state(tmp_path / name)


def test_fit():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    state = model.state_dict()
    path = Path("f.pth")
    check_fit(model, state, path, advice="-")
    del state["1.num_batches_tracked"]
    check_fit(model, state, path, advice="-")
    del state["0.bias"]
    check_fit(model, state, path, advice="-", may_lack={"0.bias"})
    state |= {"0.weight": torch.zeros(3, 4), "x": torch.zeros(1)}
    expected = (
        r"Sequential entry by entry, but f.pth has 1 missing \(0.bias\); 1 unexpected \(x\); "
        r"1 of another shape \(0.weight \(3, 4\) instead of \(3, 2\)\). Do that.$"
    )
    with pytest.raises(UsageError, match=expected):
        check_fit(model, state, path, advice="Do that.")


def test_lists_in_messages_are_short():
    assert some("ab") == "a, b"
    assert some("abcd") == "a, b, c, ..."
