"""Teachers by name and weights from files, good and bad; no network."""

import logging
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from distilnas.errors import UsageError
from distilnas.teachers.create import create_teacher, load_weights

NAME = "mobilenetv3_small_050"


@pytest.fixture(scope="module")
def source() -> nn.Module:
    torch.manual_seed(1)
    model = timm.create_model(NAME, num_classes=10)
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    return model


def same(model: nn.Module, state: dict[str, Tensor]) -> bool:
    own = model.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[key], state[key]) for key in own)


def test_a_teacher_is_the_timm_model_with_its_arguments() -> None:
    model = create_teacher("resnet10t", num_classes=7, model_kwargs={"in_chans": 1})
    assert model(torch.zeros(2, 1, 32, 32)).shape == (2, 7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet10"}, "did you mean .*'resnet10t'"),
        ({"name": "resnet10t.nothing"}, "resnet10t.c3_in1k"),
        ({"name": "resnet10t", "model_kwargs": {"in_channels": 1}}, "cannot be built .*in_channels"),
        ({"name": "resnet10t", "model_kwargs": {"num_classes": 3}}, "cannot be built .*num_classes"),
        ({"name": "resnet10t", "pretrained": True, "weights": Path("a.pth")}, "not both"),
        ({"name": "mobilenetv3_rw", "pretrained": True, "model_kwargs": {"in_channels": 1}}, "cannot be built"),
        ({"name": "convmixer_1024_20_ks9_p14", "weights": Path("none.pth")}, "none.pth is none"),
    ],
)
def test_wrong_requests_are_refused_with_help(arguments: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create_teacher(num_classes=10, **arguments)


def test_without_weights_to_fetch_a_local_file_is_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    unpublished = next(name for name in timm.list_models() if not timm.list_pretrained(f"{name}*"))
    with pytest.raises(UsageError, match=r"no pretrained weights .*local file"):
        create_teacher(unpublished, num_classes=10, pretrained=True)

    def unreachable(*_args: object, **_kwargs: object) -> nn.Module:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(UsageError, match=r"no route to host.*local file"):
        create_teacher("resnet10t", num_classes=1000, pretrained=True)


def test_a_pretrained_classifier_of_other_classes_is_announced(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    build = timm.create_model
    monkeypatch.setattr(
        timm, "create_model", lambda name, pretrained, num_classes: build(name, num_classes=num_classes)
    )
    with caplog.at_level(logging.WARNING):
        create_teacher("resnet10t", num_classes=1000, pretrained=True)
        assert not caplog.records
        create_teacher("resnet10t", num_classes=10, pretrained=True)
    assert "trained on 1000 classes: a new classifier of 10" in caplog.text


@pytest.mark.parametrize("nest", [None, "state_dict", "state_dict_ema", "model", "model_ema"])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".pth.tar", ".bin"])
def test_torch_files_load_bit_for_bit(source: nn.Module, tmp_path: Path, nest: str | None, suffix: str) -> None:
    state = source.state_dict()
    path = tmp_path / f"weights{suffix}"
    prefixed = {f"module.{key}": value for key, value in state.items()}
    torch.save(state if nest is None else {nest: prefixed, "epoch": 3}, path)
    assert same(create_teacher(NAME, num_classes=10, weights=path), state)


def test_safetensors_load_bit_for_bit_and_counters_may_be_missing(source: nn.Module, tmp_path: Path) -> None:
    state = source.state_dict()
    save_file(state, tmp_path / "all.safetensors")
    assert same(create_teacher(NAME, num_classes=10, weights=tmp_path / "all.safetensors"), state)
    old = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    save_file(old, tmp_path / "old.safetensors")
    assert same(create_teacher(NAME, num_classes=10, weights=tmp_path / "old.safetensors"), state)


def test_averaged_weights_are_preferred(source: nn.Module, tmp_path: Path) -> None:
    state = source.state_dict()
    torch.save(
        {"state_dict": {key: value * 0 for key, value in state.items()}, "state_dict_ema": state}, tmp_path / "a.pt"
    )
    assert same(create_teacher(NAME, num_classes=10, weights=tmp_path / "a.pt"), state)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda state: state.pop("conv_stem.weight"), r"1 missing \(conv_stem.weight\)"),
        (lambda state: state.update(extra=torch.zeros(1)), r"1 unexpected \(extra\)"),
        (
            lambda state: state.update({"conv_stem.weight": torch.zeros(8, 3, 3, 3)}),
            r"1 of another shape \(conv_stem.weight \(8, 3, 3, 3\) instead of \(16, 3, 3, 3\)\)",
        ),
        (lambda state: [state.pop(key) for key in list(state)[:9]], r"missing \(\S+, \S+, \S+, \.\.\.\)"),
    ],
)
def test_misfits_are_named_and_change_nothing(source: nn.Module, tmp_path: Path, edit, message: str) -> None:
    state = source.state_dict()
    edit(state)
    torch.save(state, tmp_path / "w.pth")
    model = timm.create_model(NAME, num_classes=10)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(UsageError, match=message):
        load_weights(model, tmp_path / "w.pth", num_classes=10)
    assert same(model, before)


