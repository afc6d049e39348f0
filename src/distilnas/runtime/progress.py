"""Progress as an interface with a silent form; the command line draws it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class Task(Protocol):
    """One piece of work of known length."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """``steps`` more are done; ``note`` is a few words on how it goes."""


class Progress(Protocol):
    """Shows tasks."""

    def task(self, name: str, total: int, done: int = 0) -> AbstractContextManager[Task]:
        """A task of ``total`` steps, ``done`` of which were finished before."""
        ...

    def message(self, text: str) -> None:
        """One line that stays."""

    def epoch(self, epoch: "Epoch") -> None:
        """An epoch of a training ended."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """An epoch that ended.

    ``folder``: of the step that trains; ``name``: what its training is called. ``number`` counts from 0. ``values`` by
    name: mean losses, held-out measures (top-1 in percent) and ``lr``, the learning rate of its last update.
    """

    folder: Path
    name: str
    number: int
    values: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Event:
    """A line that stays (``total`` is None), how far a piece of work is, or an epoch that ended (with ``values``).

    ``text``: the line, or what the work is called. ``note``: a few words on how it goes. ``values``: of the epoch, see
    ``Epoch``; ``done`` is its number then, from 1.
    """

    text: str
    done: int = 0
    total: int | None = None
    note: str = ""
    values: Mapping[str, float] = field(default_factory=dict)


class CallbackProgress:
    """Hands every event to a function."""

    def __init__(self, callback: Callable[[Event], None]) -> None:
        self._callback = callback

    @contextmanager
    def task(self, name: str, total: int, done: int = 0) -> Iterator[Task]:
        """See ``Progress.task``."""
        self._callback(Event(text=name, done=done, total=total))
        yield _CallbackTask(self._callback, name, total, done)

    def message(self, text: str) -> None:
        """See ``Progress.message``."""
        self._callback(Event(text=text))

    def epoch(self, epoch: Epoch) -> None:
        """See ``Progress.epoch``."""
        self._callback(
            Event(text=f"{epoch.name}, epoch {epoch.number + 1}", done=epoch.number + 1, values=epoch.values)
        )


class _CallbackTask:
    def __init__(self, callback: Callable[[Event], None], name: str, total: int, done: int) -> None:
        self._callback, self._name, self._total, self._done = callback, name, total, done

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._done += steps
        self._callback(Event(text=self._name, done=self._done, total=self._total, note=note))


class _SilentTask:
    def advance(self, steps: int = 1, note: str = "") -> None:
        pass


class SilentProgress:
    """Shows nothing."""

    def task(self, name: str, total: int, done: int = 0) -> AbstractContextManager[Task]:
        """See ``Progress.task``."""
        return nullcontext(_SilentTask())

    def message(self, text: str) -> None:
        """See ``Progress.message``."""

    def epoch(self, epoch: Epoch) -> None:
        """See ``Progress.epoch``."""
