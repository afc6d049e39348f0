"""Students on disk: the same bits come back, without training code; damage and mix-ups are refused."""

import json
import subprocess
import sys

import pytest
import timm
import torch

from distilnas.errors import UsageError
from distilnas.networks import StudentNet, load_student, save_student
from distilnas.space import Architecture

TEXT = "stem 8/2 relu | 8/2 mb_k3_e3_se0.25_relu id | 16/2 mb_k5_e3_relu | head 32 relu"
PREPROCESSING = {"resolution": 32, "mean": [0.5], "std": [0.5]}


@pytest.fixture
def student(tmp_path):
    torch.manual_seed(0)
    model = StudentNet(Architecture.parse(TEXT), num_classes=3, in_chans=1).to(memory_format=torch.channels_last)
    model(torch.rand(4, 1, 32, 32))  # moves the running statistics
    save_student(tmp_path / "s", model, classes=("a", "b", "c"), preprocessing=PREPROCESSING)
    return tmp_path / "s", model.eval()


def change(folder, **values):
    path = folder / "student.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_round_trip_is_bit_equal(student):
    folder, model = student
    again = load_student(folder)
    assert not again.training
    assert again.architecture == model.architecture
    assert again.student_config["classes"] == ["a", "b", "c"]
    assert again.student_config["preprocessing"] == PREPROCESSING
    assert list(again.state_dict()) == list(model.state_dict())
    for key, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key
    images = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(again(images), model(images))


def test_a_fresh_process_loads_without_training_code(student):
    folder, model = student
    program = (
        "import sys, torch\n"
        "from distilnas.networks import load_student\n"
        "model = load_student(sys.argv[1])\n"
        "print(model(torch.ones(1, 1, 32, 32)).tolist())\n"
        "print([m for m in sys.modules if m.startswith('distilnas.')])\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=True)
    logits, modules = done.stdout.splitlines()
    torch.testing.assert_close(torch.tensor(json.loads(logits)), model(torch.ones(1, 1, 32, 32)).detach())
    layers = {name.split(".")[1].strip("'") for name in modules.strip("[]").split(", ")}
    assert "networks" in layers
    of_package = {"api", "result", "version", "errors"}
    assert layers <= of_package | {"networks", "space", "files", "checksums", "yaml_text", "blocks", "runtime"}


def test_features_are_those_of_the_loaded_weights(student):
    folder, model = student
    images = torch.rand(2, 1, 32, 32)
    extractor = load_student(folder, features_only=True)
    maps = extractor(images)
    assert [m.shape[-1] for m in maps] == [16, 8, 4]
    x = model.bn1(model.conv_stem(images))
    torch.testing.assert_close(maps[0], x)
    torch.testing.assert_close(maps[-1], model.blocks(x))


def test_keywords_reach_the_network(student):
    assert load_student(student[0], drop_rate=0.25).drop_rate == 0.25
    assert load_student(student[0], features_only=True, drop_rate=0.25).model.drop_rate == 0.25


def test_chosen_features(student):
    images = torch.rand(2, 1, 32, 32)
    every = load_student(student[0], features_only=True)(images)
    for indices, places in (((1, 2), [1, 2]), ([-1], [2]), (2, [1, 2])):
        extractor = load_student(student[0], features_only=True, out_indices=indices)
        assert extractor.feature_info.channels() == [every[i].shape[1] for i in places]
        for own, place in zip(extractor(images), places, strict=True):
            assert torch.equal(own, every[place])
    for indices in ((3,), (-4,), 0, 4, ("x",)):
        with pytest.raises(UsageError, match="places among the 3 maps"):
            load_student(student[0], features_only=True, out_indices=indices)


def test_other_classes_as_in_timm(student):
    folder, model = student
    images = torch.rand(2, 1, 32, 32)
    assert load_student(folder, num_classes=7)(images).shape == (2, 7)
    bare = load_student(folder, num_classes=0)
    torch.testing.assert_close(bare(images), model.forward_head(model.forward_features(images), pre_logits=True))
    assert torch.equal(load_student(folder, num_classes=3)(images), load_student(folder)(images))
    with pytest.raises(UsageError, match="whole number from 0"):
        load_student(folder, num_classes=-1)


def test_other_input_channels_as_in_timm(student):
    """A colour image of three equal channels gives what the gray one gives."""
    folder, model = student
    gray = torch.rand(2, 1, 32, 32)
    wide = load_student(folder, in_chans=3)
    assert wide.pretrained_cfg["input_size"] == (3, 32, 32)
    torch.testing.assert_close(wide(gray.expand(-1, 3, -1, -1)), model(gray), atol=1e-5, rtol=1e-4)
    assert load_student(folder, in_chans=5)(torch.rand(2, 5, 32, 32)).shape == (2, 3)
    with pytest.raises(UsageError, match="whole number from 1"):
        load_student(folder, in_chans=0)


def test_timm_is_told_what_its_images_need(student):
    model = load_student(student[0], num_classes=4)
    told = timm.data.resolve_model_data_config(model)
    assert told["input_size"] == (1, 32, 32)
    assert (told["mean"], told["std"]) == ((0.5,), (0.5,))
    assert model.pretrained_cfg["num_classes"] == 4


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"schema": 3}, "not a student of schema 1 or 2"),
        ({"schema": 2}, "parent must be a dict"),
        ({"preprocessing": 3}, "preprocessing must be a dict"),
        ({"architecture": Architecture.parse(TEXT.replace("k5", "k3")).to_dict()}, "changed by hand"),
        ({"architecture": "x"}, "architecture must be a dict"),
        ({"architecture_hash": None}, "architecture_hash must be a str"),
        ({"num_classes": 4}, "does not fit .*: size mismatch for classifier"),
        ({"num_classes": "3"}, "num_classes must be a int"),
        ({"in_chans": 3}, "does not fit .*: size mismatch for conv_stem"),
    ],
)
def test_a_tampered_description_is_refused(student, values, message):
    change(student[0], **values)
    with pytest.raises(UsageError, match=message):
        load_student(student[0])


def test_weights_of_another_architecture_are_refused_even_when_all_shapes_agree(student):
    other = Architecture.parse(TEXT.replace("relu", "silu"))
    change(student[0], architecture=other.to_dict(), architecture_hash=other.fingerprint)
    with pytest.raises(UsageError, match=f"belongs to architecture .*{other.fingerprint}"):
        load_student(student[0])


@pytest.mark.parametrize("name", ["student.json", "model.safetensors"])
@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(student, name, share):
    path = student[0] / name
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UsageError, match=f"cannot read .*{name}|{name} changed since it was saved"):
        load_student(student[0])
    path.unlink()
    with pytest.raises(UsageError, match=f"cannot read .*{name}"):
        load_student(student[0])
