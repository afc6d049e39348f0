"""An offline run of Weights & Biases: ``wandb sync RUN/log/wandb/wandb/offline-run-*`` sends it."""

import importlib
import uuid
from collections.abc import Mapping
from pathlib import Path

from distilnas.files import write_text


class OfflineRun:
    """A process that goes on adds a folder with the same identity; ``epoch`` is the axis of every training."""

    def __init__(self, folder: Path) -> None:
        identity = folder / "id"
        if not identity.exists():
            write_text(identity, uuid.uuid4().hex[:12])
        wandb = importlib.import_module("wandb")
        self._run = wandb.init(
            project="distilnas",
            name=folder.resolve().parents[1].name,
            id=identity.read_text(),
            dir=str(folder),
            mode="offline",
            settings=wandb.Settings(silent=True, console="off"),
        )
        self._run.define_metric("epoch")
        self._run.define_metric("*", step_metric="epoch")

    def scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        """See ``Sink.scalars``."""
        self._run.log({"epoch": step, **{f"{group}/{name}": value for name, value in values.items()}})

    def finish(self, numbers: Mapping[str, float]) -> None:
        """See ``Sink.finish``."""
        self._run.summary.update({f"summary/{name}": value for name, value in numbers.items()})

    def close(self) -> None:
        """See ``Sink.close``."""
        self._run.finish()


open_sink = OfflineRun
