"""Progress as an interface with a silent form; the command line draws it."""

from contextlib import AbstractContextManager, nullcontext
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
