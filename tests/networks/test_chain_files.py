"""Students of their parent's parts on disk: the same bits come back without the parent's weights; damage is refused."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import small_chains as small
import timm
import torch

from distilnas.errors import UsageError
from distilnas.export import export_onnx
from distilnas.networks import ChainNet, load_student, save_student
from distilnas.networks.chain import fingerprint
from distilnas.networks.parent import Border, Parent
from distilnas.recipes.retrain.network import NetworkSettings, read_network

PREPROCESSING = {"resolution": 64, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.2, 0.3], "crop_pct": 1.0}
CLASSES = ("a", "b", "c")


def saved(folder: Path, chain: ChainNet, **kwargs: Any) -> Path:
    save_student(folder, chain, classes=CLASSES, preprocessing=PREPROCESSING, **kwargs)
    return folder


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    return saved(tmp_path / "s", small.cut_resnet())


@pytest.mark.parametrize("make", [small.cut_resnet, lambda: small.chain_of(small.VIT)], ids=["cut", "vit"])
@torch.no_grad()
def test_round_trip_is_bit_equal(tmp_path: Path, make: Any) -> None:
    chain = make()
    again = load_student(saved(tmp_path, chain))
    assert not again.training
    assert again.student_config["classes"] == list(CLASSES)
    assert list(again.state_dict()) == list(chain.state_dict())
    assert all(p.requires_grad for p in again.parameters())
    for batch in (1, 2):
        assert torch.equal(again(small.images(batch)), chain(small.images(batch)))
    assert fingerprint(again.describe()) == fingerprint(chain.describe())


def test_another_classifier_than_the_parents(tmp_path: Path) -> None:
    chain = small.cut_resnet()
    chain.reset_classifier(9)
    again = load_student(saved(tmp_path, chain))
    assert again.num_classes == 9
    assert torch.equal(again(small.images()), chain(small.images()))


def test_a_fresh_process_loads_without_training_code_and_torch_pruning(cut: Path) -> None:
    program = (
        "import sys, torch\n"
        "from distilnas.networks import load_student\n"
        "model = load_student(sys.argv[1])\n"
        "print(model(torch.ones(1, 3, 64, 64)).tolist())\n"
        "print([m for m in sys.modules if m.startswith(('distilnas.', 'torch_pruning'))])\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(cut)], capture_output=True, text=True, check=True)
    logits, modules = done.stdout.splitlines()
    torch.testing.assert_close(torch.tensor(json.loads(logits)), small.cut_resnet()(torch.ones(1, 3, 64, 64)).detach())
    assert "torch_pruning" not in modules
    layers = {name.split(".")[1].strip("'") for name in modules.strip("[]").split(", ")}
    of_package = {"api", "result", "version", "errors"}
    assert layers <= of_package | {"networks", "space", "files", "checksums", "yaml_text", "blocks", "runtime"}


def test_a_parent_of_ones_own_is_saved_and_said_to_be_not_rebuildable(tmp_path: Path) -> None:
    own = Parent(model=None, num_classes=3, image_shape=(3, 64, 64), borders=small.RESNET.borders)
    model = small.model_of(small.RESNET)
    folder = saved(tmp_path, ChainNet.kept(own, model), parent=model)
    with pytest.raises(UsageError, match=r"a network of your own: give it \(load_student"):
        load_student(folder)


def changed(folder: Path, change: Any, *, hash_too: bool = True) -> None:
    path = folder / "student.json"
    config = json.loads(path.read_text())
    change(config)
    if hash_too:
        from safetensors.torch import load_file, save_file

        config.pop("weights_sha256")
        config["architecture_hash"] = fingerprint(config)
        state = load_file(folder / "model.safetensors")
        save_file(state, folder / "model.safetensors", metadata={"architecture_hash": config["architecture_hash"]})
    path.write_text(json.dumps(config))


def test_a_parent_that_timm_lacks_is_told_in_one_line(cut: Path) -> None:
    changed(cut, lambda config: config["parent"].update(model="resnet1000"))
    with pytest.raises(
        UsageError, match=r"timm [\d.]+ has no model 'resnet1000': install the timm that .* with"
    ) as told:
        load_student(cut)
    assert "\n" not in str(told.value)


DAMAGE = {
    "fetched": (lambda c: c["parent"]["model_kwargs"].update(pretrained=True), "pretrained may not be among"),
    "file": (lambda c: c["parent"]["model_kwargs"].update(checkpoint_path="x"), "checkpoint_path may not be among"),
    "hub": (lambda c: c["parent"].update(model="hf-hub:some/model"), "of the installed timm by name"),
    "number": (lambda c: c["parent"].update(model=3), "of the installed timm by name"),
    "kwargs": (lambda c: c["parent"].update(model_kwargs=[1]), "arguments by name"),
    "argument": (lambda c: c["parent"]["model_kwargs"].update(no_such=1), "cannot be with"),
    "classes": (lambda c: c["parent"].update(num_classes="x"), "num_classes of a parent"),
    "shape": (lambda c: c["parent"].update(image_shape=[3, 64]), "image_shape of a parent"),
    "no shape": (lambda c: c["parent"].pop("image_shape"), "not described as it should be"),
    "more": (lambda c: c["parent"].update(more=1), "not described as it should be"),
    "borders": (lambda c: c["parent"].update(borders=3), "not described as it should be"),
    "no borders": (lambda c: c["parent"].update(borders=[]), "at one module at least"),
    "border": (lambda c: c["parent"]["borders"][0].update(path="nowhere"), "calls exactly once, 'nowhere'"),
    "size": (lambda c: c["parent"]["borders"][0].update(height=0), "positive whole sizes"),
    "layout": (lambda c: c["parent"]["borders"][0].update(layout={"kind": "x"}), "layout 'x'"),
    "blocks": (lambda c: c["blocks"].pop(), "has 5 blocks"),
    "block": (lambda c: c["blocks"].__setitem__(0, 3), "known kind, got None"),
    "part": (lambda c: c["blocks"][2]["sizes"]["layer2.0.bn1"].update(eps="x"), "no size of the parent's"),
    "weights": (lambda c: c["blocks"][2]["tensors"].update({"layer2.0.bn1.weight": [3]}), "does not fit"),
    "head": (lambda c: c.update(head={"kind": "skip"}), "does not fit"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_tampered_description_is_refused(cut: Path, name: str) -> None:
    change, message = DAMAGE[name]
    changed(cut, change)
    with pytest.raises(UsageError, match=message):
        load_student(cut)


def test_a_hand_that_changed_it_is_seen(cut: Path) -> None:
    changed(cut, lambda config: config["blocks"][3].update(stride=1), hash_too=False)
    with pytest.raises(UsageError, match="changed by hand"):
        load_student(cut)


@pytest.mark.parametrize("name", ["student.json", "model.safetensors"])
@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(cut: Path, name: str, share: float) -> None:
    path = cut / name
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UsageError, match=f"cannot read .*{name}|{name} changed since it was saved"):
        load_student(cut)


def test_as_timm_would_make_it(cut: Path) -> None:
    x = small.images()
    assert load_student(cut, num_classes=5)(x).shape == (2, 5)
    gray = load_student(cut, in_chans=1)
    torch.testing.assert_close(gray(x[:, :1]), load_student(cut)(x[:, :1].expand(-1, 3, -1, -1)), atol=1e-4, rtol=1e-4)
    maps = load_student(cut, features_only=True, out_indices=(1, 2))(x)
    assert [tuple(m.shape) for m in maps] == [(2, 128, 8, 8), (2, 256, 4, 4)]
    told = timm.data.resolve_model_data_config(load_student(cut))
    assert (told["input_size"], told["mean"], told["crop_pct"]) == ((3, 64, 64), (0.4, 0.5, 0.6), 1.0)


def test_dropout_and_drop_path_for_fine_tuning(tmp_path: Path) -> None:
    parent = Parent(
        model="mobilenetv3_small_050",
        num_classes=3,
        image_shape=(3, 64, 64),
        borders=(Border(path="blocks.1", channels=24, height=8, width=8),),
    )
    folder = saved(tmp_path / "plain", small.chain_of(parent))
    model = load_student(folder, drop_rate=0.5, drop_path_rate=0.2)
    x = small.images()
    assert torch.equal(model(x), load_student(folder)(x))
    features = model.forward_features(x)
    model.train()
    assert not torch.equal(model.forward_head(features), model.forward_head(features))
    again = load_student(saved(tmp_path / "tuned", model.eval()))
    assert torch.equal(again(x), model(x))


def test_it_can_teach_but_is_no_architecture_to_train_anew(cut: Path) -> None:
    with pytest.raises(UsageError, match="it can teach"):
        read_network(NetworkSettings(student=str(cut)), None)


def test_onnx(cut: Path, tmp_path: Path) -> None:
    report = export_onnx(load_student(cut), tmp_path / "cut.onnx", small.images(4))
    assert report.relative_difference < 1e-4


@pytest.mark.slow
def test_onnx_of_tokens(tmp_path: Path) -> None:
    report = export_onnx(small.chain_of(small.VIT), tmp_path / "vit.onnx", small.images(4))
    assert report.relative_difference < 1e-4
