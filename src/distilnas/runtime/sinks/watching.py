"""Progress that also tells sinks; what fails in one is said once and never ends the run."""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from distilnas.config import flatten
from distilnas.files import read_json
from distilnas.runtime import ranks
from distilnas.runtime.progress import Epoch, Progress, Task

_PLACES = {
    "tensorboard": "distilnas.runtime.sinks.board",
    "wandb": "distilnas.runtime.sinks.weights_and_biases",
    "mlflow": "distilnas.runtime.sinks.mlflow_store",
}


class Sink(Protocol):
    """A record of one run, which goes on where an earlier process left it."""

    def scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Values by name of the training ``group`` (``teacher/fit teacher``) after its epoch ``step``, from 0."""
        ...

    def finish(self, numbers: Mapping[str, float]) -> None:
        """What the run came to."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


class Watched:
    """``progress`` that also tells sinks, which are opened by the first epoch or at the end."""

    def __init__(self, folder: Path, names: Sequence[str], progress: Progress) -> None:
        self._folder, self._names, self._progress = folder, names, progress
        summary = folder / "summary.json"
        self._before = read_json(summary) if names and summary.exists() else None
        self._sinks: dict[str, Sink] | None = None

    def task(self, name: str, total: int, done: int = 0) -> AbstractContextManager[Task]:
        """See ``Progress.task``."""
        return self._progress.task(name, total, done)

    def message(self, text: str) -> None:
        """See ``Progress.message``."""
        self._progress.message(text)

    def epoch(self, epoch: Epoch) -> None:
        """See ``Progress.epoch``."""
        self._progress.epoch(epoch)
        if not (self._names and ranks.leads()):
            return  # the others work in folders of their own, outside the run
        group = (epoch.folder.relative_to(self._folder) / epoch.name).as_posix()
        self._tell(lambda sink: sink.scalars(group, epoch.values, epoch.number))

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Numbers of ``summary``, unless they are those that the run had come to before."""
        if self._names and ranks.leads() and summary != self._before:
            known = flatten({key: value for key, value in summary.items() if key not in ("seconds", "provenance")})
            numbers = {key: float(v) for key, v in known.items() if isinstance(v, (int, float))}
            self._tell(lambda sink: sink.finish(numbers))

    def close(self) -> None:
        """Close what was opened."""
        if self._sinks:
            self._tell(lambda sink: sink.close())

    def _tell(self, tell: Callable[[Sink], None]) -> None:
        if self._sinks is None:
            self._sinks = {}
            for name in self._names:
                self._guarded(name, lambda name=name: self._open(name))
        for name, sink in list(self._sinks.items()):
            self._guarded(name, lambda sink=sink: tell(sink))

    def _open(self, name: str) -> None:
        assert self._sinks is not None
        folder = self._folder / "log" / name
        folder.mkdir(parents=True, exist_ok=True)
        self._sinks[name] = importlib.import_module(_PLACES[name]).open_sink(folder)

    def _guarded(self, name: str, act: Callable[[], None]) -> None:
        """Whatever another program raises, the run goes on without it."""
        try:
            act()
        except Exception as error:
            assert self._sinks is not None
            self._sinks.pop(name, None)
            self._progress.message(
                f"mind: {name} records no more: {type(error).__name__}: {error}{_remedy(name, error)}"
            )


def _remedy(name: str, error: Exception) -> str:
    return f"; pip install 'distilnas[{name}]'" if isinstance(error, ImportError) else ""


@contextmanager
def watched(folder: Path, names: Sequence[str], progress: Progress) -> Iterator[Watched]:
    """``progress`` of the run in ``folder`` that tells the sinks ``names``."""
    found = Watched(folder, names, progress)
    try:
        yield found
    finally:
        found.close()
