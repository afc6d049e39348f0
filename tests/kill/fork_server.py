"""A warm process that forks a child for every call of the command line, in which a fault strikes.

Asked by a line of JSON on stdin, it answers with one on stdout: the child's exit code (-9: killed) and its seconds.
In the child the clock stands still, so that a run's files have no times of their own: all their bytes can be compared.
"""

import errno
import importlib
import json
import os
import pkgutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

RENAMES = ("replace", "rename")


def warm() -> None:
    """Import what runs need; nothing is computed, since threads do not survive a fork."""
    import distilnas.recipes
    import distilnas.report

    for package in (distilnas.recipes, distilnas.report):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(found.name)


def at_call(number: int, strike: Callable[[], None], *, after: bool = False, writes: bool = False) -> None:
    """``strike`` at the ``number``-th rename, before it or ``after`` it; ``writes``: or flush, or new file."""
    calls = 0

    def struck(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            mine = calls == number
            if mine and not after:
                strike()
            result = function(*args, **kwargs)
            if mine:
                strike()
            return result

        return call

    for name in (*RENAMES, "fsync") if writes else RENAMES:
        setattr(os, name, struck(getattr(os, name)))
    if writes:
        tempfile.mkstemp = struck(tempfile.mkstemp)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def no_space() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def child(asked: dict[str, Any]) -> int:
    from distilnas.cli.main import main

    said = os.open(asked["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    time.monotonic = time.perf_counter = lambda: 0.0
    if "kill_before" in asked:
        at_call(asked["kill_before"], kill)
    if "kill_after" in asked:
        at_call(asked["kill_after"], kill, after=True)
    if "full_at" in asked:
        at_call(asked["full_at"], no_space, writes=True)
    sys.argv = ["distilnas", *asked["arguments"]]
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    return 70


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    """Fork, and wait for the child's end, which comes after ``kill_seconds`` at the latest."""
    start, end = time.monotonic(), time.monotonic() + asked.get("kill_seconds", 1e9)
    number = os.fork()
    if number == 0:
        code = child(asked)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    while not (ended := os.waitpid(number, os.WNOHANG))[0]:
        if time.monotonic() >= end:
            os.kill(number, signal.SIGKILL)
            ended = os.waitpid(number, 0)
            break
        time.sleep(0.002)
    return {"code": os.waitstatus_to_exitcode(ended[1]), "seconds": time.monotonic() - start}


if __name__ == "__main__":
    warm()
    Path(sys.argv[1]).touch()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()
