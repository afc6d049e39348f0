"""What the steps of all recipes share."""

from pathlib import Path

import pytest

from distilnas.data import Preprocessing
from distilnas.errors import UsageError
from distilnas.recipes import materials
from distilnas.recipes.materials import CHECKPOINT, Materials, finish_training
from distilnas.recipes.settings import DataSettings, RuntimeSettings
from distilnas.training import TrainingLog


def test_the_checkpoint_stays_until_all_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk at the very end costs no training."""
    (tmp_path / CHECKPOINT).write_bytes(b"hours of work")

    def full(path: Path, _: object) -> None:
        raise UsageError(f"no space left to write {path}")

    with monkeypatch.context() as context:
        context.setattr(materials, "write_json", full)
        with pytest.raises(UsageError, match="no space left"):
            finish_training(tmp_path, TrainingLog())
    assert (tmp_path / CHECKPOINT).exists()
    finish_training(tmp_path, TrainingLog())
    assert not (tmp_path / CHECKPOINT).exists()


def test_a_negative_seed_is_refused() -> None:
    data = DataSettings(source="digits")
    with pytest.raises(UsageError, match=r"not negative, got \[-1\]"):
        Materials(data=data, runtime=RuntimeSettings(), seed=-1, preprocessing=Preprocessing(resolution=32))
