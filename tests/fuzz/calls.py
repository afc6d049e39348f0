"""The command line called with hostile input: one line and an exit code of errors, no traceback, no hang, no memory."""

import contextlib
import io
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from hypothesis import HealthCheck, settings

from distilnas.cli.main import main
from distilnas.errors import DistilnasError

SHORT, LONG = 8, int(os.environ.get("FUZZ", "10000"))
MOST_SECONDS, MOST_BYTES = int(os.environ.get("FUZZ_SECONDS", "120")), 2e9


def examples(number: int) -> settings:
    """So many inputs, the same every time."""
    return settings(
        max_examples=number,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )


class Hangs(BaseException):
    """What was called takes longer than any input may."""


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Ends what hangs, and fails where memory was used without bound."""

    def stop(*_: FrameType | int | None) -> None:
        raise Hangs

    held = _most_held()  # whatever this process did before
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(MOST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert _most_held() - held < MOST_BYTES


def _most_held() -> int:
    """Bytes that this process held at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def call(*arguments: object, codes: tuple[int, ...] = (0, 2, 3)) -> int:
    """The exit code of ``distilnas ARGUMENTS``; any other exception passes."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["distilnas", *map(str, arguments)]
    try:
        with bounded(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.argv = before
    said = err.getvalue()
    assert code in codes, (code, said[-600:])
    assert "Traceback" not in said
    if "error:" in said:
        assert said[said.index("error:") :].count("\n") == 1, said
    return code


def refused(read: Callable[[], Any]) -> bool:
    """Whether ``read`` raises an error of ours; any other passes."""
    with bounded():
        try:
            read()
        except DistilnasError:
            return True
    return False
