"""Training a classifier: exact resume with every source of randomness, mixing, averages, settings."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from killing import Killed, KillingProgress
from torch import nn

from distilnas.data import Augmentation, ImageSet, Preprocessing, eval_transform, make_loader
from distilnas.errors import UsageError
from distilnas.runtime.device import Device
from distilnas.runtime.progress import SilentProgress
from distilnas.training import ClassifierSettings, OptimSettings, Trained, accuracy, train_classifier

PREPROCESSING = Preprocessing(resolution=16)
DEVICE = Device("cpu")
EVERYTHING = ClassifierSettings(
    epochs=2,
    batch_size=4,
    optim=OptimSettings(lr=0.01, warmup=0.2),
    augment=Augmentation(crop="padded", padding=2, hflip=0.5),
    label_smoothing=0.1,
    mixup=0.2,
    cutmix=1.0,
    ema=0.9,
    clip_grad=1.0,
)


def _images(number: int = 12, seed: int = 0) -> ImageSet:
    """Class 1 is brighter than class 0."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(number) % 2).astype(np.int64)
    pixels = (rng.integers(0, 128, (number, 16, 16, 3)) + 127 * labels[:, None, None, None]).astype(np.uint8)
    return ImageSet(name="bright", classes=("dark", "bright"), labels=labels, images=pixels)


def _model(width: int = 8) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, 4),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Dropout2d(0.3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, 2),
    )


def _train(
    checkpoint: Path, settings: ClassifierSettings = EVERYTHING, model: nn.Module | None = None, **changes: Any
) -> Trained:
    fixed: dict[str, Any] = {"name": "fit", "device": DEVICE, "seed": 3, "checkpoint": checkpoint}
    fixed |= {"progress": SilentProgress(), "checkpoint_seconds": 0.0, "images": _images(), "validation": _images(6, 1)}
    return train_classifier(model or _model(), preprocessing=PREPROCESSING, settings=settings, **(fixed | changes))


def _assert_same(one: nn.Module, other: nn.Module) -> None:
    for (key, value), again in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(value, again), key


@pytest.mark.parametrize("killed_after", range(6))
def test_killed_and_resumed_is_uninterrupted(tmp_path: Path, killed_after: int) -> None:
    """Dropout, mixup, cutmix, augmentation, warm-up, clipping and the moving average, bit for bit."""
    whole = _train(tmp_path / "none", checkpoint_seconds=None)
    with pytest.raises(Killed):
        _train(tmp_path / "c", progress=KillingProgress(killed_after))
    torch.rand(3)
    np.random.rand(3)  # noqa: NPY002 - another process has other global states
    resumed = _train(tmp_path / "c", progress=KillingProgress(6 - max(killed_after, 0)))
    _assert_same(resumed.model, whole.model)
    assert resumed.log.epochs == whole.log.epochs


def test_result_is_the_average_measured_on_validation(tmp_path: Path) -> None:
    trained = _train(tmp_path / "c")
    assert not any(module.training for module in trained.model.modules())
    transform = eval_transform(PREPROCESSING)
    batches = make_loader(_images(6, 1), transform, batch_size=6, seed=0, epoch=0, shuffle=False, drop_last=False)
    assert [record["epoch"] for record in trained.log.epochs] == [0, 1]
    assert trained.log.epochs[-1]["val_top1"] == accuracy(trained.model, batches, DEVICE)
    raw = _train(tmp_path / "d", replace(EVERYTHING, ema=None))
    assert not torch.equal(raw.model.state_dict()["6.weight"], trained.model.state_dict()["6.weight"])


def test_learns_what_is_easy(tmp_path: Path) -> None:
    """Brightness alone decides: a working training gets all right."""
    settings = ClassifierSettings(
        epochs=25, batch_size=6, optim=OptimSettings(lr=0.05), augment=Augmentation(crop="none"), label_smoothing=0.0
    )
    trained = _train(tmp_path / "c", settings, checkpoint_seconds=None)
    assert trained.log.epochs[-1]["val_top1"] == 100
    assert trained.log.epochs[-1]["loss"] < trained.log.epochs[0]["loss"]