def test_another_number_of_classes_needs_a_new_head(
    source: nn.Module, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(source.state_dict(), tmp_path / "w.pth")
    with pytest.raises(UsageError, match="has 10 outputs"):
        create_teacher(NAME, num_classes=4, weights=tmp_path / "w.pth")
    with caplog.at_level(logging.WARNING):
        model = create_teacher(NAME, num_classes=4, weights=tmp_path / "w.pth", allow_new_head=True)
    assert "freshly initialised" in caplog.text
    state = model.state_dict()
    assert state["classifier.weight"].shape[0] == 4
    body = {key: value for key, value in source.state_dict().items() if not key.startswith("classifier")}
    assert all(torch.equal(state[key], value) for key, value in body.items())
    used = timm.create_model(NAME, num_classes=7)
    load_weights(used, tmp_path / "w.pth", num_classes=3, allow_new_head=True)
    assert used(torch.zeros(2, 3, 32, 32)).shape == (2, 3)


def test_damaged_and_foreign_files_are_refused(source: nn.Module, tmp_path: Path) -> None:
    save_file(source.state_dict(), tmp_path / "whole.safetensors")
    torch.save(source.state_dict(), tmp_path / "whole.pth")
    for whole in (tmp_path / "whole.safetensors", tmp_path / "whole.pth"):
        data = whole.read_bytes()
        for content in (data[: len(data) // 2], b"", b"no weights at all"):
            damaged = tmp_path / f"damaged{whole.suffix}"
            damaged.write_bytes(content)
            with pytest.raises(UsageError, match="cannot be read"):
                create_teacher(NAME, num_classes=10, weights=damaged)
    with pytest.raises(UsageError, match="is none"):
        create_teacher(NAME, num_classes=10, weights=tmp_path / "nowhere.pth")
    with pytest.raises(UsageError, match="is none"):
        create_teacher(NAME, num_classes=10, weights=tmp_path)
    (tmp_path / "w.h5").write_bytes(b"")
    with pytest.raises(UsageError, match="safetensors file or one of"):
        create_teacher(NAME, num_classes=10, weights=tmp_path / "w.h5")


class Payload:
    def __reduce__(self) -> tuple:
        return (exec, ("raise SystemExit('executed')",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Payload(), "tensors only"),
        ({"state_dict": Payload()}, "tensors only"),
        ({"epoch": 3, "args": "x"}, "found epoch, args"),
        ([1, 2], "found list"),
        ({}, "found dict"),
    ],
)
def test_nothing_but_tensors_is_read(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UsageError, match=message):
        create_teacher(NAME, num_classes=10, weights=tmp_path / "w.pth")


def foreign(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same entries in order under names of another project, without the counters."""
    kept = [(key, value) for key, value in state.items() if not key.endswith("num_batches_tracked")]
    return {f"net.layer{i}.{key.rpartition('.')[2]}": value for i, (key, value) in enumerate(kept)}


def test_by_order_pairs_foreign_names(source: nn.Module, tmp_path: Path) -> None:
    state = source.state_dict()
    torch.save(foreign(state), tmp_path / "w.pth")
    assert same(create_teacher(NAME, num_classes=10, weights=tmp_path / "w.pth", by_order=True), state)
    model = create_teacher(NAME, num_classes=3, weights=tmp_path / "w.pth", by_order=True, allow_new_head=True)
    assert torch.equal(model.state_dict()["conv_stem.weight"], state["conv_stem.weight"])
    assert model.state_dict()["classifier.weight"].shape[0] == 3


def test_by_order_refuses_what_it_cannot_be_sure_of(source: nn.Module, tmp_path: Path) -> None:
    state = foreign(source.state_dict())

    def refuses(changed: dict[str, Tensor], message: str, name: str = "w.pth") -> None:
        path = tmp_path / name
        save_file(changed, path) if path.suffix == ".safetensors" else torch.save(changed, path)
        with pytest.raises(UsageError, match=message):
            create_teacher(NAME, num_classes=10, weights=path, by_order=True)

    refuses(state, "keeps the order", "w.safetensors")
    refuses(dict(list(state.items())[1:]), "one to one")
    refuses(dict(sorted(state.items(), key=lambda item: item[0].rpartition(".")[2])), "order|another shape")
    stem, norm_weight, norm_bias, *others = state
    refuses({key: state[key] for key in (stem, norm_bias, norm_weight, *others)}, "needs the teacher's order")
    refuses({key: value.flatten() for key, value in state.items()}, "another shape")
