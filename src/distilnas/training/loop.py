"""The training loop: epochs and steps, finite losses, checkpoints by the clock, exact resume.

All randomness of a step is a function of (seed, epoch, step, rank), and the loop's whole state is in the checkpoint; so
a process killed at any time and started again ends with the same weights, bit for bit on a CPU. Where several ranks
train together, the first writes the checkpoints and all continue from its last.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from distilnas.errors import UsageError
from distilnas.runtime import ranks
from distilnas.runtime.checkpoints import load_tree, save_tree
from distilnas.runtime.progress import Epoch, Progress


class Diverged(UsageError):
    """A loss or a weight is not finite."""


class Trainable(Protocol):
    """What the loop drives; of its ``optimizer``, or ``optimizers`` by name, the learning rate is told after each
    epoch."""

    loss_names: tuple[str, ...]

    def step(self, batch: Any, epoch: int, step: int) -> Tensor:
        """One update; returns the detached losses, (len(loss_names),), the same on all ranks."""
        ...

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """Called after each epoch; what it returns is added to the epoch's log."""
        ...

    def state_dict(self) -> dict[Any, Any]:
        """All that the next step depends on."""
        ...

    def load_state_dict(self, state: dict[Any, Any]) -> None:
        """Restore ``state_dict``."""
        ...


@dataclass(kw_only=True)
class TrainingLog:
    """One record per epoch: mean losses by name, whatever ``end_epoch`` adds.

    ``seconds`` of training in all, of which ``seconds_before`` were spent by earlier, interrupted processes.
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    seconds_before: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Loop:
    """How long, and where the checkpoint lies.

    ``batches(epoch, start)`` gives the batches of an epoch from batch ``start`` on. ``check_every``: losses are looked
    at every so many steps (a look waits for the device). ``checkpoint_seconds``: a checkpoint is written at most this
    often; None writes none.
    """

    name: str
    epochs: int
    steps_per_epoch: int
    batches: Callable[[int, int], Iterable[Any]]
    checkpoint: Path
    progress: Progress
    checkpoint_seconds: float | None = 30.0
    check_every: int = 10

    def run(self, trainable: Trainable) -> TrainingLog:
        """Train to the end, from the checkpoint where there is one; the checkpoint is left for the caller to remove."""
        return _Running(self, trainable).run()


class _Running:
    """The state of a loop under way."""

    def __init__(self, loop: Loop, trainable: Trainable) -> None:
        self.loop, self.trainable = loop, trainable
        self.log = TrainingLog()
        self.epoch, self.step = 0, 0
        self.sums = torch.zeros(len(trainable.loss_names), dtype=torch.float64)
        self.unchecked: list[Tensor] = []
        self.seconds_before = 0.0
        self.started = self.saved = time.monotonic()
        saved = ranks.from_first(lambda: load_tree(loop.checkpoint) if loop.checkpoint.exists() else None)
        if saved is not None:
            self._restore(saved)

    def run(self) -> TrainingLog:
        loop = self.loop
        done = self.epoch * loop.steps_per_epoch + self.step
        with loop.progress.task(loop.name, loop.epochs * loop.steps_per_epoch, done) as task:
            while self.epoch < loop.epochs:
                for batch in loop.batches(self.epoch, self.step):
                    self.unchecked.append(self.trainable.step(batch, self.epoch, self.step))
                    self.step += 1
                    if len(self.unchecked) >= loop.check_every:
                        self._check()
                    task.advance(note=self._note())
                    self._save_when_due()
                self._check()
                self._finish_epoch()
        self.log.seconds, self.log.seconds_before = self._seconds(), self.seconds_before
        return self.log

    def _finish_epoch(self) -> None:
        means = self.sums / max(self.step, 1)
        record = {name: float(mean) for name, mean in zip(self.trainable.loss_names, means, strict=True)}
        record |= self.trainable.end_epoch(self.epoch)
        self.log.epochs.append({"epoch": self.epoch, **record})
        told = Epoch(
            folder=self.loop.checkpoint.parent,
            name=self.loop.name,
            number=self.epoch,
            values=record | _learning_rate(self.trainable),
        )
        self.loop.progress.epoch(told)
        self.sums.zero_()
        self.epoch, self.step = self.epoch + 1, 0

    def _check(self) -> None:
        """Add the losses since the last look to the sums; stop at the first that is not finite."""
        if not self.unchecked:
            return
        losses = torch.stack(self.unchecked).double().cpu()
        bad = (~torch.isfinite(losses)).nonzero()
        if len(bad):
            row, column = bad[0].tolist()
            name = self.trainable.loss_names[column]
            what = f"the {name.replace('_', ' ')} is" if name.endswith("loss") else f"the loss of {name} is"
            raise Diverged(self._diverged(what, self.step - len(self.unchecked) + row))
        self.sums += losses.sum(0)
        self.unchecked.clear()

    def _diverged(self, what: str, step: int) -> str:
        kept = self.loop.checkpoint
        last = f"the last good checkpoint is {kept}" if kept.exists() else "no checkpoint was written before"
        return (
            f"{self.loop.name}: {what} not finite at epoch {self.epoch}, step {step}; {last}. "
            "Lower the learning rate of this step (or check the images and the teacher) and run again."
        )

    def _note(self) -> str:
        seen = self.step - len(self.unchecked)
        return (
            f"epoch {self.epoch + 1}/{self.loop.epochs} loss {float(self.sums.mean()) / seen:.3f}" if seen > 0 else ""
        )

    def _save_when_due(self) -> None:
        due = self.loop.checkpoint_seconds
        if due is None or ranks.rank() > 0 or time.monotonic() - self.saved < due:
            return
        self._check()
        state = self.trainable.state_dict()
        if not _finite(state):  # a finite loss may still have a gradient that is not
            raise Diverged(self._diverged("the weights are", self.step - 1))
        save_tree(
            self.loop.checkpoint,
            {
                "epoch": self.epoch,
                "step": self.step,
                "sums": self.sums,
                "log": self.log.epochs,
                "seconds": self._seconds(),
                "state": state,
            },
        )
        self.saved = time.monotonic()

    def _restore(self, saved: dict[str, Any]) -> None:
        try:
            self.epoch, self.step = saved["epoch"], saved["step"]
            self.sums, self.log.epochs = self.sums + saved["sums"], saved["log"]
            self.seconds_before = saved["seconds"]
            self.trainable.load_state_dict(saved["state"])
        except (RuntimeError, KeyError, ValueError) as error:
            raise UsageError(
                f"the checkpoint {self.loop.checkpoint} does not fit: {error}. Delete it to start this step anew."
            ) from error

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started


def _learning_rate(trainable: Trainable) -> dict[str, float]:
    """The highest of its optimisers', where it has some."""
    optimizers = {"": getattr(trainable, "optimizer", None), **getattr(trainable, "optimizers", {})}
    rates = [float(group["lr"]) for one in optimizers.values() if one is not None for group in one.param_groups]
    return {"lr": max(rates)} if rates else {}


def _finite(tree: Any) -> bool:
    """Whether all tensors in nested dicts and lists are finite."""
    if isinstance(tree, Tensor):
        return bool(torch.isfinite(tree).all())
    if isinstance(tree, dict):
        return all(_finite(item) for item in tree.values())
    return all(_finite(item) for item in tree) if isinstance(tree, (list, tuple)) else True
