"""What stops a command besides its own errors: a signal, or memory that does not suffice; each is told in one line."""

import errno
import os
import re
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from types import FrameType
from typing import Any

from distilnas.cli import console
from distilnas.errors import UsageError

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_MEMORY = re.compile(
    r"can't allocate memory|cannot allocate memory|not enough memory|out of memory|unable to allocate|std::bad_alloc"
    r"|failed to map segment|can't start new thread|bad allocation",
    re.IGNORECASE,
)
_AMOUNT = re.compile(r"allocate ([\d.]+) ?(bytes|[KMGT]i?B)?", re.IGNORECASE)
_LATER = 0.05  # seconds
_PYTORCH = 4e9  # bytes of address space with CUDA's libraries
_LOWER = (
    "data.resolution, data.cache_mb, runtime.workers, rate.batch_size, distill.micro_batch, retrain.micro_batch or "
    "teacher.fit.micro_batch"
)


class Interrupted(BaseException):
    """A signal that ends the command; no ``KeyboardInterrupt``, which the parser of the command line would catch."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number
        self.exit_code = 128 + number


@contextmanager
def signals_caught() -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal raise ``Interrupted`` inside, in this process alone.

    What Python drops, as the error of a ``__del__``, is raised again a little later.
    """
    owner = os.getpid()

    def stop(number: int, _: FrameType | None) -> None:
        if os.getpid() == owner:
            raise Interrupted(number)
        signal.signal(number, signal.SIG_DFL)  # a loader's process, forked from this one
        os.kill(os.getpid(), number)

    def again(dropped: Any) -> None:
        if isinstance(dropped.exc_value, Interrupted):
            Timer(_LATER, os.kill, (owner, dropped.exc_value.number)).start()
        else:
            hook(dropped)

    hook = sys.unraisablehook
    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    before: dict[int, Any] = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) != signal.SIG_IGN}
    try:
        sys.unraisablehook = again
        for number in before:
            signal.signal(number, stop)
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


def interrupted_text(stopped: Interrupted) -> str:
    """Where the work was, what is kept and how it goes on."""
    place, folder = console.work.place, console.work.folder
    if folder is None:
        return f"interrupted ({stopped})."
    if place is None:
        return f"interrupted ({stopped}) before the first step; the same command begins again."
    return f"interrupted ({stopped}) at {place}: what is done is kept in {folder}; the same command continues there."


def check_address_space() -> None:
    """Raise ``UsageError`` under a limit (``ulimit -v``) in which loading PyTorch aborts."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < _PYTORCH:
        raise UsageError(
            f"out of memory: PyTorch alone takes up to {_PYTORCH / 1e9:g} GB of address space, but this process has "
            f"{limit / 1e9:.1f} GB (ulimit -v): raise the limit."
        )


def memory_text(error: BaseException) -> str | None:
    """What to say of an error that a lack of memory is behind; None for any other."""
    cause = _memory_error(error)
    if cause is None:
        return None
    amount = _AMOUNT.search(str(cause))
    needed = f"{_gigabytes(amount[1], amount[2])} more were needed" if amount else "more is needed"
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 2**-10) / 1e9
    place = f" at {console.work.place}" if console.work.place else ""
    return (
        f"out of memory{place}: {needed} than the {held:.1f} GB held at most so far. Lower {_LOWER}, or give more "
        "memory; what is done is kept, and the same command continues."
    )


def _memory_error(error: BaseException | None) -> BaseException | None:
    while error is not None:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return error
        if isinstance(error, (RuntimeError, ImportError)) and _MEMORY.search(str(error)):
            return error
        error = error.__cause__
    return None


def _gigabytes(number: str, unit: str | None) -> str:
    power = "bkmgt".index((unit or "b")[0].lower())
    base = 1024 if "i" in (unit or "").lower() else 1000
    size = float(number.rstrip(".")) * base**power
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
