"""The loop with a model that fits in one line: weight += batch, loss = weight; all numbers follow by hand."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from killing import Killed
from torch import Tensor

from distilnas.errors import UsageError
from distilnas.runtime.checkpoints import load_tree
from distilnas.runtime.progress import SilentProgress
from distilnas.training import Loop


class Adder:
    """After batches b1, b2, ... the losses are ``a`` = b1 + b2 + ... and ``b`` = -a."""

    loss_names: tuple[str, ...] = ("a", "b")

    def __init__(self) -> None:
        self.weight = torch.zeros(())
        self.ends: list[int] = []

    def step(self, batch: float, epoch: int, step: int) -> Tensor:
        self.weight = self.weight + batch
        return torch.stack([self.weight, -self.weight])

    def end_epoch(self, epoch: int) -> dict[str, float]:
        self.ends.append(epoch)
        return {"end": float(self.weight)}

    def state_dict(self) -> dict[Any, Any]:
        return {"weight": self.weight}

    def load_state_dict(self, state: dict[Any, Any]) -> None:
        self.weight = state["weight"]


def _loop(checkpoint: Path, values: list[list[float]], killed_after: int | None = None, **changes: Any) -> Loop:
    asked = 0

    def batches(epoch: int, start: int) -> Iterable[float]:
        nonlocal asked
        for value in values[epoch][start:]:
            if asked == killed_after:
                raise Killed
            asked += 1
            yield value

    settings: dict[str, Any] = {"name": "adding", "checkpoint_seconds": 0.0, "progress": SilentProgress()} | changes
    return Loop(epochs=len(values), steps_per_epoch=len(values[0]), batches=batches, checkpoint=checkpoint, **settings)


VALUES = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
HISTORY = [  # running sums 1 3 6 | 10 15 21
    {"epoch": 0, "a": 10 / 3, "b": -10 / 3, "end": 6.0},
    {"epoch": 1, "a": 46 / 3, "b": -46 / 3, "end": 21.0},
]


@pytest.mark.parametrize("check_every", [1, 2, 10])
def test_history(tmp_path: Path, check_every: int) -> None:
    adder = Adder()
    log = _loop(tmp_path / "c", VALUES, check_every=check_every, checkpoint_seconds=None).run(adder)
    assert log.epochs == HISTORY
    assert adder.ends == [0, 1]
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("killed_after", range(6))
def test_resumed_history_is_the_uninterrupted_one(tmp_path: Path, killed_after: int) -> None:
    with pytest.raises(Killed):
        _loop(tmp_path / "c", VALUES, killed_after).run(Adder())
    adder = Adder()
    log = _loop(tmp_path / "c", VALUES, 6 - killed_after).run(adder)
    assert log.epochs == HISTORY
    assert float(adder.weight) == 21


def test_seconds_include_those_of_interrupted_processes(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        _loop(tmp_path / "c", VALUES, 4).run(Adder())
    before = load_tree(tmp_path / "c")["seconds"]
    assert _loop(tmp_path / "c", VALUES).run(Adder()).seconds > before > 0


def test_a_checkpoint_is_written_at_most_so_often(tmp_path: Path) -> None:
    _loop(tmp_path / "c", VALUES, checkpoint_seconds=3600.0).run(Adder())
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("bad", range(6))
@pytest.mark.parametrize("check_every", [1, 4])
def test_a_loss_that_is_not_finite_stops_at_its_step(tmp_path: Path, bad: int, check_every: int) -> None:
    values = [list(row) for row in VALUES]
    values[bad // 3][bad % 3] = float("inf")
    loop = _loop(tmp_path / "c", values, check_every=check_every)
    with pytest.raises(UsageError) as error:
        loop.run(Adder())
    kept = f"the last good checkpoint is {tmp_path / 'c'}" if bad else "no checkpoint was written before"
    assert f"loss of a is not finite at epoch {bad // 3}, step {bad % 3}; {kept}" in str(error.value)
    if bad:
        assert float(load_tree(tmp_path / "c")["state"]["weight"]) == sum([*VALUES[0], *VALUES[1]][:bad])


def test_bad_weights_are_not_saved_over_good_ones(tmp_path: Path) -> None:
    class Breaking(Adder):
        def state_dict(self) -> dict[Any, Any]:
            return {"list": [{"weight": self.weight / (self.weight < 10)}]}

    with pytest.raises(UsageError, match="weights are not finite at epoch 1, step 0; the last good checkpoint"):
        _loop(tmp_path / "c", VALUES).run(Breaking())
    assert float(load_tree(tmp_path / "c")["state"]["list"][0]["weight"]) == 6


class Renamed(Adder):
    def load_state_dict(self, state: dict[Any, Any]) -> None:
        self.weight = state["weights"]


class OneLoss(Adder):
    loss_names: tuple[str, ...] = ("a", "b", "c")


@pytest.mark.parametrize("other", [Renamed, OneLoss])
def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path, other: type[Adder]) -> None:
    with pytest.raises(Killed):
        _loop(tmp_path / "c", VALUES, 2).run(Adder())
    with pytest.raises(UsageError, match=r"c does not fit: .* Delete it"):
        _loop(tmp_path / "c", VALUES).run(other())
