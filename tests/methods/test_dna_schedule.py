"""Blocks one after the other: same weights and log as together, one checkpoint, resume anywhere."""

from pathlib import Path
from typing import Any

import pytest
from killing import Killed, assert_same, states
from tiny_distill import NO_CHECKPOINT, distilled, training_of
from tiny_dna import tiny_loop, tiny_supernet

from distilnas.methods.dna.schedule import side_by_side, staged, stages


def test_stages() -> None:
    assert stages("together", (0, 1, 3)) == ((0, 1, 3),)
    assert stages("forward", (0, 1, 3)) == ((0,), (1,), (3,))
    assert stages("reverse", (0, 1, 3)) == ((3,), (1,), (0,))


def test_every_stage_has_the_epochs_and_batches_of_the_loop() -> None:
    loop = tiny_loop(NO_CHECKPOINT, epochs=2)
    longer = staged(loop, 3)
    assert longer.epochs == 6
    for epoch in range(6):
        for (images, _), (expected, _) in zip(longer.batches(epoch, 1), loop.batches(epoch % 2, 1), strict=True):
            assert images.equal(expected)


def test_the_log_of_stages_side_by_side() -> None:
    records = [{"epoch": e, f"block {b}": 10.0 * b + e % 2} for e, b in enumerate((2, 2, 1, 1))]
    assert side_by_side(records, 2) == [
        {"epoch": 0, "block 1": 10.0, "block 2": 20.0},
        {"epoch": 1, "block 1": 11.0, "block 2": 21.0},
    ]
    assert side_by_side([], 0) == []


@pytest.mark.parametrize("changes", [{}, {"sampling": "fair", "micro_batch": 2, "batch_size": 4}])
@pytest.mark.parametrize("order", ["forward", "reverse"])
def test_in_any_order_as_together(order: str, changes: dict[str, Any]) -> None:
    """Blocks that the teacher feeds are independent, so their order cannot matter: bit-equal weights, equal log."""
    together, log = distilled(**changes)
    one_by_one, staged_log = distilled(order=order, **changes)
    assert_same(states(one_by_one), states(together))
    assert staged_log.epochs == log.epochs


def test_only_the_stage_s_blocks_change() -> None:
    supernet = tiny_supernet(trained=True)
    training = training_of(supernet, order="reverse", epochs=1)
    run = staged(tiny_loop(NO_CHECKPOINT, epochs=1), 2)
    for epoch, trained in ((0, 1), (1, 0)):
        before = [states(block) for block in supernet.blocks]
        assert training.loss_names == (f"block {trained + 1}",)
        for step, batch in enumerate(run.batches(epoch, 0)):
            assert training.step(batch, epoch, step).shape == (1,)
        training.end_epoch(epoch)
        changed = [
            any(not v.equal(was[k]) for k, v in states(block).items())
            for block, was in zip(supernet.blocks, before, strict=True)
        ]
        assert changed == [b == trained for b in (0, 1)]


SWITCHES: list[dict[str, Any]] = [
    {"order": "forward", "feed": "student"},
    {"order": "reverse", "sampling": "fair"},
    {"feed": "student", "label_loss": 0.5, "micro_batch": 2, "batch_size": 4},
]


@pytest.mark.parametrize("changes", SWITCHES, ids=str)
def test_killed_after_every_step_and_resumed_is_uninterrupted(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Every process does one step and dies when it asks for the next batch; with stages, the second begins midway."""
    supernet, log = distilled(**changes)
    for _ in range(len(log.epochs) * 3 * (2 if "order" in changes else 1) - 1):
        with pytest.raises(Killed):
            distilled(tmp_path / "checkpoint", killed_after=1, **changes)
    resumed, resumed_log = distilled(tmp_path / "checkpoint", killed_after=1, **changes)
    assert_same(states(resumed), states(supernet))
    assert resumed_log.epochs == log.epochs


@pytest.mark.parametrize("order", ["forward", "reverse"])
def test_a_finished_stage_is_not_trained_again(tmp_path: Path, order: str) -> None:
    """Killed between the last step of the first stage and the first of the second: 6 of 12 batches are left."""
    with pytest.raises(Killed):
        distilled(tmp_path / "checkpoint", killed_after=6, order=order)
    with pytest.raises(Killed):
        distilled(tmp_path / "checkpoint", killed_after=5, order=order)
    distilled(tmp_path / "checkpoint", killed_after=1, order=order)