def test_seed_decides(tmp_path: Path) -> None:
    models = [_train(tmp_path / f"c{n}", seed=seed).model for n, seed in enumerate((3, 3, 4))]
    _assert_same(models[0], models[1])
    assert not torch.equal(models[0].state_dict()["6.weight"], models[2].state_dict()["6.weight"])


def test_caller_randomness_is_left_alone(tmp_path: Path) -> None:
    model = _model()
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[union-attr,index] # noqa: NPY002
    _train(tmp_path / "c", model=model)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # type: ignore[arg-type,index] # noqa: NPY002


def test_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        _train(tmp_path / "c", progress=KillingProgress(2))
    with pytest.raises(UsageError, match="does not fit"):
        _train(tmp_path / "c", model=_model(width=9))


def test_mixing_few_images_takes_an_even_number(tmp_path: Path) -> None:
    trained = _train(tmp_path / "c", replace(EVERYTHING, batch_size=64), images=_images(11))
    assert np.isfinite(trained.log.epochs[-1]["loss"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"batch_size": 1}, "batch_size at least 2"),
        ({"ema": 1.0}, "ema must be between 0 and 1"),
        ({"label_smoothing": 1.0}, "label_smoothing must be from 0 up to 1"),
        ({"drop_rate": -0.1}, "drop_rate must be from 0"),
        ({"drop_path_rate": 1.5}, "drop_path_rate must be from 0"),
        ({"mixup": -1.0}, "mixup and cutmix must not be negative"),
        ({"cutmix": 1.0, "batch_size": 63}, "batch_size must be even, got 63"),
        ({"cutmix": 1.0, "batch_size": 6, "micro_batch": 3}, "micro_batch must be even, got 3"),
        ({"batch_size": 64, "micro_batch": 24}, "multiple of micro_batch"),
        ({"batch_size": 64, "micro_batch": 1}, "multiple of micro_batch"),
    ],
)
def test_settings_are_checked(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        ClassifierSettings(**changes)


def _without_batch_norm() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))


def test_accumulated_gradients_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    """Without batch norm, dropout and mixing the mean over equal pieces is the mean over the batch."""
    plain = ClassifierSettings(epochs=2, batch_size=6, optim=OptimSettings(optimizer="sgd", lr=0.1), ema=0.9)
    whole = _train(tmp_path / "a", plain, _without_batch_norm())
    pieces = _train(tmp_path / "b", replace(plain, micro_batch=2), _without_batch_norm())
    for a, b in zip(whole.model.parameters(), pieces.model.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    assert [e["loss"] for e in pieces.log.epochs] == pytest.approx([e["loss"] for e in whole.log.epochs])


def test_accumulation_resumes_exactly(tmp_path: Path) -> None:
    settings = replace(EVERYTHING, micro_batch=2)
    expected = _train(tmp_path / "a", settings).model.state_dict()
    with pytest.raises(Killed):
        _train(tmp_path / "b", settings, progress=KillingProgress(4))
    for key, value in _train(tmp_path / "b", settings).model.state_dict().items():
        assert torch.equal(value, expected[key]), key


def test_rate_follows_the_batch_that_is_really_used(tmp_path: Path) -> None:
    """12 images cannot fill a batch of 48: a quarter of the batch, a quarter of the rate."""
    settings = ClassifierSettings(
        epochs=1, batch_size=48, optim=OptimSettings(optimizer="sgd", lr=0.4, lr_base_size=48)
    )
    by_hand = ClassifierSettings(epochs=1, batch_size=12, optim=OptimSettings(optimizer="sgd", lr=0.1))
    scaled, expected = (_train(tmp_path / str(i), s).model for i, s in enumerate((settings, by_hand)))
    for a, b in zip(scaled.parameters(), expected.parameters(), strict=True):
        assert torch.equal(a, b)
