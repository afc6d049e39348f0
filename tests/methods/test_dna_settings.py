"""Distillation settings refuse what cannot be done, and name the way out."""

from typing import Any

import pytest

from distilnas.errors import UsageError
from distilnas.methods.dna import DistillSettings


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss": "relativ_mse"}, "did you mean 'relative_mse'"),
        ({"sampling": "fare"}, "did you mean 'fair'"),
        ({"feed": "studnt"}, "did you mean 'student'"),
        ({"order": "sequential"}, "unknown distillation order 'sequential'; valid: forward, reverse, together"),
        ({"epochs": -1}, "epochs must not be negative"),
        ({"batch_size": 1}, "batch_size at least 2"),
        ({"batch_size": 64, "micro_batch": 24}, "divide distill.batch_size=64, got 24"),
        ({"micro_batch": 1}, "at least 2"),
        ({"micro_batch": 0}, "at least 2"),
        ({"label_loss": -0.1}, "must not be negative, got -0.1"),
        ({"label_loss": float("nan")}, "must not be negative, got nan"),
        ({"feed": "student", "order": "reverse"}, "use order=forward or together"),
    ],
)
def test_settings_are_checked(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        DistillSettings(**changes)


def test_settings_are_checked_against_the_number_of_blocks() -> None:
    with pytest.raises(UsageError, match="block 3; there are blocks 1 to 2"):
        DistillSettings(blocks=(1, 3)).block_indices(2)
    with pytest.raises(UsageError, match="one value for each of 2 blocks, got 1"):
        DistillSettings(lr_per_block=(0.1,)).block_optim(0, 2)
    assert DistillSettings(blocks=(2, 1, 2)).block_indices(2) == (0, 1)


def test_student_features_come_from_the_first_block_on() -> None:
    with pytest.raises(UsageError, match="name blocks 1 to 3, or use feed=teacher"):
        DistillSettings(feed="student", blocks=(1, 3)).block_indices(3)
    assert DistillSettings(feed="student", blocks=(2, 1)).block_indices(3) == (0, 1)
    assert DistillSettings(blocks=(3,)).block_indices(3) == (2,)
