"""Whole runs with a fault in the middle: what is left, and whether the same command ends with the same bytes."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiny_dnad_run import write_dnad
from tiny_run import write_config, write_images
from tiny_shrink import write_shrink

from distilnas.files import is_leftover

SERVER = Path(__file__).with_name("fork_server.py")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
FAST = ("runtime.checkpoint_seconds=0", "export.opset=13", "export.program=false")  # the older exporter takes no second
SMALL = {"shrink": ("choice.explorer=2", "choice.curve=1"), "dna": (), "dnad": ()}


@dataclass(frozen=True, kw_only=True)
class Ended:
    code: int
    seconds: float
    said: str


@dataclass(frozen=True, kw_only=True)
class Command:
    """``distilnas run`` of a tiny configuration in ``run``, by a warm process."""

    server: subprocess.Popen[str]
    recipe: str
    config: Path
    run: Path

    def __call__(self, *arguments: str, **fault: Any) -> Ended:
        """Once, with the ``fault``; ``arguments``: another command than the run."""
        assert self.server.stdin
        assert self.server.stdout
        said = self.config.with_suffix(".said")
        words = arguments or ("run", str(self.config), "--run", str(self.run), *FAST, *SMALL[self.recipe])
        self.server.stdin.write(json.dumps({"arguments": words, "said": str(said), **fault}) + "\n")
        self.server.stdin.flush()
        found = json.loads(self.server.stdout.readline())
        return Ended(said=said.read_text(), **found)

    def anew(self) -> None:
        """Forget the run."""
        shutil.rmtree(self.run, ignore_errors=True)

    def whole(self) -> dict[str, bytes]:
        """The files of a run that nothing stopped."""
        self.anew()
        ended = self()
        assert ended.code == 0, ended.said
        return contents(self.run)

    def same(self, whole: dict[str, bytes]) -> list[str]:
        """The same command again, to the end: what differs then from the ``whole``, and what was left over."""
        ended = self()
        if ended.code:
            return [f"exit code {ended.code}: {ended.said[-500:]}"]
        found = contents(self.run)
        return [name for name in sorted(found.keys() | whole.keys()) if found.get(name) != whole.get(name)]


def contents(run: Path) -> dict[str, bytes]:
    """Every file's bytes but the lock's, leftovers included."""
    return {str(p.relative_to(run)): p.read_bytes() for p in run.rglob("*") if p.is_file() and p.name != ".lock"}


def leftovers(run: Path) -> list[str]:
    return [path.name for path in run.rglob(".*") if is_leftover(path.name)]


@contextmanager
def commands(folder: Path, *recipes: str) -> Iterator[dict[str, Command]]:
    """A command for each recipe, all by one warm process."""
    images, err = write_images(folder / "images"), folder / "server.err"
    write = {
        "dna": lambda at: write_config(at, images),
        "shrink": lambda at: write_shrink(at, images),
        "dnad": write_dnad,
    }
    start = [sys.executable, str(SERVER), str(folder / "warm")]
    with (
        err.open("w") as told,
        subprocess.Popen(
            start, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=told, text=True, env=ENVIRONMENT
        ) as server,
    ):
        try:
            found = {}
            for recipe in recipes:
                (folder / recipe).mkdir()
                config = write[recipe](folder / recipe)
                found[recipe] = Command(server=server, recipe=recipe, config=config, run=folder / recipe / "run")
            yield found
        finally:
            assert server.stdin
            server.stdin.close()
