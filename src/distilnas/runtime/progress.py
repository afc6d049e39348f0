"""Progress as an interface with a silent form; the command line draws it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True)
class Event:
    """A line that stays (``total`` is None), or how far a piece of work is.

    ``text``: the line, or what the work is called. ``note``: a few words on how it goes.
    """

    text: str
    done: int = 0
    total: int | None = None
    note: str = ""


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
